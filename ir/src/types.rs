//! The type of a tensor: element type, shape, memory layout, quantization.

use std::fmt;

use smallvec::SmallVec;

use crate::id::QuantId;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $bits:literal $onnx:literal;)*) => {
        /// An element type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DType {
            $($(#[$doc])* $variant,)*
        }

        impl DType {
            /// All element types, in declaration order.
            pub const ALL: &'static [DType] = &[$(DType::$variant),*];

            /// The name used in the text form, such as `f32`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(DType::$variant => $name,)* }
            }

            /// Bits of one element.
            #[must_use]
            pub fn bits(self) -> usize {
                match self { $(DType::$variant => $bits,)* }
            }

            /// The number of this type in ONNX's `TensorProto.DataType`.
            #[must_use]
            pub fn onnx(self) -> i32 {
                match self { $(DType::$variant => $onnx,)* }
            }
        }
    };
}

dtypes! {
    /// IEEE single precision.
    F32 "f32" 32 1;
    /// IEEE half precision.
    F16 "f16" 16 10;
    /// The upper half of an f32.
    Bf16 "bf16" 16 16;
    /// IEEE double precision.
    F64 "f64" 64 11;
    /// Signed four bits.
    I4 "i4" 4 22;
    /// Unsigned four bits.
    U4 "u4" 4 21;
    /// Signed eight bits.
    I8 "i8" 8 3;
    /// Unsigned eight bits.
    U8 "u8" 8 2;
    /// Signed sixteen bits.
    I16 "i16" 16 5;
    /// Unsigned sixteen bits.
    U16 "u16" 16 4;
    /// Signed 32 bits.
    I32 "i32" 32 6;
    /// Unsigned 32 bits.
    U32 "u32" 32 12;
    /// Signed 64 bits.
    I64 "i64" 64 7;
    /// Unsigned 64 bits.
    U64 "u64" 64 13;
    /// A truth value, one byte, 0 or 1.
    Bool "bool" 8 9;
}

impl DType {
    /// Returns the type with this name in the text form.
    #[must_use]
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.iter().copied().find(|d| d.name() == name)
    }

    /// Returns the type with this number in ONNX's `TensorProto.DataType`.
    #[must_use]
    pub fn from_onnx(number: i32) -> Option<DType> {
        DType::ALL.iter().copied().find(|d| d.onnx() == number)
    }

    /// Returns the bytes of one unpacked element. Compiled programs work on unpacked elements only.
    #[must_use]
    pub fn byte_size(self) -> usize {
        self.bits().div_ceil(8)
    }

    /// Returns the bytes of this many elements of a [`Tensor`](crate::Tensor), which packs 4-bit elements. Saturates.
    #[must_use]
    pub fn packed_size(self, elements: usize) -> usize {
        match self {
            DType::I4 | DType::U4 => elements.div_ceil(2),
            _ => elements.saturating_mul(self.byte_size()),
        }
    }

    /// Returns true for floating-point types.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::Bf16 | DType::F64)
    }

    /// Returns true for integer types. `bool` is not one.
    #[must_use]
    pub fn is_integer(self) -> bool {
        !self.is_float() && self != DType::Bool
    }

    /// Returns the least and greatest integer of an integer type of at most 32 bits; `None` for other types.
    #[must_use]
    pub fn integer_range(self) -> Option<(i64, i64)> {
        let bits = self.bits() as u32;
        match self {
            DType::I4 | DType::I8 | DType::I16 | DType::I32 => Some((-(1 << (bits - 1)), (1 << (bits - 1)) - 1)),
            DType::U4 | DType::U8 | DType::U16 | DType::U32 => Some((0, (1 << bits) - 1)),
            _ => None,
        }
    }

    /// Returns the least and greatest integer of a type for quantized numbers: an integer type of at most 32 bits,
    /// except u32.
    #[must_use]
    pub fn storage_range(self) -> Option<(i32, i32)> {
        let (min, max) = self.integer_range()?;
        Some((min as i32, i32::try_from(max).ok()?))
    }

    /// Wraps `x` to this type: two's complement, low bits kept.
    #[must_use]
    pub fn wrap(self, x: i64) -> i64 {
        match self {
            DType::I4 => (x << 60) >> 60,
            DType::U4 => x & 0xf,
            DType::I8 => i64::from(x as i8),
            DType::U8 => i64::from(x as u8),
            DType::I16 => i64::from(x as i16),
            DType::U16 => i64::from(x as u16),
            DType::I32 => i64::from(x as i32),
            DType::U32 => i64::from(x as u32),
            DType::Bool => i64::from(x != 0),
            _ => x,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The extents of a tensor, outermost first; empty for a scalar. All extents are numbers: the importer binds symbolic
/// dimensions.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Shape(SmallVec<[usize; 6]>);

impl Shape {
    /// Creates the shape with these extents.
    #[must_use]
    pub fn new(dims: &[usize]) -> Self {
        Shape(SmallVec::from_slice(dims))
    }

    /// Returns the shape of a scalar.
    #[must_use]
    pub fn scalar() -> Self {
        Shape::default()
    }

    /// Returns the number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the number of elements, which is the product of the extents, and 1 for a scalar. Saturates.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.0.iter().fold(1, |product, dim| product.saturating_mul(*dim))
    }

    /// Returns the row-major stride of each axis, in elements.
    #[must_use]
    pub fn strides(&self) -> SmallVec<[usize; 6]> {
        let mut strides: SmallVec<[usize; 6]> = SmallVec::from_elem(1, self.rank());
        for axis in (1..self.rank()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(self.0[axis]);
        }
        strides
    }

    /// Returns the shape of NumPy (ONNX multidirectional) broadcasting of two shapes, if they are compatible.
    #[must_use]
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let dim = |shape: &Shape, axis: usize| (axis + shape.rank()).checked_sub(rank).map_or(1, |a| shape[a]);
        (0..rank)
            .map(|axis| match (dim(self, axis), dim(other, axis)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<_>>()
            .map(Shape)
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl std::ops::DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(dims: I) -> Self {
        Shape(dims.into_iter().collect())
    }
}

impl fmt::Display for Shape {
    /// `1x3x224x224`; `scalar` for no axes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        for (axis, dim) in self.0.iter().enumerate() {
            let separator = if axis == 0 { "" } else { "x" };
            write!(f, "{separator}{dim}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The order of a tensor's elements in memory. The numbers of the axes do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Row-major: the last axis is innermost.
    #[default]
    Nchw,
    /// Axis 1, the channels, is innermost. The other axes keep their order. For rank 3 or more.
    Nhwc,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorType {
    /// The element type in memory.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// The memory layout.
    pub layout: Layout,
    /// The quantization of stored integers.
    pub quant: Option<QuantId>,
}

impl TensorType {
    /// Creates a row-major type without quantization.
    #[must_use]
    pub fn new(dtype: DType, shape: Shape) -> Self {
        TensorType { dtype, shape, layout: Layout::Nchw, quant: None }
    }

    /// Returns the same type with these quantization parameters.
    #[must_use]
    pub fn with_quant(mut self, quant: Option<QuantId>) -> Self {
        self.quant = quant;
        self
    }

    /// Returns the bytes of the tensor in a compiled program, where elements are unpacked. Saturates.
    #[must_use]
    pub fn byte_size(&self) -> usize {
        self.shape.elements().saturating_mul(self.dtype.byte_size())
    }

    /// Returns true if bytes and strides are below 2^47, the size of the address space. Empty axes count as 1.
    #[must_use]
    pub fn is_addressable(&self) -> bool {
        let padded: Shape = self.shape.iter().map(|dim| (*dim).max(1)).collect();
        padded.elements().saturating_mul(self.dtype.byte_size()) < 1 << 47
    }
}

impl fmt::Display for TensorType {
    /// `1x3x8x8xf32`, followed by `nhwc` for that layout. The quantization is not printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for dim in self.shape.iter() {
            write!(f, "{dim}x")?;
        }
        let layout = if self.layout == Layout::Nhwc { " nhwc" } else { "" };
        write!(f, "{}{layout}", self.dtype)
    }
}

//! Tensors with known contents: constants, and the inputs and outputs of an evaluation.

use std::fmt;

use half::{bf16, f16};
use smallvec::SmallVec;

use crate::bytes::Bytes;
use crate::types::{DType, Shape};

/// A dense tensor in row-major order, little-endian. 4-bit elements are packed two per byte, the first in the low half,
/// as in ONNX. If their number is odd, the last half byte is zero. Cloning shares the bytes.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Shape,
    bytes: Bytes,
}

/// The number of bytes does not match the type and shape.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{shape}x{dtype} takes {expected} bytes, got {got}")]
pub struct SizeMismatch {
    /// Element type.
    pub dtype: DType,
    /// Extents.
    pub shape: Shape,
    /// The expected number of bytes.
    pub expected: usize,
    /// The given number of bytes.
    pub got: usize,
}

impl Tensor {
    /// Creates a tensor of these bytes. Clears the half byte after an odd number of 4-bit elements.
    ///
    /// # Errors
    /// If the number of bytes does not match the type and shape.
    pub fn new(dtype: DType, shape: Shape, bytes: impl Into<Bytes>) -> Result<Self, SizeMismatch> {
        let (mut bytes, elements) = (bytes.into(), shape.elements());
        let expected = dtype.packed_size(elements);
        if bytes.len() != expected {
            return Err(SizeMismatch { dtype, shape, expected, got: bytes.len() });
        }
        if is_packed(dtype) && !elements.is_multiple_of(2) && bytes[expected - 1] > 0xf {
            let mut cleared = bytes.to_vec();
            cleared[expected - 1] &= 0xf;
            bytes = cleared.into();
        }
        Ok(Tensor { dtype, shape, bytes })
    }

    /// Creates a tensor from elements of at least one byte each, as compiled programs write them.
    ///
    /// # Errors
    /// If the number of bytes does not match the type and shape.
    pub fn from_unpacked(dtype: DType, shape: Shape, bytes: impl Into<Bytes>) -> Result<Self, SizeMismatch> {
        let bytes = bytes.into();
        if !is_packed(dtype) {
            return Tensor::new(dtype, shape, bytes);
        }
        let (expected, got) = (shape.elements(), bytes.len());
        if got != expected {
            return Err(SizeMismatch { dtype, shape, expected, got });
        }
        let pair = |pair: &[u8]| pair[0] & 0xf | pair.get(1).map_or(0, |high| high << 4);
        let bytes: Vec<u8> = bytes.chunks(2).map(pair).collect();
        Tensor::new(dtype, shape, bytes)
    }

    /// Creates a tensor of type `dtype`. Rounds floats to nearest even, and wraps integers.
    #[must_use]
    pub fn from_array(dtype: DType, shape: Shape, data: &Data) -> Self {
        let mut bytes = Vec::with_capacity(shape.elements() * dtype.byte_size());
        match data {
            Data::Float(v) => {
                assert!(dtype.is_float(), "float data for {dtype}");
                for &x in v {
                    match dtype {
                        DType::F16 => bytes.extend(f16::from_f32(x).to_le_bytes()),
                        DType::Bf16 => bytes.extend(bf16::from_f32(x).to_le_bytes()),
                        DType::F64 => bytes.extend(f64::from(x).to_le_bytes()),
                        _ => bytes.extend(x.to_le_bytes()),
                    }
                }
            }
            Data::Int(v) => {
                assert!(!dtype.is_float(), "integer data for {dtype}");
                let size = dtype.byte_size();
                for &x in v {
                    bytes.extend_from_slice(&dtype.wrap(x).to_le_bytes()[..size]);
                }
            }
        }
        Tensor::from_unpacked(dtype, shape, bytes).expect("as many numbers as the shape has elements")
    }

    /// Creates an f32 tensor.
    #[must_use]
    pub fn f32(shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        Tensor::new(DType::F32, Shape::new(shape), bytes).expect("as many numbers as the shape has elements")
    }

    /// Creates a tensor of integers of type `dtype`. Wraps the numbers to the type.
    #[must_use]
    pub fn int(dtype: DType, shape: &[usize], values: &[i64]) -> Self {
        Tensor::from_array(dtype, Shape::new(shape), &Data::Int(values.to_vec()))
    }

    /// Returns the element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Returns the shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the bytes of the elements. 4-bit elements are packed two per byte.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the elements with at least one byte each, as compiled programs read them. Shares the bytes if they are
    /// already in this form.
    #[must_use]
    pub fn unpacked(&self) -> Bytes {
        if !is_packed(self.dtype) {
            return self.bytes.clone();
        }
        let elements = self.elements();
        (0..self.shape.elements()).map(|index| elements.int(index) as u8).collect::<Vec<u8>>().into()
    }

    /// Returns a tensor with the same bytes and another shape with as many elements.
    #[must_use]
    pub fn reshaped(&self, shape: Shape) -> Self {
        assert_eq!(shape.elements(), self.shape.elements(), "a reshape keeps the number of elements");
        Tensor { dtype: self.dtype, shape, bytes: self.bytes.clone() }
    }

    /// Returns the elements as numbers. Half precision widens exactly, f64 rounds to f32.
    #[must_use]
    pub fn data(&self) -> Data {
        fn floats<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Data {
            Data::Float(bytes.chunks_exact(N).map(|c| f(c.try_into().expect("chunk of N"))).collect())
        }
        fn ints<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> i64) -> Data {
            Data::Int(bytes.chunks_exact(N).map(|c| f(c.try_into().expect("chunk of N"))).collect())
        }
        let bytes = &self.bytes;
        match self.dtype {
            DType::F32 => floats(bytes, f32::from_le_bytes),
            DType::F16 => floats(bytes, |b| f16::from_le_bytes(b).to_f32()),
            DType::Bf16 => floats(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            DType::F64 => floats(bytes, |b| f64::from_le_bytes(b) as f32),
            DType::I4 | DType::U4 => {
                let elements = self.elements();
                Data::Int((0..self.shape.elements()).map(|index| elements.int(index)).collect())
            }
            DType::I8 => ints(bytes, |b| i64::from(i8::from_le_bytes(b))),
            DType::U8 | DType::Bool => ints(bytes, |b| i64::from(u8::from_le_bytes(b))),
            DType::I16 => ints(bytes, |b| i64::from(i16::from_le_bytes(b))),
            DType::U16 => ints(bytes, |b| i64::from(u16::from_le_bytes(b))),
            DType::I32 => ints(bytes, |b| i64::from(i32::from_le_bytes(b))),
            DType::U32 => ints(bytes, |b| i64::from(u32::from_le_bytes(b))),
            DType::I64 => ints(bytes, i64::from_le_bytes),
            DType::U64 => ints(bytes, |b| u64::from_le_bytes(b) as i64),
        }
    }

    /// Returns access to single elements. A list of all of them as numbers can take eight times the memory of the
    /// tensor.
    #[must_use]
    pub fn elements(&self) -> Elements<'_> {
        Elements { dtype: self.dtype, bytes: &self.bytes }
    }

    /// Returns the elements of a float tensor.
    #[must_use]
    pub fn to_f32s(&self) -> Option<Vec<f32>> {
        match self.data() {
            Data::Float(v) => Some(v),
            Data::Int(_) => None,
        }
    }

    /// Returns the elements of an integer or bool tensor.
    #[must_use]
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        match self.data() {
            Data::Int(v) => Some(v),
            Data::Float(_) => None,
        }
    }

    /// Returns the 64-bit FNV-1a hash of the bytes, which distinguishes contents in dumps.
    #[must_use]
    pub fn content_hash(&self) -> u64 {
        self.bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
    }

    /// Returns the bytes of one element if all elements are equal; `None` otherwise or for an empty tensor.
    #[must_use]
    pub fn splat(&self) -> Option<SmallVec<[u8; 8]>> {
        let bytes = self.unpacked();
        let first = bytes.get(..self.dtype.byte_size())?;
        bytes.chunks_exact(first.len()).all(|c| c == first).then(|| SmallVec::from_slice(first))
    }
}

/// Returns true if two elements share a byte.
fn is_packed(dtype: DType) -> bool {
    matches!(dtype, DType::I4 | DType::U4)
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}x{})", self.shape, self.dtype)
    }
}

/// Access to the elements of a tensor by row-major position, as [`Tensor::data`] returns them.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

impl Elements<'_> {
    /// Returns a number of a float type. Half precision widens exactly, f64 rounds to f32.
    #[must_use]
    pub fn float(&self, index: usize) -> f32 {
        match self.dtype {
            DType::F16 => f16::from_le_bytes(self.at(index)).to_f32(),
            DType::Bf16 => bf16::from_le_bytes(self.at(index)).to_f32(),
            DType::F64 => f64::from_le_bytes(self.at(index)) as f32,
            DType::F32 => f32::from_le_bytes(self.at(index)),
            _ => self.int(index) as f32,
        }
    }

    /// Returns a number of an integer type. Floats are truncated towards zero.
    #[must_use]
    pub fn int(&self, index: usize) -> i64 {
        match self.dtype {
            DType::I4 | DType::U4 => self.dtype.wrap(i64::from(self.bytes[index / 2] >> (4 * (index % 2)))),
            DType::I8 => i8::from_le_bytes(self.at(index)).into(),
            DType::U8 | DType::Bool => u8::from_le_bytes(self.at(index)).into(),
            DType::I16 => i16::from_le_bytes(self.at(index)).into(),
            DType::U16 => u16::from_le_bytes(self.at(index)).into(),
            DType::I32 => i32::from_le_bytes(self.at(index)).into(),
            DType::U32 => u32::from_le_bytes(self.at(index)).into(),
            DType::I64 => i64::from_le_bytes(self.at(index)),
            DType::U64 => u64::from_le_bytes(self.at(index)) as i64,
            DType::F16 | DType::Bf16 | DType::F32 | DType::F64 => self.float(index) as i64,
        }
    }

    fn at<const N: usize>(&self, index: usize) -> [u8; N] {
        self.bytes[index * N..][..N].try_into().expect("as many bytes as were taken")
    }
}

/// Numbers as the evaluator uses them.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// The numbers of a float type, as f32.
    Float(Vec<f32>),
    /// The numbers of an integer type, or truth values 0 and 1.
    Int(Vec<i64>),
}

impl Data {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// Returns true if there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements at `indices`, in that order.
    #[must_use]
    pub fn gather(&self, indices: impl Iterator<Item = usize>) -> Data {
        match self {
            Data::Float(v) => Data::Float(indices.map(|i| v[i]).collect()),
            Data::Int(v) => Data::Int(indices.map(|i| v[i]).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_four_bits_lie_two_to_a_byte_with_the_first_one_low() {
        for (dtype, numbers) in [(DType::I4, [-8, 7, -1, 3, 0]), (DType::U4, [8, 7, 15, 3, 0])] {
            for (count, bytes) in [(0, &[][..]), (1, &[0x08]), (2, &[0x78]), (3, &[0x78, 0x0f]), (5, &[0x78, 0x3f, 0])]
            {
                let tensor = Tensor::int(dtype, &[count], &numbers[..count]);
                assert_eq!(tensor.bytes(), bytes, "{dtype}");
                assert_eq!(tensor.to_ints().expect("integers"), numbers[..count], "{dtype}");
                let unpacked: Vec<u8> = numbers[..count].iter().map(|x| *x as u8).collect();
                assert_eq!(*tensor.unpacked(), *unpacked, "{dtype}");
                assert_eq!(Tensor::from_unpacked(dtype, Shape::new(&[count]), unpacked).expect("fits"), tensor);
            }
        }
        let other_half = Tensor::new(DType::U4, Shape::new(&[3]), vec![0x21, 0xf3]).expect("two bytes");
        assert_eq!(other_half, Tensor::int(DType::U4, &[3], &[1, 2, 3]), "the half byte behind is no part of it");
        let got = |bytes: Vec<u8>| Tensor::new(DType::I4, Shape::new(&[3]), bytes).expect_err("of another size").got;
        assert_eq!([got(vec![0]), got(vec![0; 3])], [1, 3]);
        let splat = |numbers: &[i64]| Tensor::int(DType::I4, &[numbers.len()], numbers).splat();
        assert_eq!(splat(&[-2; 3]).as_deref(), Some(&[0xfe][..]));
        assert_eq!(splat(&[-2, -2, 2]), None);
    }

    #[test]
    fn elements_are_those_of_all_data() {
        let bytes: Vec<u8> = (0..64_u8).map(|i| i.wrapping_mul(37)).collect();
        for dtype in DType::ALL {
            let count = bytes.len() * 8 / dtype.bits();
            let tensor = Tensor::new(*dtype, Shape::new(&[count]), &*bytes).expect("whole elements");
            let elements = tensor.elements();
            match tensor.data() {
                Data::Int(v) => assert_eq!((0..count).map(|i| elements.int(i)).collect::<Vec<_>>(), v, "{dtype}"),
                Data::Float(v) => {
                    let bits = |x: f32| x.to_bits();
                    let one_by_one: Vec<u32> = (0..count).map(|i| bits(elements.float(i))).collect();
                    assert_eq!(one_by_one, v.into_iter().map(bits).collect::<Vec<_>>(), "{dtype}");
                }
            }
        }
    }
}

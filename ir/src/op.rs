//! Operators: the trait [`OpDef`] that each implements, the `op!` declaration, and the enum [`Op`] of all operators.
//!
//! An operator computes one number per output element from its operands. The node's epilogue then runs on that number.
//! Each operator has one file below `op/`, which defines its attributes, shape and type inference, quantization rule
//! and meaning.

use smallvec::SmallVec;

use crate::array::Array;
use crate::attr::{Attr, AttrValue};
use crate::quant::QuantParams;
use crate::types::{DType, Layout, Shape, TensorType};

/// How an operator behaves under quantization. Generic passes use this rule and name no operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuantRule {
    /// A convolution or matrix product of operand 0 with constant weights. Both are quantized: the weights
    /// symmetrically and per channel along `axis`. The operand `bias` becomes i32 with the product of both scales.
    Affine {
        /// The index of the operand with the weights.
        weight: usize,
        /// The axis of the output channels in the weights.
        axis: usize,
        /// The index of the operand with the bias.
        bias: usize,
    },
    /// Moves or selects numbers. All data operands and the result have the same scale and zero point.
    SameScale,
    /// Linear in its single quantized operand; the result can have any scale (average pools, sums).
    AnyScale,
    /// Computes only the steps of the epilogue. Operands and result can have any scales.
    Pointwise,
    /// The range of the result is fixed.
    Fixed {
        /// The scale of the u8 result.
        scale: f32,
        /// The zero point of the u8 result.
        zero_point: i32,
    },
    /// Has no integer form.
    FloatOnly,
}

/// An operand that the evaluator passes to an operator.
#[derive(Clone, Copy, Debug)]
pub struct EvalOperand<'a> {
    /// The numbers. Quantized numbers are passed as stored integers.
    pub array: &'a Array,
    /// The quantization of stored integers.
    pub quant: Option<&'a QuantParams>,
}

/// An operand for type inference.
#[derive(Clone, Copy, Debug)]
pub struct InferOperand<'a> {
    /// Its type.
    pub ty: &'a TensorType,
    /// The quantization of stored integers.
    pub quant: Option<&'a QuantParams>,
}

/// Why an operator is not defined for its operands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// The number of operands is wrong.
    #[error("{op} takes {expected} operands, got {got}")]
    OperandCount {
        /// The operator's text name.
        op: &'static str,
        /// The expected number.
        expected: String,
        /// The number given.
        got: usize,
    },
    /// A required operand is absent.
    #[error("{op} operand {index} is missing")]
    MissingOperand {
        /// The operator's text name.
        op: &'static str,
        /// The index of the operand.
        index: usize,
    },
    /// The element type of an operand is wrong.
    #[error("{op} operand {index} must be {expected}, got {got}")]
    DType {
        /// The operator's text name.
        op: &'static str,
        /// The index of the operand.
        index: usize,
        /// The expected type.
        expected: String,
        /// The given type.
        got: DType,
    },
    /// The shape of an operand is wrong.
    #[error("{op} operand {index} must have {expected}, got {got}")]
    Shape {
        /// The operator's text name.
        op: &'static str,
        /// The index of the operand.
        index: usize,
        /// The expected shape.
        expected: String,
        /// The given shape.
        got: Shape,
    },
    /// The value of an attribute does not fit the operands.
    #[error("{op} attribute {attr}: {reason}")]
    Attribute {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        attr: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The quantization of an operand is wrong.
    #[error("{op} operand {index} {reason}")]
    Quantization {
        /// The operator's text name.
        op: &'static str,
        /// The index of the operand.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The result is larger than the address space.
    #[error("{op} returns {got}, which exceeds the address space")]
    TooLarge {
        /// The operator's text name.
        op: &'static str,
        /// The type of the result.
        got: Box<TensorType>,
    },
    /// A step of the epilogue is not defined for its operands.
    #[error("step {index} of the epilogue: {source}")]
    Step {
        /// The index of the step.
        index: usize,
        /// What is wrong with it.
        source: crate::epilogue::StepError,
    },
}

/// The operands of an operator during type inference.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub(crate) op: &'static str,
    pub(crate) list: &'a [Option<InferOperand<'a>>],
}

impl<'a> Operands<'a> {
    /// Returns the number of operands, including absent ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns true if there are no operands.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks the number of operands.
    ///
    /// # Errors
    /// If it is not in `least..=most`.
    pub fn expect_count(&self, least: usize, most: usize) -> Result<(), InferError> {
        if (least..=most).contains(&self.len()) {
            return Ok(());
        }
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(InferError::OperandCount { op: self.op, expected, got: self.len() })
    }

    /// Returns the operand at `index`, if present.
    #[must_use]
    pub fn optional(&self, index: usize) -> Option<InferOperand<'a>> {
        self.list.get(index).copied().flatten()
    }

    /// Returns the operand at `index`.
    ///
    /// # Errors
    /// If it is absent.
    pub fn get(&self, index: usize) -> Result<InferOperand<'a>, InferError> {
        self.optional(index).ok_or(InferError::MissingOperand { op: self.op, index })
    }

    /// Creates an error about the element type of the operand at `index`.
    #[must_use]
    pub fn dtype_error(&self, index: usize, expected: impl ToString, got: DType) -> InferError {
        InferError::DType { op: self.op, index, expected: expected.to_string(), got }
    }

    /// Creates an error about the shape of the operand at `index`.
    #[must_use]
    pub fn shape_error(&self, index: usize, expected: impl ToString, got: &Shape) -> InferError {
        InferError::Shape { op: self.op, index, expected: expected.to_string(), got: got.clone() }
    }

    /// Creates an error about the quantization of the operand at `index`.
    #[must_use]
    pub fn quant_error(&self, index: usize, reason: impl ToString) -> InferError {
        InferError::Quantization { op: self.op, index, reason: reason.to_string() }
    }

    /// Creates an error about an attribute.
    #[must_use]
    pub fn attr_error(&self, attr: &'static str, reason: impl ToString) -> InferError {
        InferError::Attribute { op: self.op, attr, reason: reason.to_string() }
    }
}

/// The output types of an operator, before its epilogue.
pub type Types = SmallVec<[TensorType; 1]>;

/// The definition of an operator.
pub trait OpDef {
    /// The name in the text form: ONNX's name in `snake_case`.
    const NAME: &'static str;

    /// Infers the types of the results. An operator that only moves elements keeps the quantization and layout of
    /// operand 0. Other results have no quantization and are row-major.
    ///
    /// # Errors
    /// If the operator is not defined for these operands.
    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError>;

    /// Returns the quantization rule of the operator.
    fn quant_rule(&self) -> QuantRule;

    /// Computes the results, with the types from `infer`. Integer operands give exact integers, or f32 computed in an
    /// order that the operator documents. Floats accumulate in f64 and round once. `infer` has accepted the operands.
    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]>;

    /// Returns the real number of those result elements that are not elements of operand 0, whose shape is `x`; `None`
    /// if there are none. An operator on quantized integers writes this number quantized.
    fn fill_value(&self, _x: &Shape) -> Option<f32> {
        None
    }

    /// Whether `axis` of operand 0, whose shape is `x`, is an axis of the result whose positions stay in place and do not
    /// depend on each other: reordering them in the operand reorders the result alike. By default no axis is.
    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        false
    }

    /// Returns the number of multiply-accumulates of one evaluation; 0 for operators without any.
    fn macs(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        0
    }

    /// Returns the cost of one evaluation in elements read, apart from writing the results: multiply-accumulates, or
    /// the elements under all windows.
    fn reads(&self, operands: Operands<'_>, output: &Shape) -> u64 {
        self.macs(operands, output)
    }
}

/// Why a list of attributes does not fit an operator.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttrError {
    /// The operator has no attribute with this name.
    #[error("{op} has no attribute {name}; it has: {known}")]
    Unknown {
        /// The operator's text name.
        op: &'static str,
        /// The given name.
        name: String,
        /// All names.
        known: String,
    },
    /// The value of an attribute has the wrong kind.
    #[error("attribute {name} of {op} must be {expected}")]
    Kind {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// The expected kind.
        expected: &'static str,
    },
    /// An attribute without a default is missing.
    #[error("{op} needs attribute {name}: {expected}")]
    Missing {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// The expected kind.
        expected: &'static str,
    },
}

/// Attributes in text form, in declaration order. Printer and parser are built on this trait.
pub trait Attributes: Sized {
    /// Returns the name and value of each attribute that differs from its default.
    fn to_attrs(&self) -> Vec<(&'static str, Attr)>;

    /// Creates the operator with these attributes. Other attributes get their defaults.
    ///
    /// # Errors
    /// If a name is unknown, a value has the wrong kind, or an attribute without a default is missing.
    fn from_attrs(attrs: &[(String, Attr)]) -> Result<Self, AttrError>;
}

/// Returns the attribute `name`, its default, or an error. Used by `op!`.
pub(crate) fn read_attr<T: AttrValue>(
    op: &'static str,
    name: &'static str,
    attrs: &[(String, Attr)],
    default: Option<T>,
) -> Result<T, AttrError> {
    match attrs.iter().find(|(n, _)| n == name) {
        Some((_, attr)) => T::from_attr(attr).ok_or(AttrError::Kind { op, name, expected: T::EXPECTED }),
        None => default.ok_or(AttrError::Missing { op, name, expected: T::EXPECTED }),
    }
}

/// Declares the struct of an operator, with its attributes and their defaults (`= value`). An attribute without a
/// default is required.
macro_rules! op {
    ($(#[$doc:meta])* pub struct $name:ident = $text:literal {
        $($(#[$adoc:meta])* $attr:ident: $ty:ty $(= $default:expr)?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$adoc])* pub $attr: $ty,)* }

        impl $crate::op::Attributes for $name {
            fn to_attrs(&self) -> Vec<(&'static str, $crate::attr::Attr)> {
                let attrs: Vec<Option<(&'static str, $crate::attr::Attr)>> = vec![$({
                    let default: Option<$ty> = $crate::op::first_of!($(Some($default),)? None);
                    let differs = default.as_ref() != Some(&self.$attr);
                    differs.then(|| (stringify!($attr), $crate::attr::AttrValue::to_attr(&self.$attr)))
                },)*];
                attrs.into_iter().flatten().collect()
            }

            fn from_attrs(attrs: &[(String, $crate::attr::Attr)]) -> Result<Self, $crate::op::AttrError> {
                let known: &[&'static str] = &[$(stringify!($attr)),*];
                if let Some((name, _)) = attrs.iter().find(|(n, _)| !known.contains(&n.as_str())) {
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    return Err($crate::op::AttrError::Unknown { op: $text, name: name.clone(), known });
                }
                Ok($name {
                    $($attr: $crate::op::read_attr($text, stringify!($attr), attrs, $crate::op::first_of!($(Some($default),)? None))?,)*
                })
            }
        }
    };
}

/// Expands to the first of one or two expressions, to use a default if there is one.
macro_rules! first_of {
    ($first:expr, $second:expr) => {
        $first
    };
    ($only:expr) => {
        $only
    };
}
pub(crate) use first_of;

/// Declares the enum of all operators from the list of files.
macro_rules! ops {
    ($($module:ident::$name:ident,)*) => {
        $(pub mod $module;)*

        /// Every operator of the IR.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $(#[doc = concat!("[`", stringify!($module), "::", stringify!($name), "`]")] $name($module::$name),)*
        }

        impl Op {
            /// The text names of all operators.
            pub const NAMES: &'static [&'static str] = &[$(<$module::$name as OpDef>::NAME),*];

            /// Returns the name in the text form.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Op::$name(_) => <$module::$name as OpDef>::NAME,)* }
            }

            /// Creates the operator with this name and these attributes; `None` for an unknown name.
            ///
            /// # Errors
            /// If the attributes do not fit.
            pub fn from_attrs(name: &str, attrs: &[(String, Attr)]) -> Option<Result<Self, AttrError>> {
                match name {
                    $(<$module::$name as OpDef>::NAME => Some($module::$name::from_attrs(attrs).map(Op::$name)),)*
                    _ => None,
                }
            }

            /// Returns the name and value of each attribute that differs from its default.
            #[must_use]
            pub fn to_attrs(&self) -> Vec<(&'static str, Attr)> {
                match self { $(Op::$name(op) => op.to_attrs(),)* }
            }

            /// See [`OpDef::infer`].
            ///
            /// # Errors
            /// If the operator is not defined for these operands.
            pub fn infer(&self, list: &[Option<InferOperand<'_>>]) -> Result<Types, InferError> {
                let operands = Operands { op: self.name(), list };
                match self { $(Op::$name(op) => op.infer(operands),)* }
            }

            /// See [`OpDef::quant_rule`].
            #[must_use]
            pub fn quant_rule(&self) -> QuantRule {
                match self { $(Op::$name(op) => op.quant_rule(),)* }
            }

            /// See [`OpDef::fill_value`].
            #[must_use]
            pub fn fill_value(&self, x: &Shape) -> Option<f32> {
                match self { $(Op::$name(op) => op.fill_value(x),)* }
            }

            /// See [`OpDef::keeps_axis`].
            #[must_use]
            pub fn keeps_axis(&self, x: &Shape, axis: usize) -> bool {
                match self { $(Op::$name(op) => op.keeps_axis(x, axis),)* }
            }

            /// See [`OpDef::eval`].
            #[must_use]
            pub fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
                match self { $(Op::$name(op) => op.eval(operands),)* }
            }

            /// See [`OpDef::macs`].
            #[must_use]
            pub fn macs(&self, list: &[Option<InferOperand<'_>>], output: &Shape) -> u64 {
                let operands = Operands { op: self.name(), list };
                match self { $(Op::$name(op) => op.macs(operands, output),)* }
            }

            /// See [`OpDef::reads`].
            #[must_use]
            pub fn reads(&self, list: &[Option<InferOperand<'_>>], output: &Shape) -> u64 {
                let operands = Operands { op: self.name(), list };
                match self { $(Op::$name(op) => op.reads(operands, output),)* }
            }
        }

        $(impl From<$module::$name> for Op {
            fn from(op: $module::$name) -> Self {
                Op::$name(op)
            }
        })*
    };
}

ops! {
    concat::Concat,
    conv::Conv,
    conv_transpose::ConvTranspose,
    cumsum::CumSum,
    dequantize_linear::DequantizeLinear,
    expand::Expand,
    gather::Gather,
    map::Map,
    matmul::MatMul,
    pad::Pad,
    pool::Pool,
    quantize_linear::QuantizeLinear,
    reduce::Reduce,
    relayout::Relayout,
    reshape::Reshape,
    resize::Resize,
    slice::Slice,
    softmax::Softmax,
    transpose::Transpose,
}

impl TensorType {
    /// Returns the row-major type with the shape `shape` and the element type and quantization of `operand`, for
    /// operators that move elements.
    #[must_use]
    pub fn moved(operand: &TensorType, shape: Shape) -> Self {
        TensorType { dtype: operand.dtype, shape, layout: Layout::Nchw, quant: operand.quant }
    }
}

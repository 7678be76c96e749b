//! Operators: the [`OpDef`] every one implements, the `op!` declaration, and the closed enum [`Op`].
//!
//! An operator produces one number per output element from its operands; the node's epilogue does the rest. Each
//! operator is one file below `op/` with its attributes, shape and type inference, quantization rule and meaning.

use smallvec::SmallVec;

use crate::array::Array;
use crate::attr::{Attr, AttrValue};
use crate::quant::QuantParams;
use crate::types::{DType, Layout, Shape, TensorType};

/// What quantization an operator keeps; generic passes go by this and name no operator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QuantRule {
    /// Sums of products of operand `0` with constant weights: quantize both, the weights per channel along `axis`,
    /// symmetric; operand `bias` becomes i32 at the product of their scales.
    Affine {
        /// The operand that holds the weights.
        weight: usize,
        /// The weights' axis of output channels.
        axis: usize,
        /// The operand that holds the bias.
        bias: usize,
    },
    /// Numbers are moved or chosen, not computed: every data operand and the output share one scale and zero point.
    SameScale,
    /// Linear in its one quantized operand, into any output scale (average pools, sums).
    AnyScale,
    /// The steps of the epilogue alone, on operands of any scales into any scale.
    Pointwise,
    /// The output range is known beforehand.
    Fixed {
        /// Real numbers per step of a u8 output.
        scale: f32,
        /// Zero point of a u8 output.
        zero_point: i32,
    },
    /// Has no integer form.
    FloatOnly,
}

/// An operand as the evaluator hands it to an operator.
#[derive(Clone, Copy, Debug)]
pub struct EvalOperand<'a> {
    /// The numbers, as stored for integers.
    pub array: &'a Array,
    /// What stored integers mean.
    pub quant: Option<&'a QuantParams>,
}

/// An operand as type inference sees it.
#[derive(Clone, Copy, Debug)]
pub struct InferOperand<'a> {
    /// Its type.
    pub ty: &'a TensorType,
    /// What stored integers mean.
    pub quant: Option<&'a QuantParams>,
}

/// An operator that has no meaning on its operands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// Wrong number of operands.
    #[error("{op} takes {expected} operands, got {got}")]
    OperandCount {
        /// The operator's text name.
        op: &'static str,
        /// How many it takes.
        expected: String,
        /// How many it got.
        got: usize,
    },
    /// An operand that may not be left out is missing.
    #[error("{op} operand {index} is missing")]
    MissingOperand {
        /// The operator's text name.
        op: &'static str,
        /// Position of the operand.
        index: usize,
    },
    /// An operand's element type does not fit.
    #[error("{op} operand {index} must be {expected}, got {got}")]
    DType {
        /// The operator's text name.
        op: &'static str,
        /// Position of the operand.
        index: usize,
        /// What it must be.
        expected: String,
        /// What it is.
        got: DType,
    },
    /// An operand's shape does not fit.
    #[error("{op} operand {index} must have {expected}, got {got}")]
    Shape {
        /// The operator's text name.
        op: &'static str,
        /// Position of the operand.
        index: usize,
        /// What it must have.
        expected: String,
        /// Its shape.
        got: Shape,
    },
    /// An attribute's value does not fit the operands.
    #[error("{op} attribute {attr}: {reason}")]
    Attribute {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        attr: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// An operand's quantization does not fit.
    #[error("{op} operand {index} {reason}")]
    Quantization {
        /// The operator's text name.
        op: &'static str,
        /// Position of the operand.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The result is larger than memory can be.
    #[error("{op} yields {got}, more than can be addressed")]
    TooLarge {
        /// The operator's text name.
        op: &'static str,
        /// The type of the result.
        got: Box<TensorType>,
    },
    /// A step of the epilogue does not fit.
    #[error("step {index} of the epilogue: {source}")]
    Step {
        /// Position of the step.
        index: usize,
        /// What is wrong with it.
        source: crate::epilogue::StepError,
    },
}

/// The operands of an operator under inference, with typed access.
#[derive(Clone, Copy)]
pub struct Operands<'a> {
    pub(crate) op: &'static str,
    pub(crate) list: &'a [Option<InferOperand<'a>>],
}

impl<'a> Operands<'a> {
    /// The number of slots, left-out ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no slots.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Checks the number of slots.
    ///
    /// # Errors
    /// When it is not within `least..=most`.
    pub fn expect_count(&self, least: usize, most: usize) -> Result<(), InferError> {
        if (least..=most).contains(&self.len()) {
            return Ok(());
        }
        let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Err(InferError::OperandCount { op: self.op, expected, got: self.len() })
    }

    /// The operand at `index`, if it is there.
    #[must_use]
    pub fn optional(&self, index: usize) -> Option<InferOperand<'a>> {
        self.list.get(index).copied().flatten()
    }

    /// The operand at `index`.
    ///
    /// # Errors
    /// When it is left out.
    pub fn get(&self, index: usize) -> Result<InferOperand<'a>, InferError> {
        self.optional(index).ok_or(InferError::MissingOperand { op: self.op, index })
    }

    /// An error about the element type of the operand at `index`.
    #[must_use]
    pub fn dtype_error(&self, index: usize, expected: impl ToString, got: DType) -> InferError {
        InferError::DType { op: self.op, index, expected: expected.to_string(), got }
    }

    /// An error about the shape of the operand at `index`.
    #[must_use]
    pub fn shape_error(&self, index: usize, expected: impl ToString, got: &Shape) -> InferError {
        InferError::Shape { op: self.op, index, expected: expected.to_string(), got: got.clone() }
    }

    /// An error about the quantization of the operand at `index`.
    #[must_use]
    pub fn quant_error(&self, index: usize, reason: impl ToString) -> InferError {
        InferError::Quantization { op: self.op, index, reason: reason.to_string() }
    }

    /// An error about an attribute.
    #[must_use]
    pub fn attr_error(&self, attr: &'static str, reason: impl ToString) -> InferError {
        InferError::Attribute { op: self.op, attr, reason: reason.to_string() }
    }
}

/// The output types of an operator, before its epilogue.
pub type Types = SmallVec<[TensorType; 1]>;

/// What every operator defines.
pub trait OpDef {
    /// The name in the text form: ONNX's noun in `snake_case`.
    const NAME: &'static str;

    /// Output types from operand types. Quantization and layout are those of operand 0 where the operator only moves
    /// elements, else none and row-major.
    ///
    /// # Errors
    /// When the operator has no meaning on these operands.
    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError>;

    /// What quantization the operator keeps.
    fn quant_rule(&self) -> QuantRule;

    /// The outputs, of the types that `infer` gives. Integer operands yield exact integers, or f32 in an order that the
    /// operator states; floats accumulate in f64 and round once. Operands have passed `infer`.
    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]>;

    /// The real number that the operator writes into elements of the result that come from no element of operand 0, whose
    /// shape is `x`; `None` if there are no such elements. An operator on quantized integers writes that number quantized.
    fn fill_value(&self, _x: &Shape) -> Option<f32> {
        None
    }

    /// Whether `axis` of operand 0, whose shape is `x`, is an axis of the result whose positions stay in place and do not
    /// depend on each other: reordering them in the operand reorders the result alike. By default no axis is.
    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        false
    }

    /// Multiply-accumulates for one evaluation, from operand shapes; 0 for operators that have none.
    fn macs(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        0
    }

    /// What one evaluation costs beyond writing its outputs, in elements read: multiply-accumulates, or the elements
    /// under all windows.
    fn reads(&self, operands: Operands<'_>, output: &Shape) -> u64 {
        self.macs(operands, output)
    }
}

/// An attribute list that does not fit an operator.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AttrError {
    /// No attribute of this name.
    #[error("{op} has no attribute {name}; it has: {known}")]
    Unknown {
        /// The operator's text name.
        op: &'static str,
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The attribute holds something else.
    #[error("attribute {name} of {op} must be {expected}")]
    Kind {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// The attribute has no default and is missing.
    #[error("{op} needs attribute {name}: {expected}")]
    Missing {
        /// The operator's text name.
        op: &'static str,
        /// The attribute.
        name: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
}

/// Attributes in text form, visited in declaration order; the basis of printer and parser.
pub trait Attributes: Sized {
    /// Name and value of each attribute that differs from its default.
    fn to_attrs(&self) -> Vec<(&'static str, Attr)>;

    /// The operator with these attributes, defaults elsewhere.
    ///
    /// # Errors
    /// When a name is unknown, a value of the wrong kind, or one without a default missing.
    fn from_attrs(attrs: &[(String, Attr)]) -> Result<Self, AttrError>;
}

/// The attribute `name`, its default, or an error; used by `op!`.
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

/// Declares an operator's struct, with its attributes and their defaults (`= value`; without one it must be given).
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

/// The first of one or two expressions: picks a default where there is one.
macro_rules! first_of {
    ($first:expr, $second:expr) => {
        $first
    };
    ($only:expr) => {
        $only
    };
}
pub(crate) use first_of;

/// Makes the closed enum of operators from the list of files.
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

            /// The name in the text form.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Op::$name(_) => <$module::$name as OpDef>::NAME,)* }
            }

            /// The operator of this name with these attributes; `None` for an unknown name.
            ///
            /// # Errors
            /// When the attributes do not fit.
            pub fn from_attrs(name: &str, attrs: &[(String, Attr)]) -> Option<Result<Self, AttrError>> {
                match name {
                    $(<$module::$name as OpDef>::NAME => Some($module::$name::from_attrs(attrs).map(Op::$name)),)*
                    _ => None,
                }
            }

            /// Name and value of each attribute that differs from its default.
            #[must_use]
            pub fn to_attrs(&self) -> Vec<(&'static str, Attr)> {
                match self { $(Op::$name(op) => op.to_attrs(),)* }
            }

            /// See [`OpDef::infer`].
            ///
            /// # Errors
            /// When the operator has no meaning on these operands.
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
    /// The row-major type of `shape` with element type and quantization of `operand`: for operators that move elements.
    #[must_use]
    pub fn moved(operand: &TensorType, shape: Shape) -> Self {
        TensorType { dtype: operand.dtype, shape, layout: Layout::Nchw, quant: operand.quant }
    }
}

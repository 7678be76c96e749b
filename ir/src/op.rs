//! Operators: the trait [`OpDef`] that each implements, and the enum [`Op`] of all operators. `op!` declares one.
//!
//! An operator computes one number per output element from its operands. The node's epilogue then runs on that number.
//! Each operator has one file below `op/`, which defines its attributes, shape and type inference, quantization rule
//! and meaning.

use smallvec::SmallVec;

use crate::array::Array;
use crate::attr::Attr;
use crate::body::Body;
use crate::declare::{AttrError, Attributes};
use crate::eval_error::EvalError;
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
    /// A body does not fit the operator.
    #[error("`{body}` of {op}: {reason}")]
    Body {
        /// The operator's text name.
        op: &'static str,
        /// The name of the body.
        body: &'static str,
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

    /// Creates an error about a body.
    #[must_use]
    pub fn body_error(&self, body: &'static str, reason: impl ToString) -> InferError {
        InferError::Body { op: self.op, body, reason: reason.to_string() }
    }

    /// Returns the types of the operands from `from` on, which enter a body: all are there, and none is quantized.
    ///
    /// # Errors
    /// If an operand is absent or quantized.
    pub fn entering(&self, from: usize) -> Result<Vec<TensorType>, InferError> {
        let operand = |index| match self.get(index)? {
            x if x.quant.is_some() => Err(self.quant_error(index, "must not be quantized")),
            x => Ok(x.ty.clone()),
        };
        (from..self.len()).map(operand).collect()
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
    ///
    /// An operator with bodies implements [`eval_bodies`](Self::eval_bodies) instead.
    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let results = self.eval_bodies(operands);
        results.unwrap_or_else(|error| unreachable!("an operator without bodies has no index to check: {error}"))
    }

    /// Like [`eval`](Self::eval), for an operator that evaluates its bodies.
    ///
    /// # Errors
    /// Those of the evaluation of a body.
    fn eval_bodies(&self, operands: &[Option<EvalOperand<'_>>]) -> Result<SmallVec<[Array; 1]>, EvalError> {
        Ok(self.eval(operands))
    }

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

/// Declares the enum of all operators from the list of files.
macro_rules! ops {
    ($($module:ident::$name:ident,)*) => {
        $(pub mod $module;)*

        /// Every operator of the IR.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $(#[doc = concat!("The operator `", stringify!($name), "`.")] $name($module::$name),)*
        }

        impl Op {
            /// The text names of all operators.
            pub const NAMES: &'static [&'static str] = &[$(<$module::$name as OpDef>::NAME),*];

            /// Returns the name in the text form.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $(Op::$name(_) => <$module::$name as OpDef>::NAME,)* }
            }

            /// Creates the operator with this name, these attributes and these bodies; `None` for an unknown name.
            ///
            /// # Errors
            /// If the attributes or bodies do not fit.
            pub fn from_attrs(
                name: &str,
                attrs: &[(String, Attr)],
                bodies: &[(String, Body)],
            ) -> Option<Result<Self, AttrError>> {
                match name {
                    $(<$module::$name as OpDef>::NAME => Some($module::$name::from_attrs(attrs, bodies).map(Op::$name)),)*
                    _ => None,
                }
            }

            /// Returns the name and graph of each body; none for most operators.
            #[must_use]
            pub fn bodies(&self) -> Vec<(&'static str, &Body)> {
                match self { $(Op::$name(op) => op.bodies(),)* }
            }

            /// The same, to be changed.
            pub fn bodies_mut(&mut self) -> Vec<(&'static str, &mut Body)> {
                match self { $(Op::$name(op) => op.bodies_mut(),)* }
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

            /// See [`OpDef::eval_bodies`].
            ///
            /// # Errors
            /// Those of the evaluation of a body.
            pub fn eval_bodies(
                &self,
                operands: &[Option<EvalOperand<'_>>],
            ) -> Result<SmallVec<[Array; 1]>, EvalError> {
                match self { $(Op::$name(op) => op.eval_bodies(operands),)* }
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
    r#if::If,
    r#loop::Loop,
    map::Map,
    matmul::MatMul,
    pad::Pad,
    pool::Pool,
    quantize_linear::QuantizeLinear,
    reduce::Reduce,
    relayout::Relayout,
    reshape::Reshape,
    resize::Resize,
    scan::Scan,
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

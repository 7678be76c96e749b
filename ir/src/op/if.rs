//! `if`: one of two bodies (ONNX If).

use smallvec::SmallVec;

use crate::array::Array;
use crate::eval_error::EvalError;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{DType, Shape, TensorType};

op! {
    /// The outputs of `then` if the condition is true, else those of `otherwise`.
    ///
    /// Operands: the condition, a bool of one element; then what the bodies read. Both bodies have these as inputs, and
    /// outputs of the same types.
    pub struct If = "if" {} bodies {
        /// What is computed if the condition is true.
        then,
        /// What is computed if it is false.
        otherwise,
    }
}

impl OpDef for If {
    const NAME: &'static str = "if";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, usize::MAX)?;
        let condition = operands.get(0)?.ty;
        if condition.dtype != DType::Bool {
            return Err(operands.dtype_error(0, DType::Bool, condition.dtype));
        }
        if condition.shape.elements() != 1 {
            return Err(operands.shape_error(0, "one element", &condition.shape));
        }
        let captures = operands.entering(1)?;
        self.then.fits(&captures).map_err(|reason| operands.body_error("then", reason))?;
        self.otherwise.fits(&captures).map_err(|reason| operands.body_error("otherwise", reason))?;
        let (types, others) = (self.then.0.output_types(), self.otherwise.0.output_types());
        if types.is_empty() {
            return Err(operands.body_error("then", "must have an output"));
        }
        if types.len() != others.len() {
            let reason = format!("must have {} outputs, as `then` has, got {}", types.len(), others.len());
            return Err(operands.body_error("otherwise", reason));
        }
        for (index, (ty, other)) in types.iter().zip(&others).enumerate() {
            if (ty.dtype, &ty.shape) != (other.dtype, &other.shape) {
                let reason = format!("output {index} must be {ty}, as `then` has it, got {other}");
                return Err(operands.body_error("otherwise", reason));
            }
        }
        Ok(types.into_iter().map(|ty| TensorType::new(ty.dtype, ty.shape)).collect())
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn eval_bodies(&self, operands: &[Option<EvalOperand<'_>>]) -> Result<SmallVec<[Array; 1]>, EvalError> {
        let mut arrays = operands.iter().map(|operand| operand.expect("inferred").array);
        let holds = arrays.next().is_some_and(|condition| condition.ints()[0] != 0);
        let body = if holds { &self.then } else { &self.otherwise };
        Ok(body.0.eval(&arrays.collect::<Vec<_>>())?.into())
    }

    fn macs(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.then.0.macs().max(self.otherwise.0.macs())
    }

    fn reads(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.then.0.reads().max(self.otherwise.0.reads())
    }
}

//! `map`: returns its operand. The computation is in the epilogue.

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// Returns each element of its operand. Every elementwise ONNX operator is a `map` with steps.
    pub struct Map = "map" {}
}

impl OpDef for Map {
    const NAME: &'static str = "map";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        Ok(smallvec![TensorType::moved(x, x.shape.clone())])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::Pointwise
    }

    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        true
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        smallvec![operands[0].expect("inferred").array.clone()]
    }
}

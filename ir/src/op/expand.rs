//! `expand`: repeats elements along axes of extent 1 (ONNX Expand).

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, index_map};
use crate::attr::Sizes;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// The operand broadcast to the extents `shape`.
    pub struct Expand = "expand" {
        /// Output extents.
        shape: Sizes,
    }
}

impl OpDef for Expand {
    const NAME: &'static str = "expand";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        let shape = Shape::new(&self.shape);
        if x.shape.broadcast(&shape).as_ref() != Some(&shape) {
            return Err(operands.attr_error("shape", format!("{} does not broadcast to {shape}", x.shape)));
        }
        Ok(smallvec![TensorType::moved(x, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred").array;
        let shape = Shape::new(&self.shape);
        let data = x.data.gather(index_map(&x.shape, &shape));
        smallvec![Array { dtype: x.dtype, shape, data }]
    }
}

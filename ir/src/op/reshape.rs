//! `reshape`: changes the extents and keeps the elements in row-major order (ONNX Reshape, Flatten, Squeeze,
//! Unsqueeze).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::Sizes;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// The operand's elements, in row-major order, with the extents `shape`.
    pub struct Reshape = "reshape" {
        /// Output extents.
        shape: Sizes,
    }
}

impl OpDef for Reshape {
    const NAME: &'static str = "reshape";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        let shape = Shape::new(&self.shape);
        if shape.elements() != x.ty.shape.elements() {
            let reason = format!(
                "{shape} has {} elements, the operand {} has {}",
                shape.elements(),
                x.ty.shape,
                x.ty.shape.elements()
            );
            return Err(operands.attr_error("shape", reason));
        }
        if x.quant.is_some_and(|q| !q.is_per_tensor()) {
            return Err(operands.attr_error("shape", "moves the axis of a per-channel quantization"));
        }
        Ok(smallvec![TensorType::moved(x.ty, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred").array;
        smallvec![Array { dtype: x.dtype, shape: Shape::new(&self.shape), data: x.data.clone() }]
    }
}

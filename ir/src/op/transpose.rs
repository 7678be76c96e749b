//! `transpose`: permutes the axes (ONNX Transpose).

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, strided};
use crate::attr::Sizes;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// Axis `i` of the result is axis `perm[i]` of the operand.
    pub struct Transpose = "transpose" {
        /// A permutation of the axes.
        perm: Sizes,
    }
}

impl OpDef for Transpose {
    const NAME: &'static str = "transpose";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if sorted.iter().copied().ne(0..x.ty.shape.rank()) {
            return Err(operands.attr_error("perm", format!("must be a permutation of {} axes", x.ty.shape.rank())));
        }
        if x.quant.is_some_and(|q| !q.is_per_tensor()) {
            return Err(operands.attr_error("perm", "moves the axis of a per-channel quantization"));
        }
        let shape: Shape = self.perm.iter().map(|a| x.ty.shape[*a]).collect();
        Ok(smallvec![TensorType::moved(x.ty, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred").array;
        let strides = x.shape.strides();
        let shape: Shape = self.perm.iter().map(|a| x.shape[*a]).collect();
        let data = x.data.gather(strided(&shape, 0, self.perm.iter().map(|a| strides[*a]).collect()));
        smallvec![Array { dtype: x.dtype, shape, data }]
    }
}

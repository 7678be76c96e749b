//! `slice`: selects a box of elements, with steps (ONNX Slice, Split after import).

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, strided};
use crate::attr::{Ints, Sizes};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// `y[i...] = x[starts + i * steps...]`. All lists have one entry per axis.
    pub struct Slice = "slice" {
        /// The first element along each axis.
        starts: Sizes,
        /// The number of elements along each axis, which is the shape of the result.
        sizes: Sizes,
        /// The distance between selected neighbours. A negative step walks backwards. Empty means 1.
        steps: Ints = Ints::new(),
    }
}

impl Slice {
    /// Returns the step along `axis`.
    #[must_use]
    pub fn step(&self, axis: usize) -> i64 {
        self.steps.get(axis).copied().unwrap_or(1)
    }
}

impl OpDef for Slice {
    const NAME: &'static str = "slice";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        let rank = x.shape.rank();
        if self.starts.len() != rank || self.sizes.len() != rank || !(self.steps.is_empty() || self.steps.len() == rank)
        {
            return Err(operands.attr_error("starts", format!("starts, sizes and steps expect {rank} entries")));
        }
        for axis in 0..rank {
            let (first, count) = (self.starts[axis] as i128, self.sizes[axis] as i128);
            let last = first + (count - 1) * i128::from(self.step(axis));
            let inside = |i: i128| (0..x.shape[axis] as i128).contains(&i);
            if count > 0 && !(inside(first) && inside(last)) {
                let reason = format!("takes {first}..={last} of extent {} on axis {axis}", x.shape[axis]);
                return Err(operands.attr_error("sizes", reason));
            }
        }
        Ok(smallvec![TensorType::moved(x, Shape::new(&self.sizes))])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred").array;
        let shape = Shape::new(&self.sizes);
        let strides = x.shape.strides();
        let offset = self.starts.iter().zip(&strides).map(|(s, d)| s.wrapping_mul(*d)).fold(0, usize::wrapping_add);
        let steps = (0..shape.rank()).map(|a| self.step(a).wrapping_mul(strides[a] as i64) as usize).collect();
        let data = x.data.gather(strided(&shape, offset, steps));
        smallvec![Array { dtype: x.dtype, shape, data }]
    }
}

//! `gather`: selects elements along an axis by index (ONNX Gather).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{DType, Shape, TensorType};

op! {
    /// `y[a.., i.., b..] = x[a.., indices[i..], b..]`, where `a` has `axis` axes.
    ///
    /// Operands: `x` and integer `indices`. A negative index counts from the end. An index outside the axis is an error
    /// in the evaluator. Compiled code reports it and uses the nearest element.
    pub struct Gather = "gather" {
        /// The indexed axis.
        axis: usize = 0,
    }
}

impl Gather {
    /// Returns the first index outside the axis of `x`, with the extent of the axis.
    #[must_use]
    pub fn outside(&self, x: &Array, indices: &Array) -> Option<(i64, usize)> {
        let length = x.shape[self.axis];
        let inside = -(length as i64)..length as i64;
        indices.ints().iter().find(|i| !inside.contains(*i)).map(|i| (*i, length))
    }

    fn output_shape(&self, x: &Shape, indices: &Shape) -> Shape {
        x[..self.axis].iter().chain(indices.iter()).chain(&x[self.axis + 1..]).copied().collect()
    }
}

impl OpDef for Gather {
    const NAME: &'static str = "gather";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(2, 2)?;
        let (x, indices) = (operands.get(0)?.ty, operands.get(1)?.ty);
        if self.axis >= x.shape.rank() {
            return Err(operands.attr_error("axis", format!("must be below rank {}", x.shape.rank())));
        }
        if !matches!(indices.dtype, DType::I32 | DType::I64) {
            return Err(operands.dtype_error(1, "i32 or i64", indices.dtype));
        }
        if x.shape[self.axis] == 0 {
            return Err(operands.shape_error(0, format!("elements on axis {}", self.axis), &x.shape));
        }
        Ok(smallvec![TensorType::moved(x, self.output_shape(&x.shape, &indices.shape))])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let (x, indices) = (operands[0].expect("inferred").array, operands[1].expect("inferred").array);
        let (length, inner) = (x.shape[self.axis], x.shape.strides()[self.axis]);
        let outer: usize = x.shape[..self.axis].iter().product();
        let index = |i: &i64| (if *i < 0 { i + length as i64 } else { *i }).clamp(0, length as i64 - 1) as usize;
        let indices_at: Vec<usize> = indices.ints().iter().map(index).collect();
        let positions = (0..outer)
            .flat_map(|o| indices_at.iter().map(move |i| (o * length + i) * inner))
            .flat_map(|start| start..start + inner);
        smallvec![Array {
            dtype: x.dtype,
            shape: self.output_shape(&x.shape, &indices.shape),
            data: x.data.gather(positions)
        }]
    }
}

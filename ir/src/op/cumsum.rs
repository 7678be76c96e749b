//! `cumsum`: running sums along an axis (ONNX CumSum).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

op! {
    /// `y[i] = x[0] + … + x[i]` along `axis`.
    ///
    /// Operand: `x` of f32, i32 or i64. The sum starts at 0 and takes one element after the other, in the order of the
    /// axis: floats round to f32 after each addition, integers wrap. So every element is the same bits wherever it is
    /// computed.
    pub struct CumSum = "cumsum" {
        /// The axis along which elements are added.
        axis: usize,
        /// Whether an element is left out of its own sum: the first sum is 0.
        exclusive: bool = false,
        /// Whether the sum begins at the end of the axis.
        reverse: bool = false,
    }
}

impl CumSum {
    /// Running sums of `x`, in blocks of `length` elements that lie `inner` apart.
    fn sums<T: Copy>(&self, x: &[T], (length, inner): (usize, usize), zero: T, add: impl Fn(T, T) -> T) -> Vec<T> {
        let mut y = vec![zero; x.len()];
        for start in (0..x.len()).step_by((length * inner).max(1)).flat_map(|block| block..block + inner) {
            let mut sum = zero;
            for step in 0..length {
                let at = start + inner * if self.reverse { length - 1 - step } else { step };
                let next = add(sum, x[at]);
                y[at] = if self.exclusive { sum } else { next };
                sum = next;
            }
        }
        y
    }
}

impl OpDef for CumSum {
    const NAME: &'static str = "cumsum";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        if self.axis >= x.ty.shape.rank() {
            return Err(operands.attr_error("axis", format!("must be below rank {}", x.ty.shape.rank())));
        }
        if !matches!(x.ty.dtype, DType::F32 | DType::I32 | DType::I64) {
            return Err(operands.dtype_error(0, "f32, i32 or i64", x.ty.dtype));
        }
        if x.quant.is_some() {
            return Err(operands.quant_error(0, "must not be quantized"));
        }
        Ok(smallvec![TensorType::new(x.ty.dtype, x.ty.shape.clone())])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn keeps_axis(&self, _x: &Shape, axis: usize) -> bool {
        axis != self.axis
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred").array;
        let extents = (x.shape[self.axis], x.shape.strides()[self.axis]);
        let data = match &x.data {
            Data::Float(numbers) => Data::Float(self.sums(numbers, extents, 0.0, |sum, x| sum + x)),
            Data::Int(numbers) => Data::Int(self.sums(numbers, extents, 0, i64::wrapping_add)),
        };
        smallvec![Array { dtype: x.dtype, shape: x.shape.clone(), data }.rounded()]
    }
}

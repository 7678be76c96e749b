//! `concat`: concatenates tensors along an axis (ONNX Concat).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::tensor::Data;
use crate::types::TensorType;

op! {
    /// The operands, one after the other along `axis`.
    ///
    /// Operands: one or more, with the same element type and the same extents except along `axis`.
    pub struct Concat = "concat" {
        /// The axis of the concatenation.
        axis: usize,
    }
}

impl OpDef for Concat {
    const NAME: &'static str = "concat";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, usize::MAX)?;
        let first = operands.get(0)?.ty;
        if self.axis >= first.shape.rank() {
            return Err(operands.attr_error("axis", format!("must be below rank {}", first.shape.rank())));
        }
        let mut shape = first.shape.clone();
        for index in 1..operands.len() {
            let x = operands.get(index)?.ty;
            let agrees =
                x.shape.rank() == shape.rank() && (0..shape.rank()).all(|a| a == self.axis || x.shape[a] == shape[a]);
            if !agrees {
                return Err(operands.shape_error(
                    index,
                    format!("{} but on axis {}", first.shape, self.axis),
                    &x.shape,
                ));
            }
            if x.dtype != first.dtype {
                return Err(operands.dtype_error(index, first.dtype, x.dtype));
            }
            shape[self.axis] = shape[self.axis].saturating_add(x.shape[self.axis]);
        }
        Ok(smallvec![TensorType::moved(first, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let arrays: Vec<&Array> = operands.iter().map(|o| o.expect("inferred").array).collect();
        let first = arrays[0];
        let mut shape = first.shape.clone();
        shape[self.axis] = arrays.iter().map(|a| a.shape[self.axis]).sum();
        let outer: usize = shape[..self.axis].iter().product();
        let run = |a: &Array| a.shape[self.axis..].iter().product::<usize>();
        fn join<T: Copy>(outer: usize, parts: &[(&[T], usize)]) -> Vec<T> {
            (0..outer).flat_map(|o| parts.iter().flat_map(move |(v, n)| v[o * n..][..*n].iter().copied())).collect()
        }
        let data = match &first.data {
            Data::Float(_) => {
                let parts: Vec<_> = arrays.iter().map(|a| (a.floats(), run(a))).collect();
                Data::Float(join(outer, &parts.iter().map(|(v, n)| (v.as_ref(), *n)).collect::<Vec<_>>()))
            }
            Data::Int(_) => {
                let parts: Vec<_> = arrays.iter().map(|a| (a.ints(), run(a))).collect();
                Data::Int(join(outer, &parts.iter().map(|(v, n)| (v.as_ref(), *n)).collect::<Vec<_>>()))
            }
        };
        smallvec![Array { dtype: first.dtype, shape, data }]
    }
}

//! `matmul`: matrix product with broadcast batch axes (ONNX MatMul, MatMulInteger, Gemm after import).

use smallvec::{SmallVec, smallvec};

use super::conv::{accumulator, factors, narrowed, widened};
use crate::array::{Array, index_map};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// `y[.., m, n] = b[n] + sum over k of x[.., m, k] * w[.., k, n]`.
    ///
    /// Operands: `x` of rank 2 or more, `w` of rank 2 or more, and optionally a bias of shape N. The types are as for
    /// [`Conv`](super::conv::Conv). The batch axes, which are all but the last two, broadcast.
    pub struct MatMul = "matmul" {}
}

impl OpDef for MatMul {
    const NAME: &'static str = "matmul";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(2, 3)?;
        let (x, w) = (&operands.get(0)?.ty.shape, &operands.get(1)?.ty.shape);
        for (index, shape) in [(0, x), (1, w)] {
            if shape.rank() < 2 {
                return Err(operands.shape_error(index, "rank 2 or more", shape));
            }
        }
        let (m, k, n) = (x[x.rank() - 2], x[x.rank() - 1], w[w.rank() - 1]);
        if w[w.rank() - 2] != k {
            return Err(operands.shape_error(1, format!("{k} rows, as many as {x} has columns"), w));
        }
        let batch = |s: &Shape| Shape::new(&s[..s.rank() - 2]);
        let Some(batch) = batch(x).broadcast(&batch(w)) else {
            return Err(operands.shape_error(1, format!("batch axes that broadcast with {x}"), w));
        };
        let result = accumulator(operands, w.rank() - 1)?;
        if let Some(b) = operands.optional(2) {
            if b.ty.dtype != result {
                return Err(operands.dtype_error(2, result, b.ty.dtype));
            }
            if *b.ty.shape != [n] {
                return Err(operands.shape_error(2, format!("shape {n}"), &b.ty.shape));
            }
        }
        let shape = batch.iter().copied().chain([m, n]).collect();
        Ok(smallvec![TensorType::new(result, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::Affine { weight: 1, axis: 1, bias: 2 }
    }

    fn macs(&self, operands: Operands<'_>, output: &Shape) -> u64 {
        operands.optional(0).map_or(0, |x| x.ty.shape.last().map_or(0, |k| k.saturating_mul(output.elements())) as u64)
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let (x, w) = (operands[0].expect("inferred"), operands[1].expect("inferred"));
        let (xs, ws) = (&x.array.shape, &w.array.shape);
        let (m, k, n) = (xs[xs.rank() - 2], xs[xs.rank() - 1], ws[ws.rank() - 1]);
        let (x_batch, w_batch) = (Shape::new(&xs[..xs.rank() - 2]), Shape::new(&ws[..ws.rank() - 2]));
        let batch = x_batch.broadcast(&w_batch).expect("inferred");
        let [xv, wv] = factors(&x, &w);
        let bias = operands.get(2).copied().flatten().map(|b| widened(b.array));
        let mut y = Vec::with_capacity(batch.elements() * m * n);
        for (xb, wb) in index_map(&x_batch, &batch).zip(index_map(&w_batch, &batch)) {
            for row in (0..m).map(|row| &xv[(xb * m + row) * k..][..k]) {
                let start = y.len();
                y.resize(start + n, 0.0);
                let y = &mut y[start..];
                if let Some(bias) = &bias {
                    y.copy_from_slice(bias);
                }
                for (x, w) in row.iter().zip(wv[wb * k * n..].chunks_exact(n.max(1))) {
                    y.iter_mut().zip(w).for_each(|(y, w)| *y += x * w);
                }
            }
        }
        let shape = batch.iter().copied().chain([m, n]).collect();
        smallvec![narrowed(y, shape, x.array.dtype)]
    }
}

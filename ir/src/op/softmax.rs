//! `softmax`: exponentials that sum to one along an axis (ONNX Softmax from opset 13).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

op! {
    /// `exp(x - max) / sum(exp(x - max))` along `axis`.
    ///
    /// The operand has floats, or quantized 8-bit integers. The integer form is defined on integers: with the table
    /// [`exponentials`], each result is `f32(e) / f32(sum of e)`, with an exact sum and one division. The result is
    /// f32.
    pub struct Softmax = "softmax" {
        /// The axis along which the results sum to one.
        axis: usize,
    }
}

/// `round(exp(-d * scale) * 2^22)` for the 256 differences `d` from the row's maximum.
///
/// With the factor 2^22, a sum of 512 numbers fits 31 bits, and each number is exact in f32.
#[must_use]
pub fn exponentials(scale: f32) -> [i32; 256] {
    std::array::from_fn(|d| (libm::exp(-(d as f64) * f64::from(scale)) * f64::from(1 << 22)).round_ties_even() as i32)
}

impl OpDef for Softmax {
    const NAME: &'static str = "softmax";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        if self.axis >= x.ty.shape.rank() {
            return Err(operands.attr_error("axis", format!("must be below rank {}", x.ty.shape.rank())));
        }
        let quantized = x.ty.dtype.bits() == 8 && x.quant.is_some_and(crate::quant::QuantParams::is_per_tensor);
        let dtype = match x.ty.dtype {
            d if d.is_float() => d,
            _ if quantized => DType::F32,
            d => return Err(operands.dtype_error(0, "a float, or 8-bit integers quantized per tensor", d)),
        };
        Ok(smallvec![TensorType::new(dtype, x.ty.shape.clone())])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::Fixed { scale: 1.0 / 256.0, zero_point: 0 }
    }

    fn keeps_axis(&self, _x: &Shape, axis: usize) -> bool {
        axis != self.axis
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred");
        let shape = &x.array.shape;
        let (length, inner) = (shape[self.axis], shape.strides()[self.axis]);
        let table = x.quant.map(|q| exponentials(q.scale[0]));
        let mut y = vec![0.0_f32; shape.elements()];
        for outer in 0..shape.elements().checked_div(length * inner).unwrap_or(0) {
            for i in 0..inner {
                let at = |j: usize| (outer * length + j) * inner + i;
                match (&x.array.data, &table) {
                    (Data::Int(v), Some(table)) => {
                        let top = (0..length).map(|j| v[at(j)]).max().unwrap_or(0);
                        let entry = |j: usize| table[(top - v[at(j)]) as usize];
                        let sum: i64 = (0..length).map(|j| i64::from(entry(j))).sum();
                        (0..length).for_each(|j| y[at(j)] = entry(j) as f32 / sum as f32);
                    }
                    (Data::Float(v), _) => {
                        let top = (0..length).map(|j| v[at(j)]).fold(f32::NEG_INFINITY, f32::max);
                        let e = |j: usize| f64::from(libm::expf(v[at(j)] - top));
                        let sum: f64 = (0..length).map(e).sum();
                        (0..length).for_each(|j| y[at(j)] = (e(j) / sum) as f32);
                    }
                    _ => unreachable!("integers without quantization do not pass infer"),
                }
            }
        }
        let dtype = if table.is_some() { DType::F32 } else { x.array.dtype };
        smallvec![Array { dtype, shape: shape.clone(), data: Data::Float(y) }.rounded()]
    }
}

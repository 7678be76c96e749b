//! `dequantize_linear`: converts stored integers to real numbers (ONNX DequantizeLinear). The parameters are part of
//! the operand's type.

use smallvec::{SmallVec, smallvec};

use super::quantize_linear::entries;
use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::quant::QuantParams;
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

op! {
    /// `(x - zero_point) * scale` in f32.
    ///
    /// Operand: `x`, quantized integers.
    pub struct DequantizeLinear = "dequantize_linear" {}
}

impl OpDef for DequantizeLinear {
    const NAME: &'static str = "dequantize_linear";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        if x.quant.is_none() {
            return Err(operands.quant_error(0, format!("has no quantization (its type is {})", x.ty)));
        }
        Ok(smallvec![TensorType::new(DType::F32, x.ty.shape.clone())])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        true
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred");
        smallvec![dequantized(x.array, x.quant.expect("inferred"))]
    }
}

/// Returns the real numbers that stored integers represent.
pub(super) fn dequantized(array: &Array, quant: &QuantParams) -> Array {
    let entry = entries(&array.shape, quant);
    let real = |(i, stored): (usize, &i64)| {
        let e = entry(i);
        (stored - i64::from(quant.zero_point[e])) as f32 * quant.scale[e]
    };
    let data = Data::Float(array.ints().iter().enumerate().map(real).collect());
    Array { dtype: DType::F32, shape: array.shape.clone(), data }
}

//! `quantize_linear`: converts real numbers to stored integers (ONNX QuantizeLinear). The parameters are part of the
//! result's type.

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::quant::{QuantParams, quantize};
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

op! {
    /// `saturate(round(x / scale) + zero_point)`, with ties rounded to even.
    ///
    /// Operand: `x`, f32. The scale and zero point are those of the result's type, which the caller passes when it adds
    /// the node.
    pub struct QuantizeLinear = "quantize_linear" {
        /// The type of the stored integers.
        to: DType = DType::U8,
    }
}

impl OpDef for QuantizeLinear {
    const NAME: &'static str = "quantize_linear";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        if x.dtype != DType::F32 {
            return Err(operands.dtype_error(0, "f32", x.dtype));
        }
        if self.to.storage_range().is_none() {
            return Err(operands.attr_error("to", "must be an integer type of at most 32 bits, not u32"));
        }
        Ok(smallvec![TensorType::new(self.to, x.shape.clone())])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        true
    }

    fn eval(&self, _operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        unreachable!("the evaluator calls `quantized` with the result's parameters")
    }
}

/// Quantizes `x` with these parameters.
#[must_use]
pub fn quantized(x: &Array, params: &QuantParams) -> Array {
    let (min, max) = params.storage.storage_range().expect("quantized storage is an integer of at most 32 bits");
    let entry = entries(&x.shape, params);
    let q = |(i, x): (usize, &f32)| {
        let e = entry(i);
        i64::from(quantize(*x, params.scale[e], params.zero_point[e], min, max))
    };
    let data = Data::Int(x.floats().iter().enumerate().map(q).collect());
    Array { dtype: params.storage, shape: x.shape.clone(), data }
}

/// Returns a function from a row-major position of `shape` to the index of its scale and zero point.
pub fn entries<'a>(shape: &'a crate::types::Shape, params: &'a QuantParams) -> impl Fn(usize) -> usize + 'a {
    use crate::quant::Granularity::{Blocked, PerChannel, PerTensor};
    let strides = shape.strides();
    move |i| match params.granularity {
        PerTensor => 0,
        PerChannel { axis } => i / strides[axis] % shape[axis],
        Blocked { axis, block } => {
            // Blocks are numbered row-major, in the shape whose `axis` is divided into blocks.
            let blocks = shape[axis].div_ceil(block);
            let (outer, inner) = (i / (strides[axis] * shape[axis]), i % strides[axis]);
            (outer * blocks + i / strides[axis] % shape[axis] / block) * strides[axis] + inner
        }
    }
}

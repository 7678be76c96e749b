//! Operators on quantized tensors. Each becomes a dequantization, the operator on real numbers, and a quantization,
//! which is the form that the passes expect.

use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::ReduceKind;
use eightfold_ir::{Arg, DType, Function, Granularity, QuantParams, Step};
use smallvec::smallvec;

use super::quantize::{self, Axis};
use super::{Adapt, AdaptError, Outputs, broken, concat, conv, matmul, pool, softmax, unsupported};
use crate::onnx::importer::Operand;

/// No axis: the scale is per tensor.
const WHOLE: Axis = Axis { axis: 0, block: 0 };

/// Operand `index` dequantized, by the scale and zero point that follow it.
fn real(a: &mut Adapt<'_, '_>, index: usize, along: Axis) -> Result<(Operand, QuantParams), AdaptError> {
    let x = a.operand(index)?;
    let params = quantize::params(a, a.dtype(&x), &a.shape(&x), index + 1, index + 2, along)?;
    Ok((quantize::dequantized(a, &x, &params)?, params))
}

/// `y` quantized by the scale at operand `index` and the zero point after it.
fn stored(a: &mut Adapt<'_, '_>, y: &Operand, index: usize, default: DType) -> Result<Outputs, AdaptError> {
    let storage = a.optional(index + 1).map_or(default, |z| a.dtype(&z));
    let params = quantize::params(a, storage, &a.shape(y), index, index + 1, WHOLE)?;
    Ok(vec![quantize::requantized(a, y, &params)?])
}

/// Operands: x, w, y as tensor, scale, zero point (y without tensor), then an i32 bias whose scale is `scale(x) *
/// scale(w)`.
pub(super) fn conv(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, x_params) = real(a, 0, WHOLE)?;
    let (w, w_params) = real(a, 3, Axis { axis: 0, block: 0 })?;
    let op = conv::operator(a, &x, &w)?;
    let bias = match a.optional(8) {
        Some(bias) => Some(self::bias(a, &bias, &x_params, &w_params)?),
        None => None,
    };
    let y = conv::emit(a, op, &x, &w, bias.as_ref())?;
    let storage = x_params.storage;
    stored(a, &y, 6, storage)
}

fn bias(a: &mut Adapt<'_, '_>, bias: &Operand, x: &QuantParams, w: &QuantParams) -> Result<Operand, AdaptError> {
    let (Some((x_scale, _)), DType::I32) = (x.as_per_tensor(), a.dtype(bias)) else {
        return Err(broken(format!("a bias of type {}, or an operand quantized per channel", a.dtype(bias))));
    };
    let params = QuantParams {
        storage: DType::I32,
        granularity: w.granularity,
        scale: w.scale.iter().map(|s| x_scale * s).collect(),
        zero_point: w.scale.iter().map(|_| 0).collect(),
    };
    quantize::dequantized(a, bias, &params)
}

/// Operands: a and b as tensor, scale, zero point, then scale and zero point of y. The scales of b may be per column.
pub(super) fn matmul(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, x_params) = real(a, 0, WHOLE)?;
    let (w, _) = real(a, 3, Axis { axis: -1, block: 0 })?;
    if !matches!(x_params.granularity, Granularity::PerTensor) {
        return Err(unsupported("a scale for each row"));
    }
    let y = matmul::product(a, &x, &w)?;
    stored(a, &y, 6, x_params.storage)
}

fn binary(a: &mut Adapt<'_, '_>, function: Function) -> Result<Outputs, AdaptError> {
    let (x, params) = real(a, 0, WHOLE)?;
    let (y, _) = real(a, 3, WHOLE)?;
    let z = a.elementwise(function, &[x, y])?;
    stored(a, &z, 6, params.storage)
}

pub(super) fn add(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    binary(a, Function::Add)
}

pub(super) fn mul(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    binary(a, Function::Mul)
}

/// An operator with one operand; operand and result have a scale and a zero point each.
fn unary(
    a: &mut Adapt<'_, '_>,
    f: impl FnOnce(&mut Adapt<'_, '_>, &Operand) -> Result<Operand, AdaptError>,
) -> Result<Outputs, AdaptError> {
    if a.flag("channels_last", false)? {
        return Err(unsupported("channels_last is set"));
    }
    let (x, params) = real(a, 0, WHOLE)?;
    let y = f(a, &x)?;
    stored(a, &y, 3, params.storage)
}

pub(super) fn average_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    unary(a, |a, x| pool::pool(a, PoolKind::Average, x))
}

pub(super) fn global_average_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    unary(a, |a, x| pool::global(a, ReduceKind::Mean, x))
}

pub(super) fn sigmoid(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    unary(a, |a, x| a.map(x, vec![Step::unary(Function::Sigmoid)]))
}

pub(super) fn leaky_relu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    unary(a, |a, x| {
        let alpha = Arg::Float(a.float("alpha")?.unwrap_or(0.01));
        a.map(x, vec![Step::Apply(Function::LeakyRelu, smallvec![Arg::Current, alpha])])
    })
}

/// The attribute `opset` is the version of Softmax.
pub(super) fn softmax(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let version = a.int("opset")?.ok_or_else(|| broken("attribute opset is missing"))?;
    unary(a, |a, x| softmax::normalized(a, x, version))
}

/// Operands: scale and zero point of the result, then tensor, scale, zero point of each part.
pub(super) fn concat(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    if a.inputs.len() < 5 || a.inputs.len() % 3 != 2 {
        return Err(broken(format!("{} operands, expected two and three for each part", a.inputs.len())));
    }
    let mut parts = Vec::new();
    for index in (2..a.inputs.len()).step_by(3) {
        parts.push(real(a, index, WHOLE)?.0);
    }
    let axis = a.int("axis")?.ok_or_else(|| broken("attribute axis is missing"))?;
    let y = concat::join(a, &parts, axis)?;
    stored(a, &y, 0, DType::U8)
}

//! Max, Min, Sum, Mean of any number of operands; Mod, Pow; Cast, CastLike.

use eightfold_ir::{Arg, Function, Step};

use super::{Adapt, AdaptError, Outputs, broken, unsupported};
use crate::onnx::importer::Operand;
use crate::onnx::proto::element_type;

fn fold(a: &mut Adapt<'_, '_>, function: Function) -> Result<Operand, AdaptError> {
    let operands = a.operands()?;
    let (first, rest) = operands.split_first().ok_or_else(|| broken("has no operands"))?;
    rest.iter().try_fold(first.clone(), |acc, next| a.elementwise(function, &[acc, next.clone()]))
}

pub(super) fn max(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    Ok(vec![fold(a, Function::Max)?])
}

pub(super) fn min(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    Ok(vec![fold(a, Function::Min)?])
}

pub(super) fn sum(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    Ok(vec![fold(a, Function::Add)?])
}

pub(super) fn mean(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let sum = fold(a, Function::Add)?;
    let count = a.inputs.len() as f32;
    Ok(vec![a.map(&sum, vec![Step::binary(Function::Div, Arg::Float(count))])?])
}

/// Floats need `fmod`; for integers without `fmod` the result has the divisor's sign.
pub(super) fn modulo(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let operands = [a.operand(0)?, a.operand(1)?];
    match (a.flag("fmod", false)?, a.dtype(&operands[0]).is_float()) {
        (fmod, float) if fmod == float => Ok(vec![a.elementwise(Function::Mod, &operands)?]),
        (true, _) => Err(unsupported("fmod on integers")),
        _ => Err(unsupported("floats without fmod")),
    }
}

/// The exponent may have another type than the base. The result has the base's type.
pub(super) fn pow(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, y) = (a.operand(0)?, a.operand(1)?);
    let dtype = a.dtype(&x);
    if dtype.is_integer() && a.dtype(&y).is_float() {
        return Err(unsupported("an integer to the power of a float"));
    }
    let y = a.cast(&y, dtype)?;
    if let Operand::Const { tensor, .. } = &y
        && tensor.shape().rank() <= a.shape(&x).rank()
        && let Some(exponent) = tensor.to_f32s().filter(|v| v.len() == 1)
    {
        let square = Step::binary(Function::Mul, Arg::Current);
        if exponent[0] == 1.0 {
            return Ok(vec![x]);
        } else if exponent[0] == 2.0 {
            return Ok(vec![a.map(&x, vec![square])?]);
        } else if exponent[0] == 3.0 {
            let again = Arg::Value(a.place(&x));
            return Ok(vec![a.map(&x, vec![square, Step::binary(Function::Mul, again)])?]);
        }
    }
    Ok(vec![a.elementwise(Function::Pow, &[x, y])?])
}

pub(super) fn cast(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let number = a.int("to")?.ok_or_else(|| broken("attribute to is missing"))?;
    let to = element_type(number).map_err(|name| unsupported(format!("a cast to {name}")))?;
    Ok(vec![a.cast(&x, to)?])
}

pub(super) fn cast_like(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, like) = (a.operand(0)?, a.operand(1)?);
    let to = a.dtype(&like);
    Ok(vec![a.cast(&x, to)?])
}

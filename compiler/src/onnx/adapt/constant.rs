//! Operators that create tensors from nothing or from shapes: Constant, ConstantOfShape, Shape, Size, Range.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::{DType, Data, Shape, Tensor};

use super::{Adapt, AdaptError, Outputs, broken, sizes, unsupported};
use crate::onnx::dims::MOST_ELEMENTS;
use crate::onnx::importer::Operand;

/// The maximum number of elements of a range.
const MOST_IN_RANGE: f64 = (1 << 20) as f64;

pub(super) fn constant(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let int = |shape: &[usize], v: &[i64]| Operand::constant("", Tensor::int(DType::I64, shape, v));
    let float = |shape: &[usize], v: &[f32]| Operand::constant("", Tensor::f32(shape, v));
    let value = if let Some(value) = a.tensor("value")? {
        value
    } else if let Some(v) = a.float("value_float")? {
        float(&[], &[v])
    } else if let Some(v) = a.floats("value_floats")? {
        float(&[v.len()], &v)
    } else if let Some(v) = a.int("value_int")? {
        int(&[], &[v])
    } else if let Some(v) = a.ints("value_ints")? {
        int(&[v.len()], &v)
    } else {
        return match a.node.attributes.iter().next() {
            Some((name, value)) => Err(unsupported(format!("attribute {name} of kind {}", value.kind()))),
            None => Err(broken("has no value")),
        };
    };
    Ok(vec![value])
}

pub(super) fn constant_of_shape(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let shape = a.constant_ints(0, "input")?.ok_or_else(|| broken("operand 0 is missing"))?;
    let shape = sizes(&shape, "operand input")?;
    if shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).is_none_or(|n| n > MOST_ELEMENTS) {
        return Err(broken(format!("the result is too large: {}", Shape::new(&shape))));
    }
    let value = a.tensor("value")?.unwrap_or_else(|| Operand::constant("", Tensor::f32(&[], &[0.0])));
    let value = a.reshape(&value, &[])?;
    Ok(vec![a.emit(Expand { shape: Sizes::from_slice(&shape) }, &[&value])?])
}

/// The extents of axes `start` to `end`, both clamped to the rank.
pub(super) fn shape(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let shape = a.shape(&a.operand(0)?);
    let rank = shape.rank() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(a.int("start")?.unwrap_or(0)), bound(a.int("end")?.unwrap_or(rank)));
    let extents: Vec<i64> = shape[start..end.max(start)].iter().map(|n| *n as i64).collect();
    Ok(vec![Operand::constant("", Tensor::int(DType::I64, &[extents.len()], &extents))])
}

pub(super) fn size(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let elements = a.shape(&a.operand(0)?).elements() as i64;
    Ok(vec![Operand::constant("", Tensor::int(DType::I64, &[], &[elements]))])
}

/// `start, start + delta, …` up to `limit` (exclusive).
pub(super) fn range(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let dtype = a.dtype(&a.operand(0)?);
    let mut number = |index: usize, name: &str| -> Result<(f64, i64), AdaptError> {
        let missing = || broken(format!("operand {name} must be one number"));
        let one = a.shape(&a.operand(index)?).elements() == 1;
        if !one || a.dtype(&a.operand(index)?) != dtype {
            return Err(missing());
        }
        if dtype.is_float() {
            let x = a.constant_floats(index, name)?.ok_or_else(missing)?[0];
            return Ok((f64::from(x), 0));
        }
        let x = a.constant_ints(index, name)?.ok_or_else(missing)?[0];
        Ok((x as f64, x))
    };
    let (start, limit, delta) = (number(0, "start")?, number(1, "limit")?, number(2, "delta")?);
    let count = ((limit.0 - start.0) / delta.0).ceil().max(0.0);
    if delta.0 == 0.0 || !count.is_finite() {
        return Err(broken(format!("a range by steps of {}", delta.0)));
    }
    if count > MOST_IN_RANGE {
        return Err(unsupported(format!("a range of {count} numbers")));
    }
    let count = count as usize;
    a.afford(count * dtype.byte_size())?;
    let data = match dtype.is_float() {
        true => Data::Float((0..count).map(|i| (start.0 + i as f64 * delta.0) as f32).collect()),
        false => Data::Int((0..count as i64).map(|i| start.1.wrapping_add(i.wrapping_mul(delta.1))).collect()),
    };
    Ok(vec![Operand::constant("", Tensor::from_array(dtype, Shape::new(&[count]), &data))])
}

//! Concat, Expand, Tile.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::{Shape, Step};

use super::{Adapt, AdaptError, Outputs, axis, broken, sizes};
use crate::onnx::importer::Operand;

pub(super) fn concat(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let operands = a.operands()?;
    let at = a.int("axis")?.ok_or_else(|| broken("attribute axis is missing"))?;
    Ok(vec![join(a, &operands, at)?])
}

/// Concatenates the operands along `at`.
pub(super) fn join(a: &mut Adapt<'_, '_>, operands: &[Operand], at: i64) -> Result<Operand, AdaptError> {
    let first = operands.first().ok_or_else(|| broken("has no operands"))?;
    let axis = axis(at, a.shape(first).rank())?;
    if operands.len() == 1 {
        return Ok(first.clone());
    }
    let operands = without_different_scales(a, operands)?;
    a.emit(Concat { axis }, &operands.iter().collect::<Vec<_>>())
}

/// The operands with a common quantization. Constants take that of the others. If scales differ among the operands or
/// from channel to channel, all become plain integers.
fn without_different_scales(a: &mut Adapt<'_, '_>, operands: &[Operand]) -> Result<Vec<Operand>, AdaptError> {
    let scales = |a: &Adapt<'_, '_>, operand: &Operand| match operand {
        Operand::Value(value) => Some(a.importer.graph.ty(*value).quant),
        Operand::Const { .. } => None,
    };
    let mut all = operands.iter().filter_map(|operand| scales(a, operand));
    let Some(first) = all.next() else { return Ok(operands.to_vec()) };
    let varies = first.is_some_and(|quant| !a.importer.graph.qparams(quant).is_per_tensor());
    if !varies && all.all(|other| other == first) {
        return Ok(operands.iter().map(|operand| Operand::Value(a.importer.place(operand, first))).collect());
    }
    let plain = |operand: &Operand| match scales(a, operand).flatten() {
        Some(_) => a.map(operand, vec![Step::Cast(a.dtype(operand))]),
        None => Ok(operand.clone()),
    };
    operands.iter().map(plain).collect()
}

pub(super) fn expand(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let to = a.constant_ints(1, "shape")?.ok_or_else(|| broken("operand shape is missing"))?;
    let to = Shape::new(&sizes(&to, "shape")?);
    let from = a.shape(&x);
    let shape = from.broadcast(&to).ok_or_else(|| broken(format!("{from} does not broadcast with {to}")))?;
    Ok(vec![repeat(a, &x, &shape)?])
}

fn repeat(a: &mut Adapt<'_, '_>, x: &Operand, shape: &[usize]) -> Result<Operand, AdaptError> {
    if *a.shape(x) == *shape {
        return Ok(x.clone());
    }
    a.emit(Expand { shape: Sizes::from_slice(shape) }, &[x])
}

/// Each axis of extent n, repeated r times, is an axis 1 x n expanded to r x n.
pub(super) fn tile(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let repeats = a.constant_ints(1, "repeats")?.ok_or_else(|| broken("operand repeats is missing"))?;
    let repeats = sizes(&repeats, "repeats")?;
    let shape = a.shape(&x);
    if repeats.len() != shape.rank() {
        return Err(broken(format!("{} repeats for a tensor of shape {shape}", repeats.len())));
    }
    let (mut apart, mut repeated, mut joined) = (vec![], vec![], vec![]);
    for (n, r) in shape.iter().zip(repeats) {
        apart.extend(if r == 1 { vec![*n] } else { vec![1, *n] });
        repeated.extend(if r == 1 { vec![*n] } else { vec![r, *n] });
        joined.push(n.checked_mul(r).ok_or_else(|| broken("the result is too large"))?);
    }
    let apart = a.reshape(&x, &apart)?;
    let repeated = repeat(a, &apart, &repeated)?;
    Ok(vec![a.reshape(&repeated, &joined)?])
}

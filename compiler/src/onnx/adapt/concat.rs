//! Concat, Expand, Tile.

use eightfold_ir::Shape;
use eightfold_ir::attr::Sizes;
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::expand::Expand;

use super::{Adapt, Fault, Outputs, axis, broken, sizes};
use crate::onnx::import::Operand;

pub(super) fn concat(a: &mut Adapt<'_, '_>) -> Result<Outputs, Fault> {
    let operands = a.operands()?;
    let at = a.int("axis")?.ok_or_else(|| broken("attribute axis is missing"))?;
    Ok(vec![join(a, &operands, at)?])
}

/// The operands side by side along `at`.
pub(super) fn join(a: &mut Adapt<'_, '_>, operands: &[Operand], at: i64) -> Result<Operand, Fault> {
    let first = operands.first().ok_or_else(|| broken("has no operands"))?;
    let axis = axis(at, a.shape(first).rank())?;
    if operands.len() == 1 {
        return Ok(first.clone());
    }
    a.emit(Concat { axis }, &operands.iter().collect::<Vec<_>>())
}

pub(super) fn expand(a: &mut Adapt<'_, '_>) -> Result<Outputs, Fault> {
    let x = a.operand(0)?;
    let to = a.constant_ints(1, "shape")?.ok_or_else(|| broken("operand shape is missing"))?;
    let to = Shape::new(&sizes(&to, "shape")?);
    let from = a.shape(&x);
    let shape = from.broadcast(&to).ok_or_else(|| broken(format!("{from} does not broadcast with {to}")))?;
    Ok(vec![repeat(a, &x, &shape)?])
}

fn repeat(a: &mut Adapt<'_, '_>, x: &Operand, shape: &[usize]) -> Result<Operand, Fault> {
    if *a.shape(x) == *shape {
        return Ok(x.clone());
    }
    a.emit(Expand { shape: Sizes::from_slice(shape) }, &[x])
}

/// Each axis n repeated r times is an axis 1 x n expanded to r x n.
pub(super) fn tile(a: &mut Adapt<'_, '_>) -> Result<Outputs, Fault> {
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

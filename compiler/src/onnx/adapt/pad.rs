//! Pad. Negative pads cut off elements; they become a slice.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::pad::{Pad, PadMode};

use super::{Adapt, AdaptError, Outputs, axis, broken, sizes, unsupported};
use crate::onnx::importer::Operand;

/// Pads and value are attributes before opset 11 and operands since; opset 18 adds axes.
pub(super) fn pad(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    let rank = shape.rank();
    let attributes = a.version < 11;
    if attributes {
        // Only constant borders use it.
        a.ignore("value");
    }
    let given = if attributes { a.ints("pads")? } else { a.constant_ints(1, "pads")? };
    let given = given.ok_or_else(|| broken("pads are missing"))?;
    let at = match a.constant_ints(3, "axes")? {
        Some(list) if !attributes => list.iter().map(|i| axis(*i, rank)).collect::<Result<Vec<_>, _>>()?,
        _ => (0..rank).collect(),
    };
    if given.len() != 2 * at.len() {
        return Err(broken(format!("{} pads for {} axes", given.len(), at.len())));
    }
    let mode = match a.string("mode")?.as_deref() {
        None | Some("constant") => PadMode::Constant,
        Some("edge") => PadMode::Edge,
        Some("reflect") => PadMode::Reflect,
        Some(other) => return Err(unsupported(format!("mode is {other:?}"))),
    };
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, axis) in at.iter().enumerate() {
        (before[*axis], after[*axis]) = (given[i], given[i + at.len()]);
    }
    let (mut starts, mut kept) = (vec![0; rank], shape.to_vec());
    for axis in 0..rank {
        let cut = [before[axis], after[axis]].map(|p: i64| p.min(0).unsigned_abs() as usize);
        let left = cut[0].checked_add(cut[1]).and_then(|cut| shape[axis].checked_sub(cut));
        kept[axis] = left.ok_or_else(|| broken(format!("axis {axis} of {shape} is cut by {cut:?}")))?;
        starts[axis] = cut[0];
    }
    let wide = |list: &[i64]| sizes(&list.iter().map(|p| *p.max(&0)).collect::<Vec<_>>(), "pads");
    let (before, after) = (wide(&before)?, wide(&after)?);
    let x = a.slice(&x, &starts, &kept)?;
    if before.iter().chain(&after).all(|p| *p == 0) {
        return Ok(vec![x]);
    }
    let value = if mode == PadMode::Constant { value(a, &x)? } else { 0.0 };
    let op = Pad { mode, before: Sizes::from_slice(&before), after: Sizes::from_slice(&after), value };
    Ok(vec![a.emit(op, &[&x])?])
}

/// The border's value; a real number if `x` is quantized.
fn value(a: &mut Adapt<'_, '_>, x: &Operand) -> Result<f32, AdaptError> {
    if a.version < 11 {
        return Ok(a.float("value")?.unwrap_or(0.0));
    }
    if a.dtype(x).is_float() {
        return Ok(a.constant_floats(2, "constant_value")?.and_then(|v| v.first().copied()).unwrap_or(0.0));
    }
    let stored = a.constant_ints(2, "constant_value")?.and_then(|v| v.first().copied()).unwrap_or(0);
    let quant = match x {
        Operand::Value(value) => a.importer.graph.quant(*value),
        Operand::Const { .. } => None,
    };
    match quant.map(|q| q.as_per_tensor()) {
        Some(Some((scale, zero_point))) => Ok((stored - i64::from(zero_point)) as f32 * scale),
        Some(None) => Err(unsupported("a border around a tensor that is quantized per channel")),
        None if stored.unsigned_abs() > 1 << 24 => Err(unsupported(format!("a border of {stored}"))),
        None => Ok(stored as f32),
    }
}

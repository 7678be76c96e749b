//! Slice and Split.

use eightfold_ir::attr::{Ints, Sizes};
use eightfold_ir::op::slice::Slice;

use super::{Adapt, AdaptError, Outputs, axes, axis, broken, sizes};

/// Starts, ends and axes are attributes before opset 10, and operands since, with steps. Negative indices count from
/// the end; all are clamped to the tensor.
pub(super) fn slice(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    let attributes = a.version < 10;
    let mut list = |index: usize, name: &'static str| match attributes {
        true => a.ints(name),
        false => a.constant_ints(index, name),
    };
    let starts = list(1, "starts")?.ok_or_else(|| broken("starts are missing"))?;
    let ends = list(2, "ends")?.ok_or_else(|| broken("ends are missing"))?;
    let at = list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let by = if attributes { None } else { a.constant_ints(4, "steps")? };
    let by = by.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), at.len(), by.len()].iter().any(|n| *n != starts.len()) {
        return Err(broken(format!("starts {starts:?}, ends {ends:?}, axes {at:?} and steps {by:?} differ in length")));
    }
    axes(&at, shape.rank())?;
    let (mut from, mut count, mut steps) = (vec![0; shape.rank()], shape.to_vec(), vec![1; shape.rank()]);
    for i in 0..at.len() {
        let axis = axis(at[i], shape.rank())?;
        let extent = shape[axis] as i64;
        let absolute = |x: i64| if x < 0 { x.saturating_add(extent) } else { x };
        let (start, end, step) = (absolute(starts[i]), absolute(ends[i]), by[i]);
        let (start, span) = match step {
            0 => return Err(broken("a step of 0")),
            1.. => (start.clamp(0, extent), end.clamp(0, extent) - start.clamp(0, extent)),
            // With a negative step, the end -1 is before the first element.
            _ => {
                let start = start.clamp(0, (extent - 1).max(0));
                (start, start.min(extent - 1) - end.clamp(-1, extent - 1))
            }
        };
        let distance = step.unsigned_abs().min(1 << 40) as i64;
        count[axis] = if span > 0 { ((span - 1) / distance + 1) as usize } else { 0 };
        from[axis] = if count[axis] > 0 { start as usize } else { 0 };
        steps[axis] = if count[axis] > 1 { step } else { 1 };
    }
    if steps.iter().all(|s| *s == 1) {
        return Ok(vec![a.slice(&x, &from, &count)?]);
    }
    let op =
        Slice { starts: Sizes::from_slice(&from), sizes: Sizes::from_slice(&count), steps: Ints::from_slice(&steps) };
    Ok(vec![a.emit(op, &[&x])?])
}

/// Sizes are an attribute before opset 13 and an operand since. Without sizes all parts are equal, except that the last
/// may be smaller.
pub(super) fn split(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    let axis = axis(a.int("axis")?.unwrap_or(0), shape.rank())?;
    let extent = shape[axis];
    let given = match a.ints("split")? {
        Some(list) => Some(list),
        None => a.constant_ints(1, "split")?,
    };
    let count = a.int("num_outputs")?;
    let parts = match given {
        Some(list) => sizes(&list, "split")?,
        None => {
            let count = count.unwrap_or(a.node.outputs.len() as i64);
            let count = sizes(&[count], "num_outputs")?[0].max(1);
            let part = extent.div_ceil(count);
            // An empty axis can be split into any number of empty parts.
            let most = if extent == 0 { a.node.outputs.len().max(1) } else { extent };
            if count > most || a.node.outputs.len() > count {
                return Err(broken(format!("{extent} elements in {count} parts")));
            }
            (0..count).map(|i| part.min(extent.saturating_sub(i * part))).collect()
        }
    };
    if parts.iter().try_fold(0_usize, |n, p| n.checked_add(*p)) != Some(extent) {
        return Err(broken(format!("parts {parts:?} of an axis of extent {extent}")));
    }
    let (mut starts, mut size) = (vec![0; shape.rank()], shape.to_vec());
    let mut outputs = Outputs::new();
    for part in parts {
        size[axis] = part;
        outputs.push(a.slice(&x, &starts, &size)?);
        starts[axis] += part;
    }
    Ok(outputs)
}

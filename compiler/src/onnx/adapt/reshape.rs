//! Operators that only change a shape: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout, DepthToSpace,
//! SpaceToDepth.

use super::{Adapt, AdaptError, Outputs, axes, axis, broken, sizes, unsupported};
use crate::onnx::importer::Operand;

/// An extent of 0 copies the operand's extent unless `allowzero` is set; one extent of -1 is computed.
pub(super) fn reshape(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let from = a.shape(&x);
    let to = a.constant_ints(1, "shape")?.ok_or_else(|| broken("operand shape is missing"))?;
    let zero = a.flag("allowzero", false)?;
    let mut shape = Vec::with_capacity(to.len());
    for (axis, extent) in to.iter().enumerate() {
        shape.push(match extent {
            0 if !zero => {
                *from.get(axis).ok_or_else(|| broken(format!("shape {to:?} copies an axis that {from} lacks")))?
            }
            -1 => 1,
            n => sizes(&[*n], "shape")?[0],
        });
    }
    let open: Vec<usize> = (0..to.len()).filter(|i| to[*i] == -1).collect();
    if let [open] = open[..] {
        let known = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).filter(|n| *n > 0);
        let known = known.ok_or_else(|| broken(format!("shape {to:?} leaves an extent open")))?;
        shape[open] = from.elements() / known;
    } else if open.len() > 1 {
        return Err(broken(format!("shape {to:?} leaves two extents open")));
    }
    Ok(vec![a.reshape(&x, &shape)?])
}

pub(super) fn flatten(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    // The axis may equal the rank.
    let at = a.int("axis")?.unwrap_or(1);
    let at = if at == shape.rank() as i64 { shape.rank() } else { axis(at, shape.rank())? };
    Ok(vec![a.reshape(&x, &[shape[..at].iter().product(), shape[at..].iter().product()])?])
}

/// The node's axes: an attribute before opset 13, an operand since.
fn axes_of(a: &mut Adapt<'_, '_>) -> Result<Option<Vec<i64>>, AdaptError> {
    match a.ints("axes")? {
        Some(list) => Ok(Some(list)),
        None => a.constant_ints(1, "axes"),
    }
}

pub(super) fn squeeze(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    let dropped = match axes_of(a)? {
        Some(list) => axes(&list, shape.rank())?,
        None => (0..shape.rank()).filter(|i| shape[*i] == 1).collect(),
    };
    if let Some(axis) = dropped.iter().find(|i| shape[**i] != 1) {
        return Err(broken(format!("axis {axis} of {shape} cannot be dropped")));
    }
    let kept: Vec<usize> = (0..shape.rank()).filter(|i| !dropped.contains(i)).map(|i| shape[i]).collect();
    Ok(vec![a.reshape(&x, &kept)?])
}

pub(super) fn unsqueeze(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let list = axes_of(a)?.ok_or_else(|| broken("axes are missing"))?;
    let mut shape = a.shape(&x).to_vec();
    for axis in axes(&list, shape.len() + list.len())? {
        shape.insert(axis, 1);
    }
    Ok(vec![a.reshape(&x, &shape)?])
}

pub(super) fn identity(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    Ok(vec![a.operand(0)?])
}

pub(super) fn dropout(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    a.refuse_output(1, "mask")?;
    if a.constant_ints(2, "training_mode")?.is_some_and(|v| v != [0]) {
        return Err(unsupported("training_mode is set"));
    }
    Ok(vec![a.operand(0)?])
}

/// The extents N, C, H, W of operand 0, and the node's block size.
fn blocks(a: &Adapt<'_, '_>) -> Result<(Operand, [usize; 4], usize), AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    let block = a.int("blocksize")?.ok_or_else(|| broken("attribute blocksize is missing"))?;
    let block = sizes(&[block], "blocksize")?[0];
    match shape[..] {
        [n, c, h, w] if block > 0 => Ok((x, [n, c, h, w], block)),
        _ => Err(broken(format!("an operand of shape {shape} and blocks of {block}"))),
    }
}

pub(super) fn depth_to_space(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, [n, c, h, w], b) = blocks(a)?;
    let (depth, perm) = match a.string("mode")?.as_deref() {
        None | Some("DCR") => ([b, b, c / (b * b)], [0, 3, 4, 1, 5, 2]),
        Some("CRD") => ([c / (b * b), b, b], [0, 1, 4, 2, 5, 3]),
        Some(other) => return Err(broken(format!("mode is {other:?}"))),
    };
    let cut = a.reshape(&x, &[n, depth[0], depth[1], depth[2], h, w])?;
    let moved = a.transpose(&cut, &perm)?;
    Ok(vec![a.reshape(&moved, &[n, c / (b * b), h * b, w * b])?])
}

pub(super) fn space_to_depth(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, [n, c, h, w], b) = blocks(a)?;
    let perm = match a.string("mode")?.as_deref() {
        None | Some("DCR") => [0, 3, 5, 1, 2, 4],
        Some("CRD") => [0, 1, 3, 5, 2, 4],
        Some(other) => return Err(broken(format!("mode is {other:?}"))),
    };
    let cut = a.reshape(&x, &[n, c, h / b, b, w / b, b])?;
    let moved = a.transpose(&cut, &perm)?;
    Ok(vec![a.reshape(&moved, &[n, c * b * b, h / b, w / b])?])
}

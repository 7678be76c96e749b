//! Resize and Upsample.

use eightfold_ir::attr::{Floats, Sizes};
use eightfold_ir::op::resize::{Coordinates, NearestMode, Resize, ResizeMode};

use super::{Adapt, AdaptError, Outputs, axis, broken, sizes, unsupported};
use crate::onnx::importer::Operand;

/// The maximum extent of a resized axis.
const MOST_EXTENT: f32 = (1 << 24) as f32;

pub(super) fn upsample(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let scales = if a.version < 9 { a.floats("scales")? } else { a.constant_floats(1, "scales")? };
    let scales = scales.ok_or_else(|| broken("scales are missing"))?;
    simple(a, &x, scales)
}

pub(super) fn resize(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    if a.version < 11 {
        let scales = a.constant_floats(1, "scales")?.ok_or_else(|| broken("scales are missing"))?;
        return simple(a, &x, scales);
    }
    let shape = a.shape(&x);
    let rank = shape.rank();
    let at = match a.ints("axes")? {
        Some(list) => list.iter().map(|i| axis(*i, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    let mode = match a.string("mode")?.as_deref() {
        None | Some("nearest") => ResizeMode::Nearest,
        Some("linear") => ResizeMode::Linear,
        Some(other) => return Err(unsupported(format!("mode is {other:?}"))),
    };
    let coordinates = match a.string("coordinate_transformation_mode")?.as_deref() {
        None | Some("half_pixel") => Coordinates::HalfPixel,
        Some("pytorch_half_pixel") => Coordinates::PytorchHalfPixel,
        Some("asymmetric") => Coordinates::Asymmetric,
        Some("align_corners") => Coordinates::AlignCorners,
        Some(other) => return Err(unsupported(format!("coordinate_transformation_mode is {other:?}"))),
    };
    let nearest = match a.string("nearest_mode")?.as_deref() {
        None | Some("round_prefer_floor") => NearestMode::RoundPreferFloor,
        Some("round_prefer_ceil") => NearestMode::RoundPreferCeil,
        Some("floor") => NearestMode::Floor,
        Some("ceil") => NearestMode::Ceil,
        Some(other) => return Err(broken(format!("nearest_mode is {other:?}"))),
    };
    // It has no effect if scales are given.
    a.ignore("keep_aspect_ratio_policy");
    // An empty list means that the operand is omitted.
    let given_scales = a.constant_floats(2, "scales")?.filter(|s| !s.is_empty());
    let given_sizes = a.constant_ints(3, "sizes")?.filter(|s| !s.is_empty());
    let mut to = shape.to_vec();
    let mut scales = vec![1.0; rank];
    match (given_scales, given_sizes) {
        (Some(list), None) if list.len() == at.len() => {
            for (axis, scale) in at.iter().zip(list) {
                (scales[*axis], to[*axis]) = (scale, scaled(shape[*axis], scale)?);
            }
        }
        (None, Some(list)) if list.len() == at.len() => {
            let asked = sizes(&list, "sizes")?.into_iter().zip(at.iter().map(|i| shape[*i])).collect::<Vec<_>>();
            let common = common_ratio(a, &asked)?;
            for (axis, own) in at.iter().zip(asked) {
                let (ratio, size) = match common {
                    Some(ratio) => (ratio, stretched(own.1, ratio)?),
                    None => (own, own.0),
                };
                (scales[*axis], to[*axis]) = (ratio.0 as f32 / ratio.1 as f32, size);
            }
        }
        _ => return Err(broken(format!("expected scales or sizes of {} entries", at.len()))),
    }
    if a.flag("antialias", false)? && mode == ResizeMode::Linear && (0..rank).any(|i| to[i] < shape[i]) {
        return Err(unsupported("antialias"));
    }
    emit(a, &x, Resize { mode, coordinates, nearest, sizes: Sizes::from_vec(to), scales: Floats::from_vec(scales) })
}

/// A requested extent and the current one.
type Ratio = (usize, usize);

/// The common ratio that `keep_aspect_ratio_policy` requires for all of `asked`; `None` if each axis has its own.
fn common_ratio(a: &Adapt<'_, '_>, asked: &[Ratio]) -> Result<Option<Ratio>, AdaptError> {
    let product = |a: usize, b: usize| a as u128 * b as u128;
    let by_size = |x: &&Ratio, y: &&Ratio| product(x.0, y.1).cmp(&product(y.0, x.1));
    match a.string("keep_aspect_ratio_policy")?.as_deref() {
        None | Some("stretch") => Ok(None),
        Some("not_larger") => Ok(asked.iter().min_by(by_size).copied()),
        Some("not_smaller") => Ok(asked.iter().max_by(by_size).copied()),
        Some(other) => Err(broken(format!("keep_aspect_ratio_policy is {other:?}"))),
    }
}

/// An extent times a ratio, rounded half up.
fn stretched(extent: usize, (to, from): Ratio) -> Result<usize, AdaptError> {
    let doubled = 2 * extent as u128 * to as u128;
    match (doubled + from as u128).checked_div(2 * from as u128) {
        Some(size) if (1..=MOST_EXTENT as u128).contains(&size) => Ok(size as usize),
        _ => Err(broken(format!("an axis of extent {extent} scaled by {to}/{from}"))),
    }
}

fn scaled(extent: usize, scale: f32) -> Result<usize, AdaptError> {
    let size = (extent as f32 * scale).floor();
    match size {
        s if (1.0..=MOST_EXTENT).contains(&s) => Ok(s as usize),
        _ => Err(broken(format!("an axis of extent {extent} scaled by {scale}"))),
    }
}

/// The form before opset 11: a coordinate is divided by the scale. Nearest takes the element below, or the one above if
/// the tensor shrinks.
fn simple(a: &mut Adapt<'_, '_>, x: &Operand, scales: Vec<f32>) -> Result<Outputs, AdaptError> {
    let shape = a.shape(x);
    if scales.len() != shape.rank() {
        return Err(broken(format!("{} scales for a tensor of shape {shape}", scales.len())));
    }
    let mode = match a.string("mode")?.as_deref() {
        None | Some("nearest") => ResizeMode::Nearest,
        Some("linear" | "bilinear") => ResizeMode::Linear,
        Some(other) => return Err(unsupported(format!("mode is {other:?}"))),
    };
    let nearest = match (scales.iter().any(|s| *s > 1.0), scales.iter().any(|s| *s < 1.0)) {
        (true, true) if mode == ResizeMode::Nearest => {
            return Err(unsupported("axes that grow beside axes that shrink"));
        }
        (_, false) => NearestMode::Floor,
        (_, true) => NearestMode::Ceil,
    };
    let to = shape.iter().zip(&scales).map(|(n, s)| scaled(*n, *s)).collect::<Result<Vec<_>, _>>()?;
    let (sizes, scales) = (Sizes::from_vec(to), Floats::from_vec(scales));
    emit(a, x, Resize { mode, coordinates: Coordinates::Asymmetric, nearest, sizes, scales })
}

fn emit(a: &mut Adapt<'_, '_>, x: &Operand, mut op: Resize) -> Result<Outputs, AdaptError> {
    let shape = a.shape(x);
    if op.sizes.contains(&0) || shape.contains(&0) {
        return Err(broken(format!("a tensor of shape {shape} resized to {:?}", op.sizes)));
    }
    let quotient = |i: usize| op.sizes[i] as f32 / shape[i] as f32;
    if (0..shape.rank()).all(|i| op.scales[i] == quotient(i)) {
        op.scales.clear();
    }
    if *op.sizes == *shape && op.scales.iter().all(|s| *s == 1.0) {
        return Ok(vec![x.clone()]);
    }
    Ok(vec![a.emit(op, &[x])?])
}

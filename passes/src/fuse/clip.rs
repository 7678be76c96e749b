//! `clip`: merges consecutive clips.
//!
//! ## What it does
//! ReLU, clip, and max and min with a constant limit numbers to a range. Two in a row become one clip with the narrower
//! range. The same holds for integers. A clip right after a quantization narrows the quantization's range.
//!
//! ## Before, after
//! `conv(%x) |> relu |> clip(_, -1.0, 6.0)` becomes `conv(%x) |> clip(_, 0.0, 6.0)`.
//!
//! ## Exact?
//! Yes.
//!
//! ## Known problems
//! Clips whose bounds are tensors stay.

use eightfold_ir::{Arg, Epilogue, Function, Graph, Node, Rewrite, Step};

use super::{Fusion, Miss, contradicts, require};
use crate::channel::literal;

pub(super) const CLIP: Fusion =
    Fusion { name: "clip", summary: "neighbouring clips become one", not_with: &[], try_at };

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let steps = &root.epilogue.steps;
    let merged = |at: usize| merge(graph, &steps[at], &steps[at + 1]).map(|step| (at, step));
    let (at, step) = (0..steps.len().saturating_sub(1)).find_map(merged).ok_or(Miss::Unrelated)?;
    let mut epilogue = steps.clone();
    epilogue.splice(at..at + 2, [step]);
    let mut rewrite = Rewrite::new(graph, CLIP.name);
    let quant = graph.ty(root.output()).quant;
    require(!contradicts(graph, &epilogue, quant))?;
    let y = rewrite.node(graph, &[root.id], root.op.clone(), &root.operands, Epilogue::new(epilogue), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// Returns one step that does the same as both steps.
fn merge(graph: &Graph, first: &Step, second: &Step) -> Option<Step> {
    if let (Some(a), Some(b)) = (float_bounds(graph, first), float_bounds(graph, second)) {
        return Some(clip(a.0.clamp(b.0, b.1), a.1.clamp(b.0, b.1)));
    }
    let (low, high) = integer_bounds(second)?;
    match first {
        Step::Quantize { dtype, scale, zero_point, min, max } => {
            let cut = |x: &i32| i64::from(*x).clamp(low, high) as i32;
            Some(Step::Quantize { dtype: *dtype, scale: *scale, zero_point: *zero_point, min: cut(min), max: cut(max) })
        }
        _ => {
            let (l, h) = integer_bounds(first)?;
            let args = [Arg::Current, Arg::Int(l.clamp(low, high)), Arg::Int(h.clamp(low, high))];
            Some(Step::Apply(Function::Clip, args.into_iter().collect()))
        }
    }
}

/// Returns the lower and upper bound of a step that clips floats.
pub(crate) fn float_bounds(graph: &Graph, step: &Step) -> Option<(f32, f32)> {
    let Step::Apply(function, args) = step else { return None };
    let bounds = match (function, args.as_slice()) {
        (Function::Relu, _) => (0.0, f32::INFINITY),
        (Function::Clip, [Arg::Current, low, high]) => (literal(graph, low)?, literal(graph, high)?),
        (Function::Max, [Arg::Current, low] | [low, Arg::Current]) => (literal(graph, low)?, f32::INFINITY),
        (Function::Min, [Arg::Current, high] | [high, Arg::Current]) => (f32::NEG_INFINITY, literal(graph, high)?),
        _ => return None,
    };
    (bounds.0 <= bounds.1).then_some(bounds)
}

fn integer_bounds(step: &Step) -> Option<(i64, i64)> {
    match step {
        Step::Apply(Function::Clip, args) => match args.as_slice() {
            [Arg::Current, Arg::Int(low), Arg::Int(high)] if low <= high => Some((*low, *high)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the simplest step that clips to these bounds.
pub(crate) fn clip(low: f32, high: f32) -> Step {
    match (low, high) {
        (0.0, f32::INFINITY) if low.is_sign_positive() => Step::unary(Function::Relu),
        (low, f32::INFINITY) => Step::binary(Function::Max, Arg::Float(low)),
        (f32::NEG_INFINITY, high) => Step::binary(Function::Min, Arg::Float(high)),
        _ => Step::clip(low, high),
    }
}

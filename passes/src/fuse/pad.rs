//! `pad`: turns a constant border into the padding of the convolution or pool that reads it.
//!
//! ## What it does
//! Adds a constant `pad` on spatial axes to the pads of the window operator after it. A convolution requires a border
//! of zeros. A sum or average pool requires a border of zeros, which the average must count. A max pool requires that
//! no border element is greater than any element of the tensor.
//!
//! ## Before, after
//! `%p = pad(%x) {before=[0, 0, 1, 1], after=[0, 0, 1, 1]}`, `conv(%p, %w)` become `conv(%x, %w) {pads=[1, 1, 1, 1]}`.
//!
//! ## Exact?
//! Yes.
//!
//! ## Known problems
//! For a max pool, the least element of the tensor is known only from the last step of its producer, or from its
//! quantization.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::OpDef as _;
use eightfold_ir::op::conv::{Conv, canonical};
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::{Graph, Node, Op, QuantParams, Rewrite, Step, ValueId};

use super::clip::float_bounds;
use super::{Fusion, Miss, require};

pub(super) const PAD_WINDOW: Fusion = Fusion {
    name: "pad",
    summary: "a border of zeros becomes the padding of the convolution or pool that reads it",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Conv(_) | Op::Pool(_)))?;
    let producer = root.operand(0).and_then(|x| graph.producer(x)).ok_or(Miss::Unrelated)?;
    let Op::Pad(pad) = &producer.op else { return Err(Miss::Unrelated) };
    let x = producer.operand(0).ok_or(Miss::Unrelated)?;
    require(pad.mode == PadMode::Constant && producer.epilogue.is_empty())?;
    let border = |reason: &str| Miss::Near(format!("the border {} {reason}", producer.origin));
    if pad.before[..2].iter().chain(&pad.after[..2]).any(|p| *p != 0) {
        return Err(border("is not only on spatial axes"));
    }
    let op: Op = match &root.op {
        Op::Conv(conv) if pad.value == 0.0 => Conv { pads: united(&conv.pads, pad), ..conv.clone() }.into(),
        Op::Conv(_) => return Err(border("is not zero")),
        Op::Pool(pool) => pooled(graph, pool, pad, x).map_err(border)?.into(),
        _ => return Err(Miss::Unrelated),
    };
    let mut operands = root.operands.clone();
    operands[0] = Some(x);
    let mut rewrite = Rewrite::new(graph, PAD_WINDOW.name);
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &[producer.id, root.id], op, &operands, root.epilogue.clone(), quant)?;
    // With `ceil`, a pool counts windows that begin in a border of its own differently from windows in a `pad`.
    if rewrite.ty(graph, y).shape != graph.ty(root.output()).shape {
        return Err(border("changes the number of windows"));
    }
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// Returns the sum of a window operator's pads and the border before it.
fn united(pads: &Sizes, pad: &Pad) -> Sizes {
    let border = pad.before[2..].iter().chain(&pad.after[2..]);
    let sums: Vec<usize> = border.enumerate().map(|(i, p)| p + pads.get(i).copied().unwrap_or(0)).collect();
    canonical(&sums, 0)
}

fn pooled(graph: &Graph, pool: &Pool, pad: &Pad, x: ValueId) -> Result<Pool, &'static str> {
    let own_border = pool.pads.iter().any(|p| *p != 0);
    let count_include_pad = match pool.kind {
        PoolKind::Max if pad.value <= least(graph, x) => pool.count_include_pad,
        PoolKind::Max => return Err("may be greater than the elements inside"),
        _ if pad.value != 0.0 => return Err("is not zero"),
        PoolKind::Sum => pool.count_include_pad,
        PoolKind::Average if own_border && !pool.count_include_pad => {
            return Err("counts in the average, but the pool's own padding does not");
        }
        PoolKind::Average => true,
    };
    let padded = Pool { pads: united(&pool.pads, pad), count_include_pad, ..pool.clone() };
    match padded.fill_value(&graph.ty(x).shape) {
        Some(_) => Err("contains whole windows"),
        None => Ok(padded),
    }
}

/// Returns a lower bound of the elements of `x`.
fn least(graph: &Graph, x: ValueId) -> f32 {
    let last = graph.producer(x).and_then(|p| p.epilogue.steps.last());
    let stored = |q: &QuantParams| {
        let (scale, zero_point) = q.as_per_tensor()?;
        let min = match last {
            Some(Step::Quantize { min, .. }) => *min,
            _ => q.storage.integer_range()?.0 as i32,
        };
        Some((min - zero_point) as f32 * scale)
    };
    let least = match (graph.quant(x), last, graph.producer(x).map(|p| &p.op)) {
        (Some(q), ..) => stored(q),
        (None, Some(step), _) => float_bounds(graph, step).map(|(low, _)| low),
        (None, None, Some(Op::DequantizeLinear(_))) => {
            graph.producer(x).and_then(|p| p.operand(0)).and_then(|q| graph.quant(q)).and_then(stored)
        }
        _ => None,
    };
    least.unwrap_or(f32::NEG_INFINITY)
}

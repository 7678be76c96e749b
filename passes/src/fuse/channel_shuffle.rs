//! `channel_shuffle`: replaces reshape, transpose and reshape by a gather, if together they only reorder channels.
//!
//! ## What it does
//! ShuffleNet interleaves groups of channels: it splits axis 1, transposes the two halves and merges them again. A
//! gather with constant indices does the same at the same rank, so the tensor can keep any memory layout.
//!
//! ## Before, after
//! `reshape` to `1x2x58x28x28`, `transpose` by `[0, 2, 1, 3, 4]`, `reshape` to `1x116x28x28` become `gather(%x, [0, 58,
//! 1, 59, ...]) {axis=1}`.
//!
//! ## Exact?
//! Yes.
//!
//! ## Known problems
//! None.

use eightfold_ir::op::EvalOperand;
use eightfold_ir::op::gather::Gather;
use eightfold_ir::{Array, DType, Data, Graph, Node, Op, Rewrite, Shape, Tensor};

use super::{Fusion, Miss, require};

pub(super) const CHANNEL_SHUFFLE: Fusion = Fusion {
    name: "channel_shuffle",
    summary: "reshape, transpose and reshape that only reorder channels become a gather",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let above = |node: &Node| {
        let producer = node.operand(0).and_then(|x| graph.producer(x));
        producer.filter(|p| p.epilogue.is_empty()).ok_or(Miss::Unrelated)
    };
    require(matches!(root.op, Op::Reshape(_)))?;
    let transpose = above(root)?;
    require(matches!(transpose.op, Op::Transpose(_)))?;
    let split = above(transpose)?;
    require(matches!(split.op, Op::Reshape(_)))?;
    let x = split.operand(0).ok_or(Miss::Unrelated)?;
    let shape = &graph.ty(x).shape;
    let merged = &graph.infer(&root.op, &root.operands, &Default::default())?[0].shape;
    require(shape.rank() >= 3 && merged == shape)?;
    let channels = reordering(shape, &[split, transpose, root]).ok_or(Miss::Unrelated)?;
    let mut rewrite = Rewrite::new(graph, CHANNEL_SHUFFLE.name);
    let indices = rewrite.constant("", Tensor::int(DType::I64, &[channels.len()], &channels), None);
    let from = [split.id, transpose.id, root.id];
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &from, Gather { axis: 1 }, &[Some(x), Some(indices)], root.epilogue.clone(), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// If the moves only reorder the channels of a tensor of `shape`, returns the source channel of each result channel.
fn reordering(shape: &Shape, moves: &[&Node]) -> Option<Vec<i64>> {
    let numbers = (0..shape.elements() as i64).collect();
    let mut array = Array { dtype: DType::I64, shape: shape.clone(), data: Data::Int(numbers) };
    for node in moves {
        array = node.op.eval(&[Some(EvalOperand { array: &array, quant: None })]).swap_remove(0);
    }
    let plane: usize = shape[2..].iter().product();
    let moved = array.ints();
    let first = |c: usize| moved.get(c * plane).map(|at| at / plane as i64);
    let channels: Vec<i64> = (0..shape[1]).map(first).collect::<Option<_>>()?;
    let expected = |i: usize| {
        let (n, c, p) = (i / plane / shape[1], i / plane % shape[1], i % plane);
        ((n * shape[1]) as i64 + channels[c]) * plane as i64 + p as i64
    };
    moved.iter().enumerate().all(|(i, at)| *at == expected(i)).then_some(channels)
}

//! `one_hot`: replaces the matrix product of one-hot rows by a lookup of rows of the matrix.
//!
//! ## What it does
//! A row of zeros with a one at position `i` times a matrix is row `i` of the matrix. The product becomes a gather,
//! which is exact in every precision and reads only the numbers that it returns. An index outside the matrix makes a
//! row of zeros. So the table gets a last row of zeros, and the index is clipped to `-1..=rows`: both ends select that
//! row.
//!
//! ## Before, after
//! `%h = map(%i) |> equal [0, 1, 2] |> cast f32`, `%y = matmul(%h, %w, %b)` become `%r = map(%i) |> clip -1 3`, `%y =
//! gather(%rows, %r)`, where `%rows` is `%w` followed by a row of zeros, plus `%b`.
//!
//! ## Exact?
//! No: a zero in the result can have the other sign.
//!
//! ## Known problems
//! Only one form matches: rows of ones and zeros from a comparison with all indices in order.

use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::{Arg, DType, Epilogue, Function, Graph, Node, Op, Rewrite, Step, Tensor, ValueId};

use super::{Fusion, Miss, require};
use crate::channel::f32_constant;

pub(super) const ONE_HOT: Fusion = Fusion {
    name: "one_hot",
    summary: "a matrix product of one-hot rows becomes a gather of rows",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::MatMul(_)))?;
    let x = root.operand(0).ok_or(Miss::Unrelated)?;
    let weights = root.operand(1).and_then(|w| f32_constant(graph, w)).ok_or(Miss::Unrelated)?;
    let &[rows, columns] = &weights.shape()[..] else { return Err(Miss::Unrelated) };
    let hot = graph.producer(x).ok_or(Miss::Unrelated)?;
    let indices = indices(graph, hot, rows).ok_or(Miss::Unrelated)?;
    let bias = match root.operand(2) {
        Some(bias) => f32_constant(graph, bias).and_then(Tensor::to_f32s).ok_or(Miss::Unrelated)?,
        None => vec![0.0; columns],
    };
    let numbers = weights.to_f32s().ok_or(Miss::Unrelated)?;
    // The product multiplies infinities and NaN by zero, which makes every row NaN.
    require(numbers.iter().all(|w| w.is_finite()) && bias.len() == columns)?;
    let zeros = vec![0.0; columns];
    let table: Vec<f32> = numbers.iter().chain(&zeros).zip(bias.iter().cycle()).map(|(w, b)| w + b).collect();

    let mut rewrite = Rewrite::new(graph, ONE_HOT.name);
    let table = rewrite.constant("", Tensor::f32(&[rows + 1, columns], &table), None);
    let outside =
        Step::Apply(Function::Clip, [Arg::Current, Arg::Int(-1), Arg::Int(rows as i64)].into_iter().collect());
    let row = rewrite.node(graph, &[hot.id], Map {}, &[Some(indices)], Epilogue::new(vec![outside]), None)?;
    let shape = &graph.ty(x).shape;
    let extents = Reshape { shape: shape[..shape.rank() - 1].iter().copied().collect() };
    let flat = rewrite.node(graph, &[hot.id], extents, &[Some(row)], Epilogue::none(), None)?;
    let quant = graph.ty(root.output()).quant;
    let from = [hot.id, root.id];
    let y = rewrite.node(graph, &from, Gather { axis: 0 }, &[Some(table), Some(flat)], root.epilogue.clone(), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// If the node turns indices into one-hot f32 rows of this length, returns the indices. Their last axis has extent 1.
fn indices(graph: &Graph, node: &Node, rows: usize) -> Option<ValueId> {
    let [Step::Apply(Function::Equal, args), Step::Cast(DType::F32)] = node.epilogue.steps.as_slice() else {
        return None;
    };
    let [Arg::Current, Arg::Value(compared)] = args.as_slice() else { return None };
    let indices = node.operand(0).filter(|_| matches!(node.op, Op::Map(_)))?;
    let (of, yielded) = (graph.ty(indices), &graph.ty(node.output()).shape);
    let axis = yielded.rank().checked_sub(1)?;
    let fits = of.shape.rank() == yielded.rank() && of.shape[..axis] == yielded[..axis] && of.shape[axis] == 1;
    let tensor = graph.constant(*compared)?;
    let along = tensor.shape().elements() == rows && tensor.shape().last() == Some(&rows) && yielded[axis] == rows;
    let counts = tensor.to_ints()?.iter().copied().eq(0..rows as i64);
    (fits && along && counts && matches!(of.dtype, DType::I32 | DType::I64)).then_some(indices)
}

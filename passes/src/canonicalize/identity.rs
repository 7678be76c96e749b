//! Operators that do nothing.

use eightfold_ir::op::map::Map;
use eightfold_ir::{Def, Graph, InferError, Node, Op, Rewrite};

use super::{NAME, replaced};

/// An operator that moves elements, but on this operand none, becomes a `map` with its steps.
pub(super) fn moves_nothing(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let Some(x) = node.operand(0) else { return Ok(None) };
    let shape = &graph.ty(x).shape;
    let nothing = match &node.op {
        Op::Reshape(op) => op.shape[..] == shape[..],
        Op::Expand(op) => op.shape[..] == shape[..],
        Op::Transpose(op) => op.perm.iter().copied().eq(0..shape.rank()),
        Op::Slice(op) => op.sizes[..] == shape[..] && (0..shape.rank()).all(|a| op.step(a) == 1),
        Op::Pad(op) => op.before.iter().chain(&op.after).all(|p| *p == 0),
        Op::Resize(op) => op.sizes[..] == shape[..] && op.scales.iter().all(|s| *s == 1.0),
        Op::Concat(_) => node.operands.len() == 1,
        Op::Reduce(op) => op.axes.is_empty() && graph.ty(x).dtype.is_float() && is_idempotent(op.kind),
        _ => false,
    };
    if nothing { replaced(graph, node, Map {}, &[Some(x)], node.epilogue.clone()) } else { Ok(None) }
}

/// Whether the result of folding one element is that element.
fn is_idempotent(kind: eightfold_ir::op::reduce::ReduceKind) -> bool {
    use eightfold_ir::op::reduce::ReduceKind::{Max, Mean, Min, Prod, Sum};
    matches!(kind, Max | Mean | Min | Prod | Sum)
}

/// A `map` without steps goes away, unless an output would then show an input, a constant, or another output.
pub(super) fn empty_map(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let (Op::Map(_), Some(x)) = (&node.op, node.operand(0)) else { return Ok(None) };
    let shown = |id| graph.is_output(id);
    let copies = shown(node.output()) && (shown(x) || !matches!(graph.value(x).def, Def::Node { .. }));
    if !node.epilogue.is_empty() || copies || graph.ty(x).quant != graph.ty(node.output()).quant {
        return Ok(None);
    }
    let mut rewrite = Rewrite::new(graph, NAME);
    rewrite.replace(node.output(), x);
    Ok(Some(rewrite))
}

/// Quantization of what has been dequantized with the same parameters yields the integers that were there:
/// `(q - z) * s / s` is off by less than half a step.
pub(super) fn requantizes_nothing(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let producer = node.operand(0).and_then(|x| graph.producer(x));
    let (Op::QuantizeLinear(_), Some(producer)) = (&node.op, producer) else { return Ok(None) };
    let (Op::DequantizeLinear(_), Some(x)) = (&producer.op, producer.operand(0)) else { return Ok(None) };
    let same = graph.ty(x).quant == graph.ty(node.output()).quant && graph.ty(x).dtype.bits() <= 16;
    if !same || !node.epilogue.is_empty() || !producer.epilogue.is_empty() {
        return Ok(None);
    }
    replaced(graph, node, Map {}, &[Some(x)], node.epilogue.clone())
}

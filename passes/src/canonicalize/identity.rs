//! Removes operators that do nothing.

use eightfold_ir::op::map::Map;
use eightfold_ir::{Def, Graph, InferError, Node, Op, Rewrite};

use super::{NAME, replaced};

/// Replaces an operator that moves elements by a `map` with its steps, if it moves no element of this operand.
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

/// Returns true if reducing a single element yields this element.
fn is_idempotent(kind: eightfold_ir::op::reduce::ReduceKind) -> bool {
    use eightfold_ir::op::reduce::ReduceKind::{Max, Mean, Min, Prod, Sum};
    matches!(kind, Max | Mean | Min | Prod | Sum)
}

/// Removes a `map` without steps, unless an output would then be an input, a constant, or another output.
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

/// Removes a `quantize_linear` after a `dequantize_linear` with the same parameters. The integers are unchanged,
/// because the rounding error of `(q - z) * s / s` is less than half a step.
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

//! Brings nodes into the canonical form that later passes expect.
//!
//! Exact: yes, bit for bit. Each rule looks at one node; [`RULES`] lists the rules:
//! - an operator that does nothing becomes a `map`, and a `map` without steps is removed;
//! - steps that change no bit are removed (`mul 1`, `sub 0`, `clip` to infinity; but not `add 0`, which turns -0 into
//!   0);
//! - constants whose elements are all equal become literals;
//! - a `map` operand that is constant or broadcast becomes an argument of a step, so that the operand has the shape of
//!   the result;
//! - a pool over the whole image becomes a `reduce`;
//! - weights of a matrix product lose batch axes of extent 1;
//! - a `quantize_linear` after a `dequantize_linear` with equal parameters is removed.

mod identity;
mod steps;

use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Epilogue, Graph, InferError, Node, Op, Rewrite, Shape};

use crate::fuse::exchanged;
use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct Canonicalize;

/// A rule returns the rewrite of a node that is not yet in canonical form.
type Rule = fn(&Graph, &Node) -> Result<Option<Rewrite>, InferError>;

const RULES: &[Rule] = &[
    identity::moves_nothing,
    identity::empty_map,
    identity::requantizes_nothing,
    steps::neutral,
    steps::literals,
    operand_is_largest,
    global_pool,
    batchless_weights,
];

pub(crate) const NAME: &str = "canonicalize";

impl Pass for Canonicalize {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "bring nodes into the canonical form that later passes expect"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        for id in graph.topo() {
            let mut at = id;
            while let Some(node) = graph.get(at) {
                let fitting = RULES.iter().map(|rule| rule(graph, node)).find(|r| !matches!(r, Ok(None)));
                let Some(result) = fitting else { break };
                let result = result.map_err(|source| {
                    let origin = node.origin.to_string();
                    PassError::Infer { pass: NAME, origin, source: source.into() }
                })?;
                let Some(added) = result.and_then(|rewrite| cx.apply(graph, rewrite)) else { return Ok(()) };
                let Some(last) = added.last() else { break };
                at = *last;
            }
        }
        Ok(())
    }
}

/// Returns a rewrite that replaces `node` by a node with another operator, other operands or other steps.
pub(crate) fn replaced(
    graph: &Graph,
    node: &Node,
    op: impl Into<Op>,
    operands: &[Option<eightfold_ir::ValueId>],
    steps: Epilogue,
) -> Result<Option<Rewrite>, InferError> {
    let mut rewrite = Rewrite::new(graph, NAME);
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], op, operands, steps, quant)?;
    rewrite.replace(node.output(), y);
    Ok(Some(rewrite))
}

/// If the operand of a `map` is constant or broadcast and the argument of its first step is neither, exchanges the two.
fn operand_is_largest(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let (Op::Map(_), Some(x), Some((second, steps))) = (&node.op, node.operand(0), exchanged(node)) else {
        return Ok(None);
    };
    let result = &graph.ty(node.output()).shape;
    let full = |id| graph.ty(id).shape == *result;
    let constant = |id| graph.constant(id).is_some();
    let better = full(second) && (!full(x) || constant(x) && !constant(second));
    if !better {
        return Ok(None);
    }
    replaced(graph, node, node.op.clone(), &[Some(second)], Epilogue::new(steps))
}

/// Replaces a pool whose only window is the whole image by a `reduce`.
fn global_pool(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let (Op::Pool(pool), Some(x)) = (&node.op, node.operand(0)) else { return Ok(None) };
    let shape = &graph.ty(x).shape;
    let kind = match pool.kind {
        PoolKind::Max => ReduceKind::Max,
        PoolKind::Average => ReduceKind::Mean,
        PoolKind::Sum => ReduceKind::Sum,
    };
    let whole = pool.kernel[..] == shape[2..] && pool.pads.iter().all(|p| *p == 0);
    // `reduce` has no mean of integers, and a sum of integers without quantization differs from a pool.
    let float = graph.ty(x).dtype.is_float();
    let plain = match pool.kind {
        PoolKind::Max => true,
        PoolKind::Average => float,
        PoolKind::Sum => float || graph.quant(x).is_some(),
    };
    if !whole || !plain {
        return Ok(None);
    }
    let reduce = Reduce { kind, axes: (2..shape.rank()).collect(), keepdims: true };
    replaced(graph, node, reduce, &node.operands, node.epilogue.clone())
}

/// Removes batch axes of extent 1 from the constant weights of a matrix product; the other operand has them anyway.
fn batchless_weights(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let (Op::MatMul(_), Some(x), Some(w)) = (&node.op, node.operand(0), node.operand(1)) else { return Ok(None) };
    let Some(tensor) = graph.constant(w) else { return Ok(None) };
    let (shape, x_rank) = (tensor.shape(), graph.ty(x).shape.rank());
    let batch = shape.rank() - 2;
    if batch == 0 || shape.rank() > x_rank || shape[..batch].iter().any(|d| *d != 1) || graph.quant(w).is_some() {
        return Ok(None);
    }
    let mut rewrite = Rewrite::new(graph, NAME);
    let flat = rewrite.constant("", tensor.reshaped(Shape::new(&shape[batch..])), None);
    let mut operands = node.operands.clone();
    operands[1] = Some(flat);
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], node.op.clone(), &operands, node.epilogue.clone(), quant)?;
    rewrite.replace(node.output(), y);
    Ok(Some(rewrite))
}

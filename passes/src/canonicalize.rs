//! Brings nodes into the one form that later passes expect.
//!
//! Exact: yes, bit for bit. Each rule looks at one node; [`RULES`] lists them:
//! - what does nothing becomes a `map`, and a `map` without steps goes away;
//! - steps that change no bit go away (`mul 1`, `sub 0`, `clip` to infinity; not `add 0`, which turns -0 into 0);
//! - constants that are one number throughout become literals;
//! - a constant operand of a `map`, or one that is broadcast, becomes an argument, so that the operand has the shape of
//!   the result;
//! - a pool over the whole image becomes a `reduce`;
//! - weights of a matrix product lose batch axes of extent 1;
//! - quantization of what has just been dequantized with equal parameters goes away.

mod identity;
mod steps;

use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Epilogue, Graph, InferError, Node, Op, Rewrite, Shape};

use crate::fuse::exchanged;
use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct Canonicalize;

/// A rule: the rewrite of a node that is not in its form yet.
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
        "bring nodes into the one form that later passes expect"
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

/// `node` with another operator, operands or steps, in its place.
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

/// Exchanges operand and first argument of a `map` whose operand is constant or broadcast and whose argument is not.
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

/// A pool whose one window is the whole image.
fn global_pool(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let (Op::Pool(pool), Some(x)) = (&node.op, node.operand(0)) else { return Ok(None) };
    let shape = &graph.ty(x).shape;
    let kind = match pool.kind {
        PoolKind::Max => ReduceKind::Max,
        PoolKind::Average => ReduceKind::Mean,
        PoolKind::Sum => ReduceKind::Sum,
    };
    let whole = pool.kernel[..] == shape[2..] && pool.pads.iter().all(|p| *p == 0);
    // The sum of integers without quantization is another operator in `reduce`, which has no mean of integers.
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

/// Constant weights of a matrix product with batch axes of extent 1, which the operand has anyway.
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

//! `epilogue`: moves a pointwise operator into the epilogue of its producer.
//!
//! ## What it does
//! Appends the steps of a `map` to the steps of its operand's producer, if nothing else reads the operand. Every
//! elementwise operator is a `map`, so this fuses convolution + activation, matrix product + activation, pool +
//! activation, and chains of elementwise operators, in float and in int8.
//!
//! ## Before, after
//! `%c = conv(%x, %w)`, `%y = map(%c) |> relu` become `%y = conv(%x, %w) |> relu`.
//!
//! ## Exact?
//! Yes: the same steps run on the same numbers.
//!
//! ## Known problems
//! Operators that only move elements take no steps, so that they can become changes of address later; a `map` after one
//! stays. A step that broadcasts to a larger shape stays: the producer's steps would run once for each copy. A node has
//! at most [`MOST_STEPS`] steps: a rewrite copies all steps of a node, so an unlimited chain would take quadratic time,
//! and its kernel would be very long.

use eightfold_ir::{DType, Epilogue, Graph, Node, Op, QuantRule, Rewrite};

use super::{Fusion, Miss, contradicts, require};

/// The greatest number of steps that fusion gives to a node. A network layer has only a fraction of it.
pub(super) const MOST_STEPS: usize = 32;

pub(super) const EPILOGUE: Fusion = Fusion {
    name: "epilogue",
    summary: "a pointwise operator becomes steps of the node before it",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_)))?;
    let producer = root.operand(0).and_then(|x| graph.producer(x)).ok_or(Miss::Unrelated)?;
    accepts(graph, producer, root)?;
    join(graph, producer, root, &root.epilogue)
}

/// Returns a rewrite that appends `steps` to `producer` and replaces `root`, the only reader of the producer's output.
pub(super) fn join(graph: &Graph, producer: &Node, root: &Node, steps: &Epilogue) -> Result<Rewrite, Miss> {
    let mut rewrite = Rewrite::new(graph, EPILOGUE.name);
    let epilogue = producer.epilogue.then(steps);
    let quant = graph.ty(root.output()).quant;
    require(!contradicts(graph, &epilogue.steps, quant))?;
    // An operator that only moves or selects integers keeps the quantization of its operand.
    let moves = producer.op.quant_rule() == QuantRule::SameScale && epilogue.is_empty();
    require(!moves || graph.ty(producer.output()).quant == quant)?;
    let from = [producer.id, root.id];
    let fused = rewrite.node(graph, &from, producer.op.clone(), &producer.operands, epilogue, quant)?;
    rewrite.replace(root.output(), fused);
    Ok(rewrite)
}

/// Checks that `producer` can take the steps of `root`, which reads its output.
///
/// The fusion cannot create a cycle: nothing else that `root` reads depends on an output that only `root` reads.
pub(super) fn accepts(graph: &Graph, producer: &Node, root: &Node) -> Result<(), Miss> {
    require(computes(producer) && producer.outputs.len() == 1)?;
    let (before, after) = (graph.ty(producer.output()), graph.ty(root.output()));
    require(before.shape == after.shape)?;
    require(after.dtype != DType::Bool || matches!(producer.op, Op::Map(_)))?;
    let steps = producer.epilogue.steps.len() + root.epilogue.steps.len();
    match graph.use_count(producer.output()) {
        1 if steps > MOST_STEPS => {
            let name = producer.op.name();
            Err(Miss::Near(format!(
                "{name} {} would have {steps} steps, at most {MOST_STEPS} are fused",
                producer.origin
            )))
        }
        1 => Ok(()),
        n if sums_products(producer) => {
            Err(Miss::Near(format!("the result of {} {} is read {n} times", producer.op.name(), producer.origin)))
        }
        _ => Err(Miss::Unrelated),
    }
}

/// Returns true if the node is a convolution or matrix product, which is the best place for steps.
pub(super) fn sums_products(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Affine { .. })
}

/// Returns true if the operator computes its elements. Operators that only move elements do not.
fn computes(node: &Node) -> bool {
    match node.op.quant_rule() {
        // Selecting the maximum is a computation, though it keeps the scale.
        QuantRule::SameScale => matches!(node.op, Op::Pool(_) | Op::Reduce(_)),
        // Later passes look for `quantize_linear` and `dequantize_linear`, so these stay separate.
        _ => !matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)),
    }
}

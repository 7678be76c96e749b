//! `epilogue`: a pointwise operator becomes steps of the node before it.
//!
//! ## What it does
//! Moves the steps of a `map` behind those of its operand's producer, if nobody else reads that operand. With every
//! elementwise operator being a `map`, this is convolution + activation, matrix product + activation, pool + activation,
//! and the chaining of elementwise operators, on floats and on integers.
//!
//! ## Before, after
//! `%c = conv(%x, %w)`, `%y = map(%c) |> relu` become `%y = conv(%x, %w) |> relu`.
//!
//! ## Exact?
//! Yes: the same steps run on the same numbers.
//!
//! ## Known problems
//! Operators that only move elements take no steps, so that they can become address changes later; a `map` after one
//! of them stays. A step that widens the shape stays too: it would run the producer's steps once for each copy. A node
//! takes at most [`MOST_STEPS`]: every rewrite of a node copies its steps, so that a chain without a bound would take
//! time by the square of its length, and its kernel would be one long stretch of code.

use eightfold_ir::{DType, Epilogue, Graph, Node, Op, QuantRule, Rewrite};

use super::{Fusion, Miss, contradicts, require};

/// The most steps that fusion gives to one node: several times what one layer of a network has.
pub(super) const MOST_STEPS: usize = 32;

pub(super) const EPILOGUE: Fusion =
    Fusion { name: "epilogue", summary: "a pointwise operator becomes steps of the node before it", try_at };

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_)))?;
    let producer = root.operand(0).and_then(|x| graph.producer(x)).ok_or(Miss::Unrelated)?;
    accepts(graph, producer, root)?;
    join(graph, producer, root, &root.epilogue)
}

/// `producer` with `steps` behind its own, in the place of `root`, whose one use of the producer's output this ends.
pub(super) fn join(graph: &Graph, producer: &Node, root: &Node, steps: &Epilogue) -> Result<Rewrite, Miss> {
    let mut rewrite = Rewrite::new(graph, EPILOGUE.name);
    let epilogue = producer.epilogue.then(steps);
    let quant = graph.ty(root.output()).quant;
    require(!contradicts(graph, &epilogue.steps, quant))?;
    // What only moves or chooses integers leaves them those of its operand.
    let moves = producer.op.quant_rule() == QuantRule::SameScale && epilogue.is_empty();
    require(!moves || graph.ty(producer.output()).quant == quant)?;
    let from = [producer.id, root.id];
    let fused = rewrite.node(graph, &from, producer.op.clone(), &producer.operands, epilogue, quant)?;
    rewrite.replace(root.output(), fused);
    Ok(rewrite)
}

/// Whether `producer` can take over the steps of `root`, which reads its output.
///
/// No cycle can come of it: what else `root` reads cannot depend on an output that `root` alone reads.
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

/// Whether the node is a sum of products, the best place for steps.
pub(super) fn sums_products(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Affine { .. })
}

/// Whether an operator computes its elements rather than only moving them.
fn computes(node: &Node) -> bool {
    match node.op.quant_rule() {
        // Choosing the greatest is a computation, though it keeps the scale.
        QuantRule::SameScale => matches!(node.op, Op::Pool(_) | Op::Reduce(_)),
        // `quantize_linear` and `dequantize_linear` are what later passes look for.
        _ => !matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)),
    }
}

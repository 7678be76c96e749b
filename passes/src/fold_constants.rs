//! Evaluates nodes that read only constants.
//!
//! Exact: yes, because the evaluator defines the meaning of a node. Two kinds of nodes stay: nodes whose result is much
//! larger than their operands (an `expand` of one number to a feature map), and, for int8, `dequantize_linear` of the
//! constant weights of convolutions and matrix products, because the 8-bit kernels multiply the stored integers
//! ([`stored_weights`]).

mod stored_weights;

use eightfold_ir::eval::eval_node;
use eightfold_ir::{Array, Graph, Node, Op, Precision, Rewrite, Tensor, ValueId};

use crate::pass::{Pass, PassContext, PassError, RemarkKind};

/// A run of the pass creates at most `ROOM + ROOM_PER_BYTE * bytes of the graph's constants` bytes. Without a limit, a
/// chain of nodes that each double their operand would fill the memory.
const ROOM: usize = 64 << 20;
const ROOM_PER_BYTE: usize = 8;
/// The number of elements that a run may read, which limits its time to some seconds.
const MOST_READS: u64 = 1 << 32;

/// The number of bytes by which a result may exceed its operands.
const GROWTH_LIMIT: usize = 64 << 10;

/// See the module's documentation.
pub(crate) struct FoldConstants;

impl Pass for FoldConstants {
    fn name(&self) -> &'static str {
        "fold_constants"
    }

    fn summary(&self) -> &'static str {
        "evaluate nodes that read only constants"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let constants: usize = graph.values().filter_map(|(id, _)| graph.constant(id)).map(|t| t.bytes().len()).sum();
        let mut budget = Budget { bytes: ROOM + constants.saturating_mul(ROOM_PER_BYTE), reads: MOST_READS };
        for id in graph.topo() {
            let Some(node) = graph.get(id) else { continue };
            if keeps_integers(cx.options.precision)
                && let Some(moved) = stored_weights::moved(graph, node)
                && budget.spend(graph, node)
            {
                let node = node.clone();
                let rewrite = stored_weights::rewrite(graph, &node, moved);
                if cx.apply(graph, rewrite).is_none() {
                    break;
                }
                continue;
            }
            if !is_constant(graph, node) || grows(graph, node) || holds_weights(graph, node, cx.options.precision) {
                continue;
            }
            if !budget.spend(graph, node) {
                let message = "reads only constants, but is too expensive to compute at compile time";
                cx.remark(RemarkKind::Missed, &node.origin.clone(), message);
                continue;
            }
            let rewrite = fold(graph, node).map_err(|source| PassError::Eval {
                pass: self.name(),
                origin: node.origin.to_string(),
                source,
            })?;
            if cx.apply(graph, rewrite).is_none() {
                break;
            }
        }
        Ok(())
    }
}

/// The remaining budget of a run.
struct Budget {
    bytes: usize,
    reads: u64,
}

impl Budget {
    /// Returns true if the node fits the budget, and subtracts its cost.
    fn spend(&mut self, graph: &Graph, node: &Node) -> bool {
        let bytes: usize = node.outputs.iter().map(|id| graph.ty(*id).byte_size()).fold(0, usize::saturating_add);
        let left = (self.bytes.checked_sub(bytes), self.reads.checked_sub(graph.reads_of(node)));
        let (Some(bytes), Some(reads)) = left else { return false };
        *self = Budget { bytes, reads };
        true
    }
}

/// Returns a rewrite that replaces the node's outputs by constants.
pub(crate) fn fold(graph: &Graph, node: &Node) -> Result<Rewrite, eightfold_ir::EvalError> {
    let arrays: Vec<(ValueId, Array)> =
        node.uses().filter_map(|id| graph.constant(id).map(|t| (id, Array::from(t)))).collect();
    let find = |id: ValueId| &arrays.iter().find(|(v, _)| *v == id).expect("every operand is a constant").1;
    let outputs = eval_node(graph, node, &find)?;
    let mut rewrite = Rewrite::new(graph, "fold_constants");
    for (old, array) in node.outputs.iter().zip(&outputs) {
        let new = rewrite.constant("", Tensor::from(array), graph.ty(*old).quant);
        rewrite.replace(*old, new);
    }
    Ok(rewrite)
}

/// Returns true if the node reads only constants.
pub(crate) fn is_constant(graph: &Graph, node: &Node) -> bool {
    node.uses().all(|id| graph.constant(id).is_some())
}

fn grows(graph: &Graph, node: &Node) -> bool {
    let size = |id: ValueId| graph.ty(id).byte_size();
    let before: usize = node.uses().map(size).sum();
    let after: usize = node.outputs.iter().map(|id| size(*id)).sum();
    // A `dequantize_linear` always makes four bytes of one.
    after > before.saturating_mul(4).max(before + GROWTH_LIMIT)
}

/// Returns true if products can have weights that are stored as integers.
fn keeps_integers(precision: Precision) -> bool {
    matches!(precision, Precision::Int8 | Precision::WeightInt8)
}

/// Returns true if the node dequantizes constant weights whose integers a convolution or matrix product will read.
fn holds_weights(graph: &Graph, node: &Node, precision: Precision) -> bool {
    keeps_integers(precision)
        && matches!(node.op, Op::DequantizeLinear(_))
        && stored_weights::feeds_sums(graph, node.output())
}

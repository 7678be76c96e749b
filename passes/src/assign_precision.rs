//! Decides for each node on floats whether it becomes one on 8-bit integers, or one that reads bf16, and says why where it
//! does not.
//!
//! Before: `%y = conv(%x, %w) |> relu`. After: `%y = conv(%x, %w) in int8 |> relu`, or `in bf16`, or `in f32`.
//!
//! Where bf16 is asked for, sums of products with constant weights get it. Else a node becomes one on integers if int8 is
//! asked for, its rule has an integer form, and what it reads carries quantization ([`obstacles`]). Nodes that are decided
//! already keep their precision, and no more is said about them: `insert_qdq` has, or whoever wrote the graph.
//! `lower_qdq` and `lower_bf16` go by the decision.
//!
//! Exact: yes, nothing but the decision changes.

use eightfold_ir::{DType, Graph, Node, NodeId, Origin, Precision, QuantRule};

use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::{KEPT, is_on_floats, obstacles, tensor_name};

/// See the module's documentation.
pub(crate) struct AssignPrecision;

impl Pass for AssignPrecision {
    fn name(&self) -> &'static str {
        "assign_precision"
    }

    fn summary(&self) -> &'static str {
        "decide for each node between f32, bf16 and int8, with reasons"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        match cx.options.precision {
            Precision::F32 => undecided(graph).into_iter().for_each(|id| graph.set_precision(id, Some(Precision::F32))),
            Precision::Bf16 => assign_bf16(graph, cx),
            Precision::Int8 => {
                for (id, obstacle) in obstacles(graph, cx.options) {
                    let precision = if obstacle.is_none() { Precision::Int8 } else { Precision::F32 };
                    graph.set_precision(id, Some(precision));
                    if let Some(reason) = obstacle {
                        cx.remark(RemarkKind::Float, &graph.node(id).origin, reason);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The nodes on floats that have no precision yet.
fn undecided(graph: &Graph) -> Vec<NodeId> {
    let undecided = |node: &&Node| node.precision.is_none() && is_on_floats(graph, node);
    graph.nodes().filter(undecided).map(|node| node.id).collect()
}

/// The target's feature that sums products of bf16.
const BF16_FEATURE: &str = "avx512bf16";

/// Gives bf16 to all undecided nodes that can read it.
fn assign_bf16(graph: &mut Graph, cx: &mut PassContext<'_>) {
    for id in undecided(graph) {
        let node = graph.node(id);
        let kept = cx.options.keeps_float(&node.origin).then(|| KEPT.to_owned());
        let obstacle = kept.or_else(|| bf16_obstacle(graph, node));
        let precision = if obstacle.is_none() { Precision::Bf16 } else { Precision::F32 };
        if let Some(reason) = obstacle.filter(|_| node.op.quant_rule() != QuantRule::SameScale) {
            cx.remark(RemarkKind::Float, &node.origin, reason);
        }
        graph.set_precision(id, Some(precision));
    }
    let some = graph.nodes().any(|node| node.precision == Some(Precision::Bf16));
    if some && !cx.options.target_features.iter().any(|feature| feature == BF16_FEATURE) {
        let message =
            "the target has no products of bf16: f32 instructions compute them, to the same meaning but not faster";
        cx.remark(RemarkKind::Missed, &Origin::default(), message);
    }
}

/// Why the node cannot read bf16.
fn bf16_obstacle(graph: &Graph, node: &Node) -> Option<String> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else {
        return Some(format!("{} is no sum of products, which alone read bf16", node.op.name()));
    };
    let (x, w) = (node.operand(0)?, node.operand(weight)?);
    if graph.constant(w).is_none() {
        return Some(format!("its weights {} are not constant", tensor_name(graph, w)));
    }
    let other = [x, w].into_iter().find(|id| graph.ty(*id).dtype != DType::F32)?;
    Some(format!("its operand {} is {}, expected f32", tensor_name(graph, other), graph.ty(other).dtype))
}

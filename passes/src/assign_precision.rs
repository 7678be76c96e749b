//! Decides the precision of each float node: int8, bf16 or f32. Leaves a remark with the reason for each node that
//! stays in f32.
//!
//! Before: `%y = conv(%x, %w) |> relu`.
//! After: `%y = conv(%x, %w) in int8 |> relu`, or `in bf16`, or `in f32`.
//!
//! If bf16 is requested, convolutions and matrix products with constant weights get it. If int8 is requested, a node
//! gets it if its rule has an integer form and its operands are quantized ([`obstacles`]). Nodes that already have a
//! precision, from `insert_qdq` or from the graph's text, keep it without a remark. `lower_qdq` and `lower_bf16` carry
//! out the decision.
//!
//! Exact: yes, only the decision is recorded.

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
        "choose f32, bf16 or int8 for each node"
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

/// Returns the float nodes without a precision.
fn undecided(graph: &Graph) -> Vec<NodeId> {
    let undecided = |node: &&Node| node.precision.is_none() && is_on_floats(graph, node);
    graph.nodes().filter(undecided).map(|node| node.id).collect()
}

/// The CPU feature for products of bf16.
const BF16_FEATURE: &str = "avx512bf16";

/// Sets the precision of all undecided nodes that can read bf16 to bf16.
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
        let message = "the target has no bf16 products: f32 instructions compute them, without a gain in speed";
        cx.remark(RemarkKind::Missed, &Origin::default(), message);
    }
}

/// Returns why the node cannot read bf16.
fn bf16_obstacle(graph: &Graph, node: &Node) -> Option<String> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else {
        return Some(format!("{} is not a convolution or matrix product, and only these read bf16", node.op.name()));
    };
    let (x, w) = (node.operand(0)?, node.operand(weight)?);
    if graph.constant(w).is_none() {
        return Some(format!("its weights {} are not constant", tensor_name(graph, w)));
    }
    let other = [x, w].into_iter().find(|id| graph.ty(*id).dtype != DType::F32)?;
    Some(format!("its operand {} is {}, expected f32", tensor_name(graph, other), graph.ty(other).dtype))
}

//! Decides the precision of each float node: int8, bf16 or f32. Leaves a remark with the reason for each node that
//! stays in f32.
//!
//! Before: `%y = conv(%x, %w) |> relu`.
//! After: `%y = conv(%x, %w) in int8 |> relu`, or `in bf16`, or `in f32`.
//!
//! If bf16 is requested, convolutions and matrix products with constant weights get it. If weight-int8 is requested, these
//! get it but for depthwise convolutions. If int8 is requested, a node
//! gets it if its rule has an integer form and its operands are quantized ([`obstacles`]). Nodes that already have a
//! precision, from `insert_qdq` or from the graph's text, keep it without a remark. `lower_qdq`,
//! `lower_bf16` and `quantize_weights` carry out the decision.
//!
//! Exact: yes, only the decision is recorded.

use eightfold_ir::{DType, Graph, Node, NodeId, Origin, Precision, QuantRule, Tensor, ValueId};

use crate::channel::f32_constant;
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::{KEPT, dequantized, is_on_floats, obstacles, tensor_name};
use crate::quantize_weights::{scale_axis, unfit};

/// See the module's documentation.
pub(crate) struct AssignPrecision;

impl Pass for AssignPrecision {
    fn name(&self) -> &'static str {
        "assign_precision"
    }

    fn summary(&self) -> &'static str {
        "choose f32, bf16, int8 or weight-int8 for each node"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        match cx.options.precision {
            Precision::F32 => undecided(graph).into_iter().for_each(|id| graph.set_precision(id, Some(Precision::F32))),
            Precision::Bf16 => {
                assign_products(graph, cx, Precision::Bf16, bf16_obstacle);
                note_missing_bf16(graph, cx);
            }
            Precision::WeightInt8 => assign_products(graph, cx, Precision::WeightInt8, weight_int8_obstacle),
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

/// Returns why a node cannot have a precision; `None` if it can.
type Obstacle = fn(&Graph, &Node) -> Option<String>;

/// Sets the precision of all undecided nodes: the requested one if there is no obstacle, else f32.
fn assign_products(graph: &mut Graph, cx: &mut PassContext<'_>, wanted: Precision, obstacle: Obstacle) {
    for id in undecided(graph) {
        let node = graph.node(id);
        let kept = cx.options.keeps_float(&node.origin).then(|| KEPT.to_owned());
        let obstacle = kept.or_else(|| obstacle(graph, node));
        let precision = if obstacle.is_none() { wanted } else { Precision::F32 };
        if let Some(reason) = obstacle.filter(|_| node.op.quant_rule() != QuantRule::SameScale) {
            cx.remark(RemarkKind::Float, &node.origin, reason);
        }
        graph.set_precision(id, Some(precision));
    }
}

/// Leaves a remark if nodes compute on bf16 and the target has no instruction for it.
fn note_missing_bf16(graph: &Graph, cx: &mut PassContext<'_>) {
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

/// Returns why the node cannot have weights of 8 bits.
fn weight_int8_obstacle(graph: &Graph, node: &Node) -> Option<String> {
    let QuantRule::Affine { weight, axis, .. } = node.op.quant_rule() else {
        return Some(format!("{} has no weights", node.op.name()));
    };
    if graph.stored_weights(node).is_some() {
        return None;
    }
    let (x, w) = (node.operand(0)?, node.operand(weight)?);
    if graph.ty(x).dtype != DType::F32 {
        return Some(format!("its operand {} is {}, expected f32", tensor_name(graph, x), graph.ty(x).dtype));
    }
    if is_depthwise(graph, node, x, w) {
        return Some("it is depthwise, and its few weights are read once for each pixel".to_owned());
    }
    let matrix = graph.ty(w).shape.len() - 2;
    if axis > 0 && graph.ty(w).shape[..matrix].iter().any(|extent| *extent != 1) {
        return Some("its weights are a batch of matrices, which has no kernel with weights of 8 bits".to_owned());
    }
    let reason = match (dequantized(graph, w), f32_constant(graph, w)) {
        (Some((stored, _)), _) if graph.constant(stored).is_none() => "are not constant",
        (Some((_, quant)), _) => unfit(quant, scale_axis(node, graph.ty(w).shape.len()))?,
        (None, None) => "are not constant",
        (None, Some(tensor)) => unfit_numbers(tensor, scale_axis(node, tensor.shape().len()))?,
    };
    Some(format!("its weights {} {reason}", tensor_name(graph, w)))
}

/// Returns why these weights have no scale of 8 bits. `axis` is that of the output channels.
fn unfit_numbers(tensor: &Tensor, axis: usize) -> Option<&'static str> {
    let (elements, shape) = (tensor.elements(), tensor.shape());
    let (stride, channels) = (shape.strides()[axis], shape[axis]);
    let mut greatest = vec![0.0_f32; channels];
    for index in 0..shape.elements() {
        let number = elements.float(index).abs();
        if !number.is_finite() {
            return Some("contain numbers that are not finite");
        }
        let channel = &mut greatest[index / stride % channels];
        *channel = channel.max(number);
    }
    // The scale would be subnormal.
    let is_small = |greatest: &f32| *greatest > 0.0 && *greatest < 127.0 * f32::MIN_POSITIVE;
    greatest.iter().any(is_small).then_some("contain a channel of numbers too small for a scale")
}

/// Returns true if each output of a convolution reads one of several channels.
fn is_depthwise(graph: &Graph, node: &Node, x: ValueId, w: ValueId) -> bool {
    let QuantRule::Affine { axis: 0, .. } = node.op.quant_rule() else { return false };
    graph.ty(w).shape.get(1) == Some(&1) && graph.ty(x).shape.get(1).is_some_and(|channels| *channels > 1)
}

//! Decides for each node on floats whether it becomes one on 8-bit integers, or one that reads bf16, and says why where it
//! does not.
//!
//! Where bf16 is asked for, sums of products with constant weights get it. Else a node becomes one on integers if int8 is
//! asked for, its rule has an integer form, and what it reads carries quantization: comes from
//! `dequantize_linear`, or from an operator that moved such numbers. The decision stands in the context, for
//! `lower_qdq` and `lower_bf16`; the graph does not change.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::{DType, Graph, Node, NodeId, Op, Origin, QuantRule, ValueId};

use crate::insert_qdq::{KEPT, Normalization, dequantized, not_eight_bits, tensor_name};
use crate::pass::{Pass, PassContext, PassError, Precision, RemarkKind};

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
        cx.precision.clear();
        if cx.options.precision == Precision::Bf16 {
            assign_bf16(graph, cx);
            return Ok(());
        }
        // Values that are quantized numbers, moved but not yet quantized again.
        let mut moved = BTreeSet::new();
        // Where the nodes of each normalization came from: one remark tells about all.
        let mut normalizations: BTreeMap<usize, Origin> = BTreeMap::new();
        let member =
            |(index, n): (usize, &Normalization)| n.members.iter().map(move |id| (*id, index)).collect::<Vec<_>>();
        let members: BTreeMap<NodeId, usize> = cx.normalizations.iter().enumerate().flat_map(member).collect();
        for node in graph.nodes().filter(|node| is_on_floats(graph, node)) {
            if cx.options.precision == Precision::F32 {
                cx.precision.insert(node.id, Precision::F32);
                continue;
            }
            let kept = cx.options.keeps_float(&node.origin).then(|| KEPT.to_owned());
            match kept.or_else(|| obstacle(graph, node, &moved)) {
                None => {
                    cx.precision.insert(node.id, Precision::Int8);
                    if node.op.quant_rule() == QuantRule::SameScale && node.epilogue.is_empty() {
                        moved.insert(node.output());
                    }
                }
                Some(reason) => {
                    cx.precision.insert(node.id, Precision::F32);
                    let reason = cx.float_reasons.get(&node.id).cloned().unwrap_or(reason);
                    match members.get(&node.id).copied().filter(|_| reason != KEPT) {
                        Some(index) => normalizations.entry(index).or_default().unite(&node.origin),
                        None => cx.remark(RemarkKind::Float, &node.origin, reason),
                    }
                }
            }
        }
        for (index, origin) in normalizations {
            let reason = cx.normalizations[index].reason.clone();
            cx.remark(RemarkKind::Float, &origin, reason);
        }
        Ok(())
    }
}

/// The target's feature that sums products of bf16.
const BF16_FEATURE: &str = "avx512bf16";

/// Gives bf16 to all nodes that can read it.
fn assign_bf16(graph: &Graph, cx: &mut PassContext<'_>) {
    for node in graph.nodes().filter(|node| is_on_floats(graph, node)) {
        let kept = cx.options.keeps_float(&node.origin).then(|| KEPT.to_owned());
        let obstacle = kept.or_else(|| bf16_obstacle(graph, node));
        cx.precision.insert(node.id, if obstacle.is_none() { Precision::Bf16 } else { Precision::F32 });
        if let Some(reason) = obstacle.filter(|_| node.op.quant_rule() != QuantRule::SameScale) {
            cx.remark(RemarkKind::Float, &node.origin, reason);
        }
    }
    let some = cx.precision.values().any(|precision| *precision == Precision::Bf16);
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

/// Whether the node computes on floats, quantization and dequantization themselves aside.
fn is_on_floats(graph: &Graph, node: &Node) -> bool {
    let float = |id: ValueId| graph.ty(id).dtype.is_float();
    !matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_))
        && (node.uses().any(float) || node.outputs.iter().any(|id| float(*id)))
}

/// Why the node cannot compute on integers.
fn obstacle(graph: &Graph, node: &Node, moved: &BTreeSet<ValueId>) -> Option<String> {
    let rule = node.op.quant_rule();
    if rule == QuantRule::FloatOnly {
        return Some(format!("{} has no integer form", node.op.name()));
    }
    let unquantized = |id: ValueId| match dequantized(graph, id) {
        _ if moved.contains(&id) => None,
        None => Some(format!("its operand {} carries no quantization", tensor_name(graph, id))),
        Some(_) => not_eight_bits(graph, id),
    };
    let (weight, bias) = match rule {
        QuantRule::Affine { weight, bias, .. } => (Some(weight), Some(bias)),
        _ => (None, None),
    };
    for (index, operand) in node.operands.iter().enumerate() {
        let Some(id) = *operand else { continue };
        let float = graph.ty(id).dtype.is_float();
        if Some(index) == weight {
            if dequantized(graph, id).is_none() {
                return Some(format!("its weights {} carry no quantization", tensor_name(graph, id)));
            }
        } else if Some(index) != bias
            && float
            && let Some(reason) = unquantized(id)
        {
            return Some(reason);
        }
    }
    // Constants in steps stay floats; what varies with the input is to be integers.
    let varying = |id: &ValueId| graph.ty(*id).dtype.is_float() && graph.constant(*id).is_none();
    node.epilogue.values().filter(varying).find_map(unquantized)
}

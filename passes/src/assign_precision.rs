//! Decides for each node on floats whether it becomes one on 8-bit integers, and says why where it does not.
//!
//! A node does if int8 is asked for, its rule has an integer form, and what it reads carries quantization: comes from
//! `dequantize_linear`, or from an operator that moved such numbers. The decision stands in the context, for
//! `lower_qdq`; the graph does not change.

use std::collections::BTreeSet;

use eightfold_ir::{DType, Graph, Node, Op, QuantParams, QuantRule, ValueId};

use crate::insert_qdq::{dequantized, tensor_name};
use crate::pass::{Pass, PassContext, PassError, Precision, RemarkKind};

/// See the module's documentation.
pub(crate) struct AssignPrecision;

impl Pass for AssignPrecision {
    fn name(&self) -> &'static str {
        "assign_precision"
    }

    fn summary(&self) -> &'static str {
        "decide for each node between f32 and int8, with reasons"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        cx.precision.clear();
        // Values that are quantized numbers, moved but not yet quantized again.
        let mut moved = BTreeSet::new();
        for node in graph.nodes().filter(|node| is_on_floats(graph, node)) {
            if cx.options.precision == Precision::F32 {
                cx.precision.insert(node.id, Precision::F32);
                continue;
            }
            match obstacle(graph, node, &moved) {
                None => {
                    cx.precision.insert(node.id, Precision::Int8);
                    if node.op.quant_rule() == QuantRule::SameScale && node.epilogue.is_empty() {
                        moved.insert(node.output());
                    }
                }
                Some(reason) => {
                    cx.precision.insert(node.id, Precision::F32);
                    let reason = cx.float_reasons.get(&node.id).cloned().unwrap_or(reason);
                    cx.remark(RemarkKind::Float, &node.origin, reason);
                }
            }
        }
        Ok(())
    }
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
    let eight_bits = |q: &QuantParams| q.is_per_tensor() && matches!(q.storage, DType::I8 | DType::U8);
    let unquantized = |id: ValueId| match dequantized(graph, id) {
        _ if moved.contains(&id) => None,
        None => Some(format!("its operand {} carries no quantization", tensor_name(graph, id))),
        Some((_, q)) if eight_bits(q) => None,
        Some((_, q)) => Some(format!(
            "its operand {} is quantized to {}{}, expected u8 or i8 per tensor",
            tensor_name(graph, id),
            q.storage,
            if q.is_per_tensor() { "" } else { " per channel" }
        )),
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

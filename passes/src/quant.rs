//! Questions about quantization that several passes ask: which values are quantized, and which nodes can compute on
//! integers.

use std::collections::BTreeSet;

use eightfold_ir::{DType, Graph, Node, NodeId, Op, Precision, QuantParams, QuantRule, ValueId};

use crate::pass::PassOptions;

/// The reason for a node that the user keeps in float.
pub(crate) const KEPT: &str = "kept in float by --keep-float";

/// Returns the name of a tensor in a calibration table: its own name, or one built from the origin of its producer.
#[must_use]
pub fn tensor_name(graph: &Graph, id: ValueId) -> String {
    if let Some(name) = &graph.value(id).name {
        return name.to_string();
    }
    let producer = graph.producer(id);
    let origin = producer.map(|p| p.origin.names().collect::<Vec<_>>().join("+")).unwrap_or_default();
    format!("{origin}#{}", producer.map_or(0, |p| p.order))
}

/// Returns the integers that `dequantize_linear` reads to produce `value`, and their quantization parameters.
pub(crate) fn dequantized(graph: &Graph, value: ValueId) -> Option<(ValueId, &QuantParams)> {
    let producer = graph.producer(value)?;
    let stored = producer.operand(0).filter(|_| matches!(producer.op, Op::DequantizeLinear(_)))?;
    if !producer.epilogue.is_empty() {
        return None;
    }
    graph.quant(stored).map(|params| (stored, params))
}

/// Returns true if the model itself quantizes the value.
pub(crate) fn is_carried(graph: &Graph, value: ValueId) -> bool {
    graph.users(value).into_iter().any(|user| matches!(graph.node(user).op, Op::QuantizeLinear(_)))
}

/// Returns why an operator on 8-bit integers cannot read the integers behind a value; `None` if it can, or if there are
/// none.
pub(crate) fn not_eight_bits(graph: &Graph, value: ValueId) -> Option<String> {
    let (_, params) = dequantized(graph, value)?;
    let per_tensor = params.is_per_tensor();
    (!(per_tensor && matches!(params.storage, DType::I8 | DType::U8))).then(|| {
        format!(
            "its operand {} is quantized to {}{}, expected u8 or i8 per tensor",
            tensor_name(graph, value),
            params.storage,
            if per_tensor { "" } else { " per channel" }
        )
    })
}

/// Returns true if a pass must decide the node's precision, which holds for nodes that compute on floats.
/// `quantize_linear` and `dequantize_linear` convert between precisions. Convolutions and matrix products of integers
/// are already integer nodes, whatever their steps compute.
pub(crate) fn is_on_floats(graph: &Graph, node: &Node) -> bool {
    let float = |id: ValueId| graph.ty(id).dtype.is_float();
    let converts = matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_));
    let sums_integers = matches!(node.op.quant_rule(), QuantRule::Affine { .. }) && !node.operand(0).is_some_and(float);
    !converts && !sums_integers && (node.uses().any(float) || node.outputs.iter().any(|id| float(*id)))
}

/// For each undecided float node, in topological order: why it cannot compute on integers, or `None` if it can.
///
/// A node can if the user does not keep it in float, its rule has an integer form, and its operands are quantized: they
/// come from `dequantize_linear`, or from an operator that only moves quantized numbers.
pub(crate) fn obstacles(graph: &Graph, options: &PassOptions) -> Vec<(NodeId, Option<String>)> {
    // Quantized numbers that an operator moved and that no `quantize_linear` has read yet.
    let mut moved = BTreeSet::new();
    let mut found = Vec::new();
    for node in graph.nodes().filter(|node| is_on_floats(graph, node)) {
        let obstacle = match node.precision {
            None => {
                let kept = options.keeps_float(&node.origin).then(|| KEPT.to_owned());
                let obstacle = kept.or_else(|| obstacle(graph, node, &moved));
                found.push((node.id, obstacle.clone()));
                obstacle
            }
            Some(Precision::Int8) => None,
            Some(_) => continue,
        };
        if obstacle.is_none() && node.op.quant_rule() == QuantRule::SameScale && node.epilogue.is_empty() {
            moved.insert(node.output());
        }
    }
    found
}

/// Returns why the node cannot compute on integers.
fn obstacle(graph: &Graph, node: &Node, moved: &BTreeSet<ValueId>) -> Option<String> {
    let rule = node.op.quant_rule();
    if rule == QuantRule::FloatOnly {
        return Some(format!("{} has no integer form", node.op.name()));
    }
    let unquantized = |id: ValueId| match dequantized(graph, id) {
        _ if moved.contains(&id) => None,
        None => Some(format!("its operand {} is not quantized", tensor_name(graph, id))),
        Some(_) => not_eight_bits(graph, id),
    };
    let (weight, bias) = match rule {
        QuantRule::Affine { weight, bias, .. } => (Some(weight), Some(bias)),
        _ => (None, None),
    };
    let float = |id: ValueId| graph.ty(id).dtype.is_float();
    for (index, operand) in node.operands.iter().enumerate() {
        let Some(id) = *operand else { continue };
        if Some(index) == weight {
            if dequantized(graph, id).is_none() {
                return Some(format!("its weights {} are not quantized", tensor_name(graph, id)));
            }
        } else if Some(index) != bias
            && float(id)
            && let Some(reason) = unquantized(id)
        {
            return Some(reason);
        }
    }
    // Constants in steps stay float. Tensors that depend on the input must be quantized.
    let varying = |id: &ValueId| float(*id) && graph.constant(*id).is_none();
    if let Some(reason) = node.epilogue.values().filter(varying).find_map(unquantized) {
        return Some(reason);
    }
    match rule {
        QuantRule::SameScale if !node.operands.iter().flatten().any(|id| float(*id)) => {
            Some("it reads no floats".to_owned())
        }
        QuantRule::SameScale => None,
        _ if node.operand(0).is_some_and(float) => None,
        _ => Some("operand 0 is not dequantized from 8 bits per tensor".to_owned()),
    }
}

//! The share of a graph's arithmetic in int8, in bf16 or with weights of 8 bits, and why the rest is in float.

use std::fmt;

use eightfold_ir::{DType, Graph, Node, Op, Origin, Precision, QuantRule, Step};
use eightfold_passes::{Remark, RemarkKind};
use serde::{Deserialize, Serialize};

use super::nodes;

/// The arithmetic of a graph by precision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Multiply-accumulates on 8-bit integers.
    pub int8_macs: u64,
    /// Multiply-accumulates on bf16.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bf16_macs: u64,
    /// Multiply-accumulates of f32 with weights of 8 bits.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_int8_macs: u64,
    /// The nodes that compute in float, in order.
    pub float_nodes: Vec<FloatNode>,
}

/// A node that computes in float.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatNode {
    /// The ONNX nodes that it came from, separated by commas.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Why it is not in the requested precision.
    pub reason: String,
}

/// A line for each group of nodes with the same operator and reason.
#[must_use]
pub fn grouped(float_nodes: &[FloatNode]) -> Vec<String> {
    let line = |group: &Vec<&FloatNode>| {
        let names: Vec<&str> = group.iter().map(|node| node.node.as_str()).collect();
        let macs: u64 = group.iter().map(|node| node.macs).sum();
        format!("{} at {}, {macs} MACs: {}", group[0].op, nodes::names(&names), group[0].reason)
    };
    groups(float_nodes).iter().map(line).collect()
}

/// The nodes grouped by operator and reason.
pub(crate) fn groups(float_nodes: &[FloatNode]) -> Vec<Vec<&FloatNode>> {
    nodes::groups(float_nodes, |node| (node.op.clone(), node.reason.clone()))
}

impl fmt::Display for FloatNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {} MACs): {}", self.node, self.op, self.macs, self.reason)
    }
}

impl Coverage {
    /// The coverage of a graph; `remarks` come from the passes that made it.
    #[must_use]
    pub fn of(graph: &Graph, remarks: &[Remark]) -> Self {
        let mut coverage = Coverage::default();
        for node in graph.nodes() {
            let macs = node_macs(graph, node);
            coverage.macs += macs;
            if is_int8(graph, node) {
                coverage.int8_macs += macs;
            } else if is_bf16(graph, node) {
                coverage.bf16_macs += macs;
            } else if graph.stored_weights(node).is_some() {
                coverage.weight_int8_macs += macs;
            } else if computes_in_float(graph, node) {
                let names: Vec<&str> = node.origin.names().collect();
                coverage.float_nodes.push(FloatNode {
                    node: names.join(", "),
                    op: node.op.name().to_owned(),
                    macs,
                    reason: reason(node, remarks),
                });
            }
        }
        coverage
    }

    /// Fraction of multiply-accumulates on 8-bit integers; 1 for a graph without any.
    #[must_use]
    pub fn int8_share(&self) -> f64 {
        if self.macs == 0 { 1.0 } else { self.int8_macs as f64 / self.macs as f64 }
    }
}

/// Multiply-accumulates of a node per inference.
#[must_use]
pub fn node_macs(graph: &Graph, node: &Node) -> u64 {
    graph.macs_of(node)
}

/// Whether the node's operator computes on 8-bit integers.
fn is_int8(graph: &Graph, node: &Node) -> bool {
    let is_byte = |id| matches!(graph.ty(id).dtype, DType::I8 | DType::U8);
    node.operand(0).is_some_and(is_byte) && !matches!(node.op, Op::DequantizeLinear(_))
}

/// Whether the node's operator multiplies bf16.
fn is_bf16(graph: &Graph, node: &Node) -> bool {
    let is_bf16 = |id| graph.ty(id).dtype == DType::Bf16;
    node.operand(0).is_some_and(is_bf16) && matches!(node.op.quant_rule(), QuantRule::Affine { .. })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(macs: &u64) -> bool {
    *macs == 0
}

/// The arithmetic of a node: `int8`, `bf16`, `weight-int8`, `f32`, or `-` for a node that computes nothing. A float node with an
/// assigned precision counts as that precision, even if no pass has rewritten it yet.
#[must_use]
pub fn node_precision(graph: &Graph, node: &Node) -> &'static str {
    let is_given = |precision| node.precision == Some(precision);
    match (is_int8(graph, node), computes_in_float(graph, node)) {
        (true, _) => "int8",
        _ if is_given(Precision::Int8) => "int8",
        _ if is_bf16(graph, node) || is_given(Precision::Bf16) => "bf16",
        _ if graph.stored_weights(node).is_some() || is_given(Precision::WeightInt8) => "weight-int8",
        (false, true) => "f32",
        (false, false) => "-",
    }
}

/// Whether the node does arithmetic on floats: not data movement, quantization or dequantization.
fn computes_in_float(graph: &Graph, node: &Node) -> bool {
    let moves = node.op.quant_rule() == QuantRule::SameScale && !matches!(node.op, Op::Pool(_) | Op::Reduce(_));
    let idle = node.epilogue.is_empty() && (moves || matches!(node.op, Op::Map(_)));
    let converts = |step: &Step| matches!(step, Step::Quantize { .. } | Step::Dequantize { .. } | Step::Cast(_));
    let boundary = match node.op {
        Op::QuantizeLinear(_) | Op::DequantizeLinear(_) => true,
        Op::Map(_) => node.epilogue.steps.iter().all(converts),
        _ => false,
    };
    let float = node.operand(0).is_some_and(|id| graph.ty(id).dtype.is_float());
    float && !idle && !boundary
}

fn reason(node: &Node, remarks: &[Remark]) -> String {
    let names: Vec<String> = node.origin.names().map(|name| Origin::of(name).to_string()).collect();
    let concerns = |remark: &&Remark| {
        remark.kind == RemarkKind::Float && names.iter().any(|name| remark.origin.split(", ").any(|part| part == name))
    };
    remarks.iter().rev().find(concerns).map_or_else(|| "not quantized".to_owned(), |remark| remark.message.clone())
}

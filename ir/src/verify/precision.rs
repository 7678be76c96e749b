//! The rule about the precision of a node.

use super::{Rule, Verifier};
use crate::graph::Node;
use crate::id::ValueId;
use crate::op::{Op, QuantRule};
use crate::precision::Precision;
use crate::types::DType;

impl Verifier<'_> {
    /// The operator and, for a convolution or matrix product, the types of its operands support the precision;
    /// `lower_bf16`, `lower_qdq` and `quantize_weights` rely on it. Operands of type f32 are allowed: those passes convert them.
    pub(super) fn precision(&mut self, node: &Node) {
        let Some(precision) = node.precision else { return };
        if !precision.suits(&node.op) {
            let expected = match (&node.op, precision) {
                (Op::QuantizeLinear(_) | Op::DequantizeLinear(_), _) => "no precision for a conversion",
                (_, Precision::Bf16 | Precision::WeightInt8) => "a convolution or matrix product",
                _ => "an operator with an integer form for int8",
            };
            return self.node_error(node, Rule::Precision, expected, format!("{precision} for {}", node.op.name()));
        }
        let QuantRule::Affine { weight, .. } = node.op.quant_rule() else { return };
        let (x, w) = (node.operand(0), node.operand(weight));
        for (id, is_weight) in [(x, false), (w, true)].into_iter().filter_map(|(id, is)| id.map(|id| (id, is))) {
            let dtype = self.graph.ty(id).dtype;
            let (fits, expected) = match precision {
                Precision::F32 => {
                    let is_stored = is_weight && self.graph.stored_weights(node).is_some();
                    (dtype.is_float() || is_stored, "float operands for f32")
                }
                Precision::Bf16 => (matches!(dtype, DType::F32 | DType::Bf16), "operands of f32 or bf16 for bf16"),
                Precision::Int8 => {
                    (matches!(dtype, DType::F32 | DType::I8 | DType::U8), "operands of i8, u8 or f32 for int8")
                }
                Precision::WeightInt8 if is_weight => {
                    (matches!(dtype, DType::F32 | DType::I8 | DType::I4), "weights of i8, i4 or f32 for weight-int8")
                }
                Precision::WeightInt8 => (dtype == DType::F32, "an input of f32 for weight-int8"),
            };
            if !fits {
                let got = format!("{} of type {dtype}", self.numbering.value(id));
                return self.node_error(node, Rule::Precision, expected, got);
            }
        }
        let is_constant = |w: ValueId| match precision {
            Precision::F32 | Precision::Int8 => true,
            Precision::Bf16 => self.graph.constant(w).is_some(),
            Precision::WeightInt8 => self.graph.constant(w).is_some() || self.is_stored(w),
        };
        if let Some(w) = w.filter(|w| !is_constant(*w)) {
            let got = format!("{}, which is not constant", self.numbering.value(w));
            self.node_error(node, Rule::Precision, format!("constant weights for {precision}"), got);
        }
    }
    /// Whether a `dequantize_linear` makes the value of a constant.
    fn is_stored(&self, value: ValueId) -> bool {
        let dequantize = self.graph.producer(value).filter(|node| matches!(node.op, Op::DequantizeLinear(_)));
        dequantize.and_then(|node| node.operand(0)).is_some_and(|stored| self.graph.constant(stored).is_some())
    }
}

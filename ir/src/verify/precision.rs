//! The rule about the precision of a node.

use super::{Rule, Verifier};
use crate::graph::Node;
use crate::op::{Op, QuantRule};
use crate::precision::Precision;
use crate::types::DType;

impl Verifier<'_> {
    /// The operator and, for a convolution or matrix product, the types of its operands support the precision;
    /// `lower_bf16` and `lower_qdq` rely on it. Operands of type f32 are allowed: those passes convert them.
    pub(super) fn precision(&mut self, node: &Node) {
        let Some(precision) = node.precision else { return };
        if !precision.suits(&node.op) {
            let expected = match (&node.op, precision) {
                (Op::QuantizeLinear(_) | Op::DequantizeLinear(_), _) => "no precision for a conversion",
                (_, Precision::Bf16) => "a convolution or matrix product for bf16",
                _ => "an operator with an integer form for int8",
            };
            return self.node_error(node, Rule::Precision, expected, format!("{precision} for {}", node.op.name()));
        }
        let QuantRule::Affine { weight, .. } = node.op.quant_rule() else { return };
        let (x, w) = (node.operand(0), node.operand(weight));
        for id in [x, w].into_iter().flatten() {
            let dtype = self.graph.ty(id).dtype;
            let (fits, expected) = match precision {
                Precision::F32 => (dtype.is_float(), "float operands for f32"),
                Precision::Bf16 => (matches!(dtype, DType::F32 | DType::Bf16), "operands of f32 or bf16 for bf16"),
                Precision::Int8 => {
                    (matches!(dtype, DType::F32 | DType::I8 | DType::U8), "operands of i8, u8 or f32 for int8")
                }
            };
            if !fits {
                let got = format!("{} of type {dtype}", self.numbering.value(id));
                return self.node_error(node, Rule::Precision, expected, got);
            }
        }
        let computed = w.filter(|w| precision == Precision::Bf16 && self.graph.constant(*w).is_none());
        if let Some(w) = computed {
            let got = format!("{}, which is not constant", self.numbering.value(w));
            self.node_error(node, Rule::Precision, "constant weights for bf16", got);
        }
    }
}

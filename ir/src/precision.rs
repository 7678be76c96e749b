//! The precision in which a node is computed. Passes decide it, and later passes read it from the graph.
//!
//! The operator, steps and types define what a node computes; the precision says how. The evaluator ignores it. A node
//! can have the precision `int8` while its operands are still floats; a later pass then rewrites it on integers or
//! changes the precision. A node without a precision is either undecided, or there is nothing to decide: it already
//! computes on integers, or it is a `quantize_linear` or `dequantize_linear`.
//!
//! In the text form it follows the operator: `%y = conv(%x, %w) {pads=[1, 1, 1, 1]} in int8 |> relu : 1x4x8x8xf32`.

use std::fmt;

use crate::op::{Op, QuantRule};

/// The arithmetic of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// f32.
    F32,
    /// Products of bf16, accumulated in f32.
    Bf16,
    /// 8-bit integers, accumulated exactly.
    Int8,
    /// f32 with weights of 8 bits, or of the 4 bits that the model has, which are dequantized where they are multiplied (weight-only quantization).
    WeightInt8,
}

/// All precisions, by name.
const NAMES: &[(&str, Precision)] = &[
    ("f32", Precision::F32),
    ("bf16", Precision::Bf16),
    ("int8", Precision::Int8),
    ("weight-int8", Precision::WeightInt8),
];

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, precision)| precision == self).map_or("", |(name, _)| name))
    }
}

impl Precision {
    /// Returns the precision with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, precision)| *precision)
    }

    /// Returns true if the operator supports the precision. The operands may still rule it out.
    #[must_use]
    pub fn suits(self, op: &Op) -> bool {
        match (self, op.quant_rule()) {
            _ if matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)) => false,
            (Precision::F32, _) => true,
            (Precision::Bf16 | Precision::WeightInt8, rule) => matches!(rule, QuantRule::Affine { .. }),
            (Precision::Int8, rule) => rule != QuantRule::FloatOnly,
        }
    }
}

//! The precision that a node is computed in: what passes decide, and tell each other through the graph.
//!
//! A precision says how a node is to be computed; operator, steps and types say what. So the evaluator pays no heed to it,
//! and a node may be given `int8` while its operands are still floats: passes then rewrite it on integers, or take the
//! decision back. A node without one is undecided, or there is nothing to decide: it computes on integers, or it is a
//! `quantize_linear` or `dequantize_linear`, which stand between precisions.
//!
//! In text it stands behind the operator: `%y = conv(%x, %w) {pads=[1, 1, 1, 1]} in int8 |> relu : 1x4x8x8xf32`.

use std::fmt;

use crate::op::{Op, QuantRule};

/// The arithmetic that a node is computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Single-precision floats.
    F32,
    /// Products of bf16 numbers, summed in f32.
    Bf16,
    /// 8-bit integers with exact sums.
    Int8,
}

/// The precisions there are, by name.
const NAMES: &[(&str, Precision)] = &[("f32", Precision::F32), ("bf16", Precision::Bf16), ("int8", Precision::Int8)];

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(_, precision)| precision == self).map_or("", |(name, _)| name))
    }
}

impl Precision {
    /// The precision of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, precision)| *precision)
    }

    /// Whether an operator can be computed in it, as far as the operator alone says.
    #[must_use]
    pub fn suits(self, op: &Op) -> bool {
        match (self, op.quant_rule()) {
            _ if matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)) => false,
            (Precision::F32, _) => true,
            (Precision::Bf16, rule) => matches!(rule, QuantRule::Affine { .. }),
            (Precision::Int8, rule) => rule != QuantRule::FloatOnly,
        }
    }
}

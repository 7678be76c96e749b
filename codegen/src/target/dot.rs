//! How the instructions of a target sum products of 8-bit integers: what packing, lowering and cost models must know.

use eightfold_ir::DType;

/// The rule by which four products of input bytes and weight bytes are added to a 32-bit lane. Weights are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotRule {
    /// Whether inputs are multiplied as signed bytes; otherwise they are multiplied as unsigned ones.
    pub signed_inputs: bool,
    /// The greatest sum of the magnitudes of weights of one sign for which the products of two neighbours are exact.
    /// `None` if all sums are.
    pub pair_limit: Option<i32>,
    /// Instructions that multiply a register of bytes and accumulate the products.
    pub instructions: usize,
    /// Registers needed besides accumulators, weights and one input.
    pub temporaries: usize,
}

impl DotRule {
    /// `pmaddubsw`, `pmaddwd` by ones, `paddd`. The first adds two products in 16 bits, which hold at most 255 * 128.
    /// One register holds the ones, another the products.
    pub const PMADDUBSW: DotRule =
        DotRule { signed_inputs: false, pair_limit: Some(128), instructions: 3, temporaries: 2 };

    /// `vpdpbusd`: one instruction, exact for all weights.
    pub const VPDPBUSD: DotRule = DotRule { signed_inputs: false, pair_limit: None, instructions: 1, temporaries: 0 };

    /// Signed bytes, widened to 16 bits, two multiplications, and four products that are widened to 32 bits and added.
    /// The shifts that widen bytes are shared by a tile. Exact for all weights.
    pub const WIDENED: DotRule = DotRule { signed_inputs: true, pair_limit: None, instructions: 12, temporaries: 2 };

    /// What is added to inputs of a type before they are multiplied, so that they have the sign that the rule wants.
    /// It flips the upper bit of a byte. The initial sums are less by the weights times this.
    #[must_use]
    pub fn input_offset(self, input: DType) -> i64 {
        match (input, self.signed_inputs) {
            (DType::I8, false) => 128,
            (DType::U8, true) => -128,
            _ => 0,
        }
    }

    /// Products of bytes that one instruction adds to a lane, on average.
    #[must_use]
    pub fn products_per_instruction(self) -> f64 {
        4.0 / self.instructions as f64
    }

    /// Instructions for one group of bytes, if the products of `joined` groups are accumulated at once.
    #[must_use]
    pub fn instructions_per_group(self, joined: f64) -> f64 {
        (self.instructions - 1) as f64 + 1.0 / joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_the_other_sign_are_moved_by_half_their_range() {
        for (rule, offsets) in [(DotRule::VPDPBUSD, [0, 128]), (DotRule::WIDENED, [-128, 0])] {
            assert_eq!([DType::U8, DType::I8].map(|input| rule.input_offset(input)), offsets);
            assert_eq!([DType::I16, DType::F32, DType::Bf16].map(|input| rule.input_offset(input)), [0; 3]);
        }
    }

    #[test]
    fn joined_groups_share_the_last_instruction() {
        assert_eq!([1.0, 2.0].map(|joined| DotRule::PMADDUBSW.instructions_per_group(joined)), [3.0, 2.5]);
        assert_eq!(DotRule::VPDPBUSD.instructions_per_group(1.0), 1.0);
    }
}

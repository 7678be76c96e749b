//! Describes how a target accumulates products of 8-bit integers, for packing, lowering and cost models.

use eightfold_ir::DType;

/// How four products of input bytes and weight bytes are added to a 32-bit lane. Weights are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotRule {
    /// Whether inputs are multiplied as signed bytes. If not, they are multiplied as unsigned bytes.
    pub signed_inputs: bool,
    /// The largest `|w1| + |w2|`, for two neighbouring weights of one sign, whose products with any inputs are summed
    /// exactly. `None` if all sums are exact.
    pub pair_limit: Option<i32>,
    /// Number of instructions to multiply a register of bytes and accumulate the products.
    pub instructions: usize,
    /// Number of registers needed besides accumulators, weights and one input.
    pub temporaries: usize,
}

impl DotRule {
    /// `pmaddubsw`, `pmaddwd` by ones, `paddd`. `pmaddubsw` adds two products in 16 bits, which hold at most 255 * 128.
    /// One register holds the ones, another the products.
    pub const PMADDUBSW: DotRule =
        DotRule { signed_inputs: false, pair_limit: Some(128), instructions: 3, temporaries: 2 };

    /// `vpdpbusd`: one instruction, exact for all weights.
    pub const VPDPBUSD: DotRule = DotRule { signed_inputs: false, pair_limit: None, instructions: 1, temporaries: 0 };

    /// Widens signed bytes to 16 bits and multiplies them by two instructions; widens the four products to 32 bits and
    /// adds them. The tile shares the shifts that widen bytes. Exact for all weights.
    pub const WIDENED: DotRule = DotRule { signed_inputs: true, pair_limit: None, instructions: 12, temporaries: 2 };

    /// The number that is added to inputs of a type so that they have the signedness of the rule: -128, 0 or 128. The
    /// addition flips the upper bit of a byte. Initial accumulators are reduced by the sum of the weights times this
    /// offset.
    #[must_use]
    pub fn input_offset(self, input: DType) -> i64 {
        match (input, self.signed_inputs) {
            (DType::I8, false) => 128,
            (DType::U8, true) => -128,
            _ => 0,
        }
    }

    /// The average number of products of bytes that one instruction adds to a lane.
    #[must_use]
    pub fn products_per_instruction(self) -> f64 {
        4.0 / self.instructions as f64
    }

    /// Instructions for one group of bytes, if `joined` groups share the last instruction, which accumulates their
    /// products.
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

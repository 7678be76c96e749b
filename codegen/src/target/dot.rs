//! Describes how a target accumulates products of 8-bit integers, for packing, lowering and cost models.

use eightfold_ir::DType;

/// Which input bytes the instructions multiply as they are. Weights are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputSigns {
    /// Unsigned bytes.
    Unsigned,
    /// Signed bytes.
    Signed,
    /// Bytes of either signedness, by different instructions.
    Both,
}

/// The rule by which four products of input bytes and weight bytes are added to a 32-bit lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotRule {
    /// The input bytes that need no conversion.
    pub inputs: InputSigns,
    /// The greatest sum of magnitudes of weights for which the products of two neighbours are exact: of the weights of one
    /// sign if inputs are unsigned, else of all. `None` if all sums are exact.
    pub pair_limit: Option<i32>,
    /// Instructions that multiply a register of bytes.
    pub multiply: usize,
    /// Instructions that add further products to those in 16 bits.
    pub join: usize,
    /// Instructions that add the products to the accumulator.
    pub accumulate: usize,
    /// Instructions that multiply registers of words and add the products to an accumulator.
    pub words: usize,
    /// Registers needed besides accumulators, weights and one input.
    pub temporaries: usize,
}

impl DotRule {
    /// `pmaddubsw`, `pmaddwd` by ones, `paddd`. `pmaddubsw` adds two products in 16 bits, which hold at most 255 * 128.
    /// One register holds the ones, another the products.
    pub const PMADDUBSW: DotRule = DotRule {
        inputs: InputSigns::Unsigned,
        pair_limit: Some(128),
        multiply: 1,
        join: 1,
        accumulate: 2,
        words: 2,
        temporaries: 2,
    };

    /// `vpdpbusd`: one instruction, exact for all weights.
    pub const VPDPBUSD: DotRule = DotRule::one_instruction(InputSigns::Unsigned);

    /// `smull`, `smull2`, `addp`, `sadalp`. The third adds two products in 16 bits, which hold at most 128 * 255. Further
    /// products take `smlal` and `smlal2`. The upper halves of weights and two products need registers.
    pub const SMULL: DotRule = DotRule {
        inputs: InputSigns::Signed,
        pair_limit: Some(255),
        multiply: 2,
        join: 0,
        accumulate: 2,
        words: 4,
        temporaries: 9,
    };

    /// `sdot`: one instruction, exact for all weights.
    pub const SDOT: DotRule = DotRule::one_instruction(InputSigns::Signed);

    /// `sdot` and `usdot`: one instruction, exact for all weights.
    pub const USDOT: DotRule = DotRule::one_instruction(InputSigns::Both);

    /// Signed bytes, widened to 16 bits, two multiplications, and four products that are widened to 32 bits and added.
    /// The shifts that widen bytes are shared by a tile. Exact for all weights.
    pub const WIDENED: DotRule =
        DotRule { multiply: 12, temporaries: 2, ..DotRule::one_instruction(InputSigns::Signed) };

    const fn one_instruction(inputs: InputSigns) -> DotRule {
        DotRule { inputs, pair_limit: None, multiply: 1, join: 0, accumulate: 0, words: 2, temporaries: 0 }
    }

    /// What is added to inputs of a type before they are multiplied, so that they have a sign that the rule takes. It
    /// flips the upper bit of a byte. The initial accumulators are less by the weights times this.
    #[must_use]
    pub fn input_offset(self, input: DType) -> i64 {
        match (input, self.inputs) {
            (DType::I8, InputSigns::Unsigned) => 128,
            (DType::U8, InputSigns::Signed) => -128,
            _ => 0,
        }
    }

    /// Whether bytes of type `input` are signed when they are multiplied, after [`DotRule::input_offset`].
    #[must_use]
    pub fn multiplies_signed(self, input: DType) -> bool {
        match self.inputs {
            InputSigns::Unsigned => false,
            InputSigns::Signed => true,
            InputSigns::Both => input == DType::I8,
        }
    }

    /// Instructions that multiply `groups` registers of bytes and accumulate their products at once.
    #[must_use]
    pub fn instructions(self, groups: usize) -> usize {
        groups * self.multiply + (groups - 1) * self.join + self.accumulate
    }

    /// Instructions for one register of bytes, if the products of `joined` registers are accumulated at once.
    #[must_use]
    pub fn instructions_per_group(self, joined: usize) -> f64 {
        self.instructions(joined) as f64 / joined as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_the_other_sign_are_moved_by_half_their_range() {
        let rules = [
            (DotRule::VPDPBUSD, [0, 128], [false, false]),
            (DotRule::WIDENED, [-128, 0], [true, true]),
            (DotRule::USDOT, [0, 0], [false, true]),
        ];
        for (rule, offsets, signed) in rules {
            assert_eq!([DType::U8, DType::I8].map(|input| rule.input_offset(input)), offsets);
            assert_eq!([DType::U8, DType::I8].map(|input| rule.multiplies_signed(input)), signed);
            assert_eq!([DType::I16, DType::F32, DType::Bf16].map(|input| rule.input_offset(input)), [0; 3]);
        }
    }

    #[test]
    fn joined_groups_share_the_instructions_that_accumulate() {
        assert_eq!([1, 2].map(|joined| DotRule::PMADDUBSW.instructions_per_group(joined)), [3.0, 2.5]);
        assert_eq!([1, 2].map(|joined| DotRule::SMULL.instructions_per_group(joined)), [4.0, 3.0]);
        assert_eq!(DotRule::VPDPBUSD.instructions_per_group(1), 1.0);
    }
}

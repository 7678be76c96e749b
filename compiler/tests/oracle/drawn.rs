//! Random operands.

use eightfold_ir::{DType, Shape, Tensor};
use proptest::prelude::*;

/// Multiples of 1/8 from -8 to 8: sums of their products are exact in any order, and ties and zeros occur.
pub(crate) fn floats(shape: &[usize], seed: u64) -> Tensor {
    let numbers: Vec<f32> = words(shape, seed).map(|word| (word % 129) as f32 / 8.0 - 8.0).collect();
    Tensor::f32(shape, &numbers)
}

/// Numbers from 1/8 to 8.
pub(crate) fn positive(shape: &[usize], seed: u64) -> Tensor {
    let numbers: Vec<f32> = words(shape, seed).map(|word| (word % 64 + 1) as f32 / 8.0).collect();
    Tensor::f32(shape, &numbers)
}

/// Booleans.
pub(crate) fn truths(shape: &[usize], seed: u64) -> Tensor {
    let bytes: Vec<u8> = words(shape, seed).map(|word| (word & 1) as u8).collect();
    Tensor::new(DType::Bool, Shape::new(shape), bytes).expect("one byte an element")
}

/// Integers from `least` to `greatest`.
pub(crate) fn integers(shape: &[usize], seed: u64, least: i64, greatest: i64) -> Tensor {
    let span = (greatest - least + 1) as u64;
    Tensor::int(DType::I64, shape, &words(shape, seed).map(|w| least + (w % span) as i64).collect::<Vec<_>>())
}

/// Numbers of a xorshift64* generator, one per element.
fn words(shape: &[usize], seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..shape.iter().product()).map(move |_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    })
}

/// Shapes of these ranks with extents of at most 5.
pub(crate) fn shape(ranks: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..=5_usize, ranks)
}

/// Two shapes that broadcast: some axes of either are 1 or missing.
pub(crate) fn broadcast() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    let axis = (1..=4_usize, 0..4_u8);
    (prop::collection::vec(axis, 1..=4), 0..3_usize).prop_map(|(axes, cut)| {
        let one = |kept: u8, side: u8, extent: usize| if kept == side { 1 } else { extent };
        let a = axes.iter().map(|(extent, kept)| one(*kept, 1, *extent)).collect();
        let b: Vec<usize> = axes.iter().map(|(extent, kept)| one(*kept, 2, *extent)).collect();
        (a, b[cut.min(b.len() - 1)..].to_vec())
    })
}

//! Reproducible random numbers for constants that a text describes as `rand(…)`.
//!
//! The generator is SplitMix64 (Steele, Lea, Flood 2014). The mapping from its words to numbers is fixed here, so a
//! text defines the same tensor forever and on every machine.

use crate::literal::Bytes;
use crate::types::DType;

/// The distribution of the numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Distribution {
    /// f32 with mean 0 and this standard deviation: the sum of twelve 16-bit uniforms (four per word, low to high)
    /// minus its mean, divided by 2^16, times the deviation, all in f32.
    Normal {
        /// The standard deviation.
        std: f32,
    },
    /// f32 `low + (high - low) * u`, where `u` is the upper 24 bits of a word divided by 2^24.
    Between {
        /// The least number.
        low: f32,
        /// The upper bound, excluded.
        high: f32,
    },
    /// Integers in `low..=high`: `low` plus the upper 64 bits of the product of a word and the size of the range.
    Integers {
        /// The least number.
        low: i64,
        /// The greatest number.
        high: i64,
    },
}

impl Distribution {
    /// Returns the distribution if the text names no parameters: normal with deviation 1, or uniform over the type.
    /// Signed 8-bit and 4-bit types exclude the least number, as weights do.
    pub(crate) fn of(dtype: DType) -> Self {
        let (low, high) = match dtype {
            _ if dtype.is_float() => return Distribution::Normal { std: 1.0 },
            DType::I8 | DType::I4 => dtype.integer_range().map_or((0, 0), |(min, max)| (min + 1, max)),
            DType::Bool => (0, 1),
            DType::U64 => (0, i64::MAX),
            _ => dtype.integer_range().unwrap_or((i64::MIN, i64::MAX)),
        };
        Distribution::Integers { low, high }
    }
}

/// Returns the `count` stored elements of a constant `rand(seed=…)`.
pub(crate) fn random(dtype: DType, count: usize, seed: u64, distribution: Distribution) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(count * dtype.byte_size());
    for _ in 0..count {
        let element = match distribution {
            Distribution::Normal { std } => float_bytes(dtype, normal(&mut state) * std),
            Distribution::Between { low, high } => {
                let u = (next(&mut state) >> 40) as f32 / (1 << 24) as f32;
                float_bytes(dtype, low + (high - low) * u)
            }
            Distribution::Integers { low, high } => {
                let span = (i128::from(high) - i128::from(low) + 1) as u128;
                let above = ((u128::from(next(&mut state)) * span) >> 64) as i128;
                let x = (i128::from(low) + above) as i64;
                Bytes::from_slice(&x.to_le_bytes()[..dtype.byte_size()])
            }
        };
        bytes.extend_from_slice(&element);
    }
    bytes
}

/// Returns `count` reproducible random elements of an element type, as a constant `rand(seed=…)` without further parameters
/// has them.
#[must_use]
pub fn random_elements(dtype: DType, count: usize, seed: u64) -> Vec<u8> {
    random(dtype, count, seed, Distribution::of(dtype))
}

fn float_bytes(dtype: DType, x: f32) -> Bytes {
    match dtype {
        DType::F16 => Bytes::from_slice(&half::f16::from_f32(x).to_le_bytes()),
        DType::Bf16 => Bytes::from_slice(&half::bf16::from_f32(x).to_le_bytes()),
        DType::F64 => Bytes::from_slice(&f64::from(x).to_le_bytes()),
        _ => Bytes::from_slice(&x.to_le_bytes()),
    }
}

/// Returns the next word of SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A sum of twelve uniforms has variance 1. All operations are exact in f32.
fn normal(state: &mut u64) -> f32 {
    let mut sum = 0_i32;
    for _ in 0..3 {
        let word = next(state);
        sum += (0..4).map(|part| i32::from((word >> (16 * part)) as u16)).sum::<i32>();
    }
    (sum - 6 * 65535) as f32 / 65536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_splitmix64() {
        // The first words of the reference implementation with seed 1234567.
        let mut state = 1_234_567;
        assert_eq!(next(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(next(&mut state), 3_203_168_211_198_807_973);
    }

    /// The expected numbers come from an independent implementation of the module's documentation.
    #[test]
    fn numbers_never_change() {
        let floats = random(DType::F32, 3, 1, Distribution::of(DType::F32));
        let floats: Vec<f32> = floats.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(floats, [77649.0 / 65536.0, 24274.0 / 65536.0, -29037.0 / 65536.0]);
        let bytes = random(DType::I8, 8, 1, Distribution::of(DType::I8));
        assert_eq!(bytes.iter().map(|b| *b as i8).collect::<Vec<_>>(), [17, 63, 120, -14, -14, 67, 96, 6]);
    }

    #[test]
    fn the_deviation_is_what_was_asked_for() {
        let bytes = random(DType::F32, 100_000, 7, Distribution::Normal { std: 0.5 });
        let x: Vec<f64> = bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        assert!(mean.abs() < 0.01 && (deviation - 0.5).abs() < 0.01, "{mean} {deviation}");
    }

    #[test]
    fn integers_reach_both_ends_and_no_further() {
        let all = |dtype| random(dtype, 20_000, 3, Distribution::of(dtype));
        let signed: Vec<i8> = all(DType::I8).into_iter().map(|b| b as i8).collect();
        assert_eq!((signed.iter().min(), signed.iter().max()), (Some(&-127), Some(&127)));
        let unsigned = all(DType::U8);
        assert_eq!((unsigned.iter().min(), unsigned.iter().max()), (Some(&0), Some(&255)));
        let truth = all(DType::Bool);
        assert_eq!((truth.iter().min(), truth.iter().max()), (Some(&0), Some(&1)));
    }
}

//! A histogram of a stream whose range is not known beforehand.
//!
//! Each sign has [`Histogram::BINS`] bins of equal width, a power of two. When a value falls outside, the width doubles
//! as often as it takes and neighbouring bins are merged, pair by pair. Bin edges are multiples of the width, so a merged
//! bin holds exactly what it would have held had the final width been known from the start: the result does not depend
//! on the order of the values or on how they are cut into samples. At least half of the bins are in use on the side of
//! the largest magnitude.
//!
//! Zeros are counted apart (after a ReLU they are most of the data, and every quantizer here holds them exactly), and
//! the extremes are kept exactly.

use super::{ObserveError, extremes};

/// Counts of values by magnitude and sign, in bounded memory and one pass.
///
/// A value may count for more or less than one; counts of ones are exact up to 2^53.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram {
    /// A bin is `2^exponent` wide. Of no meaning before the first value that is not zero.
    exponent: i32,
    /// `positive[i]` counts values in `[i, i + 1) * width`; empty before the first.
    positive: Vec<f64>,
    /// `negative[i]` counts values in `(-i - 1, -i] * width`; empty before the first.
    negative: Vec<f64>,
    zeros: f64,
    extremes: Option<(f32, f32)>,
}

impl Histogram {
    /// The number of bins on either side of zero, 32 KiB of counts: 8 to 16 bins for each step of an 8-bit quantizer.
    pub const BINS: usize = 1 << Self::LOG2_BINS;
    const LOG2_BINS: i32 = 12;

    /// Counts `values`, or none of them if one is not finite.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`] names the first NaN or infinity.
    pub fn observe(&mut self, values: &[f32]) -> Result<(), ObserveError> {
        self.observe_weighted(values, std::iter::repeat(1.0))
    }

    /// Counts each of `values` by its weight, or none of them if one is not finite.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`] names the first NaN or infinity.
    pub fn observe_weighted(&mut self, values: &[f32], weights: impl Iterator<Item = f64>) -> Result<(), ObserveError> {
        let Some((min, max)) = extremes(values)? else {
            return Ok(());
        };
        let (lowest, highest) = self.extremes.unwrap_or((min, max));
        self.extremes = Some((lowest.min(min), highest.max(max)));
        let magnitude = max.max(-min);
        if magnitude > 0.0 {
            self.widen(magnitude);
        }
        if max > 0.0 {
            self.positive.resize(Self::BINS, 0.0);
        }
        if min < 0.0 {
            self.negative.resize(Self::BINS, 0.0);
        }
        // Exact: a power of two, and every f32 is a normal f64.
        let per_width = power_of_two(-self.exponent);
        for (&value, weight) in values.iter().zip(weights) {
            let bin = (f64::from(value.abs()) * per_width) as usize;
            if value > 0.0 {
                self.positive[bin] += weight;
            } else if value < 0.0 {
                self.negative[bin] += weight;
            } else {
                self.zeros += weight;
            }
        }
        Ok(())
    }

    /// Doubles the width until `magnitude`, which is above zero, has a bin.
    fn widen(&mut self, magnitude: f32) {
        let needed = floor_log2(magnitude) + 1 - Self::LOG2_BINS;
        let empty = self.positive.is_empty() && self.negative.is_empty();
        if !empty && needed > self.exponent {
            let doublings = needed - self.exponent;
            for side in [&mut self.positive, &mut self.negative] {
                let mut merged = vec![0.0; side.len()];
                for (bin, count) in side.iter().enumerate() {
                    // All bins meet in the first after LOG2_BINS doublings; more would overflow the shift.
                    merged[bin >> doublings.min(Self::LOG2_BINS)] += count;
                }
                *side = merged;
            }
        }
        if empty || needed > self.exponent {
            self.exponent = needed;
        }
    }

    /// The width of a bin.
    pub fn width(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// The number of values seen, or the sum of their weights.
    pub fn count(&self) -> f64 {
        self.zeros + self.nonzero_count()
    }

    /// The same without zeros.
    pub fn nonzero_count(&self) -> f64 {
        self.positive.iter().chain(&self.negative).sum()
    }

    /// The smallest and the largest value seen, exactly.
    ///
    /// # Errors
    /// [`ObserveError::Empty`] before the first value.
    pub fn extremes(&self) -> Result<(f32, f32), ObserveError> {
        self.extremes.ok_or(ObserveError::Empty)
    }

    /// The bins from the most negative to the most positive: the number of the first, and their counts.
    ///
    /// Bin `i` covers `i * width` to `(i + 1) * width`. Zeros are in none.
    pub(super) fn bins(&self) -> (i64, Vec<f64>) {
        let counts = self.negative.iter().rev().chain(&self.positive).copied().collect();
        (-(self.negative.len() as i64), counts)
    }

    /// The value below which the fraction `q` of all values lies, interpolated linearly within its bin.
    ///
    /// Exact to within a bin's width, and never outside the extremes.
    ///
    /// # Errors
    /// [`ObserveError::Empty`] before the first value.
    pub fn quantile(&self, q: f64) -> Result<f64, ObserveError> {
        let (min, max) = self.extremes()?;
        let side = |bins: &Vec<f64>, sign: f64| -> Vec<(f64, f64, f64)> {
            let edge = |bin: usize| sign * bin as f64 * self.width();
            let bins = bins.iter().enumerate().map(|(bin, &count)| (edge(bin), edge(bin + 1), count));
            bins.collect()
        };
        let negative = side(&self.negative, -1.0);
        let cells = negative.into_iter().rev().map(|(near, far, count)| (far, near, count));
        let cells = cells.chain([(0.0, 0.0, self.zeros)]).chain(side(&self.positive, 1.0));
        Ok(quantile(cells, q * self.count(), min.into(), max.into()))
    }

    /// The magnitude below which the fraction `q` of all values lies; otherwise as [`Histogram::quantile`].
    ///
    /// # Errors
    /// [`ObserveError::Empty`] before the first value.
    pub fn magnitude_quantile(&self, q: f64) -> Result<f64, ObserveError> {
        let (min, max) = self.extremes()?;
        let largest = f64::from(max.max(-min));
        let smallest = if min > 0.0 || max < 0.0 { f64::from(min.abs().min(max.abs())) } else { 0.0 };
        let count = |bins: &[f64], bin: usize| bins.get(bin).copied().unwrap_or(0.0);
        let cells = (0..Self::BINS).map(|bin| {
            let both = count(&self.positive, bin) + count(&self.negative, bin);
            (bin as f64 * self.width(), (bin + 1) as f64 * self.width(), both)
        });
        let cells = [(0.0, 0.0, self.zeros)].into_iter().chain(cells);
        Ok(quantile(cells, q * self.count(), smallest, largest))
    }
}

/// The place in ascending cells `(low, high, count)` where `rank` values lie below; cells are cut to `[min, max]` first.
fn quantile(cells: impl Iterator<Item = (f64, f64, f64)>, rank: f64, min: f64, max: f64) -> f64 {
    let mut below = 0.0;
    for (low, high, count) in cells {
        let (low, high) = (low.max(min), high.min(max));
        if count > 0.0 && below + count >= rank {
            return low + (high - low) * ((rank - below) / count).clamp(0.0, 1.0);
        }
        below += count;
    }
    max
}

/// `2^exponent`, exactly; the exponents of bin widths are far inside the limits of f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// The exponent of the largest power of two that is at most `magnitude`, which is finite and above zero.
fn floor_log2(magnitude: f32) -> i32 {
    // Every f32 above zero is a normal number as f64, so the exponent field is the logarithm.
    ((f64::from(magnitude).to_bits() >> 52) as i32) - 1023
}

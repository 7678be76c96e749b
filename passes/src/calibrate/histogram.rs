//! A histogram of a stream of values whose range is not known in advance.
//!
//! Each sign has [`Histogram::BINS`] bins. All bins have the same width, a power of two. If a value is out of range,
//! the width is doubled until the value fits, and each doubling merges neighbouring bins in pairs. Bin edges are
//! multiples of the width, so a merged bin has the count that it would have had with the final width from the start.
//! The result therefore does not depend on the order of the values or on their division into samples. On the side of
//! the largest magnitude, at least half of the bins are in use.
//!
//! Zeros are counted separately: after a ReLU most values are zero, and every quantizer here represents zero exactly.
//! The extremes are kept exactly.

use super::{ObserveError, extremes};

/// Counts of values by sign and magnitude, in bounded memory and one pass.
///
/// A value can have a weight other than one. Counts without weights are exact up to 2^53.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Histogram {
    /// The width of a bin is `2^exponent`. Undefined before the first nonzero value.
    exponent: i32,
    /// `positive[i]` counts the values in `[i, i + 1) * width`. Empty before the first value.
    positive: Vec<f64>,
    /// `negative[i]` counts the values in `(-i - 1, -i] * width`. Empty before the first value.
    negative: Vec<f64>,
    zeros: f64,
    extremes: Option<(f32, f32)>,
}

impl Histogram {
    /// The number of bins on each side of zero: 32 KiB of counts, and 8 to 16 bins per step of an 8-bit quantizer.
    pub const BINS: usize = 1 << Self::LOG2_BINS;
    const LOG2_BINS: i32 = 12;

    /// Counts `values`, or none of them if one is not finite.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`] with the first NaN or infinity.
    pub fn observe(&mut self, values: &[f32]) -> Result<(), ObserveError> {
        self.observe_weighted(values, std::iter::repeat(1.0))
    }

    /// Adds the weight of each value to its bin, or counts none of them if one is not finite.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`] with the first NaN or infinity.
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
        // Exact: the factor is a power of two, and every f32 is a normal f64.
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

    /// Doubles the width until `magnitude`, which must be above zero, has a bin.
    fn widen(&mut self, magnitude: f32) {
        let needed = floor_log2(magnitude) + 1 - Self::LOG2_BINS;
        let empty = self.positive.is_empty() && self.negative.is_empty();
        if !empty && needed > self.exponent {
            let doublings = needed - self.exponent;
            for side in [&mut self.positive, &mut self.negative] {
                let mut merged = vec![0.0; side.len()];
                for (bin, count) in side.iter().enumerate() {
                    // After LOG2_BINS doublings, all bins are merged into the first. A greater shift would overflow.
                    merged[bin >> doublings.min(Self::LOG2_BINS)] += count;
                }
                *side = merged;
            }
        }
        if empty || needed > self.exponent {
            self.exponent = needed;
        }
    }

    /// Returns the width of a bin.
    pub fn width(&self) -> f64 {
        power_of_two(self.exponent)
    }

    /// Returns the number of values, or the sum of their weights.
    pub fn count(&self) -> f64 {
        self.zeros + self.nonzero_count()
    }

    /// Returns the number of nonzero values, or the sum of their weights.
    pub fn nonzero_count(&self) -> f64 {
        self.positive.iter().chain(&self.negative).sum()
    }

    /// Returns the smallest and the largest value, exactly.
    ///
    /// # Errors
    /// [`ObserveError::Empty`] before the first value.
    pub fn extremes(&self) -> Result<(f32, f32), ObserveError> {
        self.extremes.ok_or(ObserveError::Empty)
    }

    /// Returns the index of the first bin and the counts, from the most negative bin to the most positive.
    ///
    /// Bin `i` covers `i * width` to `(i + 1) * width`. No bin counts zeros.
    pub(super) fn bins(&self) -> (i64, Vec<f64>) {
        let counts = self.negative.iter().rev().chain(&self.positive).copied().collect();
        (-(self.negative.len() as i64), counts)
    }

    /// Returns the quantile `q` of all values, interpolated linearly within its bin.
    ///
    /// The error is at most one bin width. The result lies between the extremes.
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

    /// Returns the quantile `q` of the magnitudes; otherwise like [`Histogram::quantile`].
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

/// Returns the number below which `rank` values lie. `cells` are `(low, high, count)` in ascending order, clipped to
/// `[min, max]`.
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

/// Returns `2^exponent`, exactly. The exponents of bin widths are far from the limits of f64.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Returns `floor(log2(magnitude))` of a finite magnitude above zero.
fn floor_log2(magnitude: f32) -> i32 {
    // Every positive f32 is a normal f64, so the exponent field is the logarithm.
    ((f64::from(magnitude).to_bits() >> 52) as i32) - 1023
}

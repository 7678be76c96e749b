//! The range with the least mean squared error between values and their 8-bit codes, relative to the power around them.
//!
//! The error of a value counts in inverse proportion to the mean square of the channels of its position plus that of the
//! whole sample. Otherwise the few samples, and the few pixels, whose outliers are ten times everyone's (they exist in the
//! last layers of MobileNets) would set the range for all, though the next activation cuts their outliers off anyway. No
//! position counts for more than twice the average one, however faint it is.
//!
//! Rounding error grows with the range and clipping error as it shrinks; both are summed over the bins of the histogram,
//! each taken at its midpoint, for the very grid that scale and zero point will span (zero point rounded to an integer).
//! Zeros are exact in every grid and count for nothing.

use eightfold_ir::quant::Symmetry;

use super::clip::least_cost;
use super::{Activations, Histogram, ObserveError, Observer, ObserverRow, Range, steps};

/// The row of the table.
pub(super) const MSE: ObserverRow = ObserverRow {
    name: "mse",
    summary: "the range with the least mean squared error, rounding and clipping together, relative to each position's power",
    setting: None,
    new: |_| Box::new(Mse::default()),
};

/// The range with the least mean squared error, relative to each position's power.
#[derive(Debug, Default, Clone)]
pub struct Mse {
    histogram: Histogram,
}

impl Observer for Mse {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        let mut powers = vec![0.0; sample.count()];
        for (x, position) in sample.values().iter().zip(sample.positions()) {
            powers[position] += f64::from(*x) * f64::from(*x);
        }
        let mean = powers.iter().sum::<f64>() / powers.len() as f64;
        let weights: Vec<f64> =
            powers.iter().map(|power| if mean > 0.0 { 1.0 / (power + mean) } else { 1.0 }).collect();
        self.histogram.observe_weighted(sample.values(), sample.positions().map(|position| weights[position]))
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let (min, max) = self.histogram.extremes()?;
        let full = Range::covering(min, max, symmetry);
        let moments = Moments::new(&self.histogram);
        Ok(least_cost(full, symmetry, |min, max| moments.squared_error(min, max, steps(symmetry))))
    }
}

/// Running sums over a histogram's bins, from which the error of any grid follows in a time set by its steps alone.
struct Moments {
    width: f64,
    first_bin: f64,
    /// `sums[i]` = over bins before `i`: count, and sum of midpoint and of its square, in widths.
    sums: Vec<[f64; 3]>,
}

impl Moments {
    fn new(histogram: &Histogram) -> Self {
        let (first_bin, counts) = histogram.bins();
        let mut sums = vec![[0.0; 3]];
        let mut sum = [0.0; 3];
        for (bin, count) in (first_bin..).zip(counts) {
            let midpoint = bin as f64 + 0.5;
            sum = [sum[0] + count, sum[1] + count * midpoint, sum[2] + count * midpoint * midpoint];
            sums.push(sum);
        }
        Moments { width: histogram.width(), first_bin: first_bin as f64, sums }
    }

    /// The sums over the bins whose midpoint is below `place`, in widths.
    fn below(&self, place: f64) -> [f64; 3] {
        // The cast saturates, so both ends of the grid may lie outside the histogram.
        let bins = (place - 0.5 - self.first_bin).ceil() as usize;
        self.sums[bins.min(self.sums.len() - 1)]
    }

    /// The summed squared error, in squared widths, of the grid of `steps` steps over `min..max`.
    fn squared_error(&self, min: f64, max: f64, steps: u32) -> f64 {
        let step = (max - min) / f64::from(steps) / self.width;
        if step <= 0.0 {
            return 0.0; // All zeros.
        }
        let zero_point = (-min / self.width / step).round_ties_even();
        let mut lower = [0.0; 3];
        let mut error = 0.0;
        for code in 0..=steps {
            let level = (f64::from(code) - zero_point) * step;
            // The outermost codes take all that lies beyond them: that is clipping.
            let upper = if code == steps { self.below(f64::INFINITY) } else { self.below(level + 0.5 * step) };
            let [count, sum, squares] = [upper[0] - lower[0], upper[1] - lower[1], upper[2] - lower[2]];
            // A difference of near-equal numbers: it may come out a hair below zero.
            error += (squares - 2.0 * level * sum + level * level * count).max(0.0);
            lower = upper;
        }
        error
    }
}

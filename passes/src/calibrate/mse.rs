//! The range with the least mean squared quantization error, relative to the power of the surrounding values.
//!
//! Each error is divided by the mean square of all channels at its position plus the mean square of the sample.
//! Otherwise the few samples and pixels with tenfold outliers (the last layers of MobileNets have them) would set the
//! range for everything, although the next activation clips these outliers. No position has more than twice the average
//! weight.
//!
//! A wider range increases the rounding error, and a narrower one the clipping error. Both are summed over the bins of
//! the histogram, at the midpoint of each bin, for the exact grid that scale and rounded zero point define. Zeros are
//! exact in every grid and do not count.

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

/// The observer that minimizes the relative mean squared error.
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

/// Prefix sums over a histogram's bins. The error of a grid then takes time proportional to its number of steps.
struct Moments {
    width: f64,
    first_bin: f64,
    /// `sums[i]` covers the bins before `i`: count, sum of midpoints, sum of squared midpoints. The unit of midpoints
    /// is the bin width.
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

    /// Returns the sums over the bins with midpoints below `place`, which is in bin widths.
    fn below(&self, place: f64) -> [f64; 3] {
        // The cast saturates, so `place` may lie outside the histogram.
        let bins = (place - 0.5 - self.first_bin).ceil() as usize;
        self.sums[bins.min(self.sums.len() - 1)]
    }

    /// Returns the sum of squared errors, in squared bin widths, of the grid of `steps` steps over `min..max`.
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
            // The first and last code also represent everything beyond them, which is clipped.
            let upper = if code == steps { self.below(f64::INFINITY) } else { self.below(level + 0.5 * step) };
            let [count, sum, squares] = [upper[0] - lower[0], upper[1] - lower[1], upper[2] - lower[2]];
            // The difference of nearly equal numbers can be slightly negative.
            error += (squares - 2.0 * level * sum + level * level * count).max(0.0);
            lower = upper;
        }
        error
    }
}

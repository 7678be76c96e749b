//! The range with the least Kullback-Leibler divergence between the original histogram and the quantized one.
//!
//! The method is TensorRT's (Migacz, "8-bit inference with TensorRT", GTC 2017). The reference distribution P is the
//! histogram, with everything beyond a candidate range moved into the edge bins. Q is the part inside the range,
//! averaged within each quantization step over the bins that P uses. The method is known to collapse to a very narrow
//! range. Four measures prevent that:
//!
//! - Zeros do not count, because every range represents them exactly. After a ReLU they would dominate.
//! - Averaging also removes sampling noise, which favours narrow ranges if the histogram is sparse. The divergence is
//!   corrected by half a count for each averaged bin (Miller 1955).
//! - The divergence does not measure how far a clipped value moves, and it barely changes if the edge bin is full. So
//!   at most [`MOST_CLIPPED`] of the values may be clipped.
//! - A quantization step is at least one bin wide. Below that, the divergence is not defined.

use eightfold_ir::quant::Symmetry;

use super::clip::least_cost;
use super::{Activations, Histogram, ObserveError, Observer, ObserverRow, Range, steps};

/// The greatest share of the nonzero values that may be clipped at both ends together.
const MOST_CLIPPED: f64 = 1e-3;

/// The row of the table.
pub(super) const ENTROPY: ObserverRow = ObserverRow {
    name: "entropy",
    summary: "the range whose 8-bit histogram diverges least (Kullback-Leibler) from the original",
    setting: None,
    new: |_| Box::new(Entropy::default()),
};

/// The observer that minimizes the Kullback-Leibler divergence.
#[derive(Debug, Default, Clone)]
pub struct Entropy {
    histogram: Histogram,
}

impl Observer for Entropy {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        self.histogram.observe(sample.values())
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let (min, max) = self.histogram.extremes()?;
        let full = Range::covering(min, max, symmetry);
        let mass = Mass::new(&self.histogram);
        Ok(least_cost(full, symmetry, |min, max| mass.divergence(min, max, steps(symmetry) + 1)))
    }
}

/// Prefix sums over a histogram's bins. The divergence of a range then takes time proportional to its number of codes.
struct Mass {
    width: f64,
    first_bin: f64,
    counts: Vec<f64>,
    /// `sums[i]` covers the bins before `i`: count, number of bins in use, sum of `count * ln(count)`.
    sums: Vec<[f64; 3]>,
}

impl Mass {
    fn new(histogram: &Histogram) -> Self {
        let (first_bin, counts) = histogram.bins();
        let mut sums = vec![[0.0; 3]];
        let mut sum = [0.0; 3];
        for &count in &counts {
            sum = [sum[0] + count, sum[1] + f64::from(count > 0.0), sum[2] + n_ln_n(count)];
            sums.push(sum);
        }
        Mass { width: histogram.width(), first_bin: first_bin as f64, counts, sums }
    }

    /// Returns the index in `counts` of the bin edge nearest to `value`, which may be outside the histogram.
    fn edge(&self, value: f64) -> i64 {
        (value / self.width).round() as i64 - self.first_bin as i64
    }

    fn below(&self, edge: i64) -> [f64; 3] {
        self.sums[edge.clamp(0, self.counts.len() as i64) as usize]
    }

    fn count(&self, bin: i64) -> f64 {
        usize::try_from(bin).ok().and_then(|bin| self.counts.get(bin)).copied().unwrap_or(0.0)
    }

    /// Returns the divergence of `codes` codes over `min..max`; infinity if the range is not allowed.
    fn divergence(&self, min: f64, max: f64, codes: u32) -> f64 {
        let total = self.sums[self.counts.len()][0];
        let (begin, end) = (self.edge(min), self.edge(max));
        let (below, above) = (self.below(begin)[0], total - self.below(end)[0]);
        let clipped = below + above;
        if clipped > 0.0 && (clipped > MOST_CLIPPED * total || end - begin < i64::from(codes)) {
            return f64::INFINITY;
        }
        let inside = total - clipped;
        // The sum of P ln P, in counts. The edge bins include the values moved into them.
        let (first, last) = (self.count(begin), self.count(end - 1));
        let reference = self.below(end)[2] - self.below(begin)[2] + n_ln_n(first + below) - n_ln_n(first)
            + n_ln_n(last + above)
            - n_ln_n(last);
        let mut cross = 0.0;
        let mut levelled = 0.0;
        let mut lower = self.below(begin);
        for code in 1..=i64::from(codes) {
            let upper = self.below(begin + (2 * code * (end - begin) + i64::from(codes)) / (2 * i64::from(codes)));
            let (mass, mut used) = (upper[0] - lower[0], upper[1] - lower[1]);
            lower = upper;
            let moved = f64::from(code == 1) * below + f64::from(code == i64::from(codes)) * above;
            if code == 1 && below > 0.0 && first == 0.0 {
                used += 1.0;
            }
            if code == i64::from(codes) && above > 0.0 && last == 0.0 {
                used += 1.0;
            }
            if mass > 0.0 {
                cross += (mass + moved) * libm::log(mass / used / inside);
                levelled += used - 1.0;
            } else if moved > 0.0 {
                return f64::INFINITY; // Q is zero where P is not.
            }
        }
        (reference - n_ln_n(total) - cross - levelled / 2.0) / total.max(1.0)
    }
}

/// Returns `count * ln(count)`, or its limit at 0. Uses libm instead of the host's logarithm, so that every host finds
/// the same range.
fn n_ln_n(count: f64) -> f64 {
    if count > 0.0 { count * libm::log(count) } else { 0.0 }
}

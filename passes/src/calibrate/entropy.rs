//! The range whose quantized histogram diverges least from the original, by Kullback and Leibler.
//!
//! As in TensorRT (Migacz, "8-bit inference with TensorRT", GTC 2017): the reference P is the histogram with everything
//! beyond a candidate range moved into its edge bins, and Q is the part inside, levelled off within each quantization
//! step over the bins that P uses. The known failures of the method, a range that collapses to a sliver of the data, are
//! met as follows.
//!
//! - Zeros, exact in every range, are left out: after a ReLU they would swamp everything else.
//! - Levelling off removes sampling noise too, which a sparse histogram rewards the narrower the range. That share, half
//!   a bin's worth for each bin levelled off (Miller 1955), is taken off again.
//! - The measure does not know how far away a clipped value lies, and where an edge bin is well filled it hardly sees the
//!   clipped ones at all. So at most [`MOST_CLIPPED`] of the values may go.
//! - A step is never narrower than a bin, below which nothing would be left to measure.

use eightfold_ir::quant::Symmetry;

use super::clip::least_cost;
use super::{Activations, Histogram, ObserveError, Observer, ObserverRow, Range, steps};

/// The largest share of the values other than zero that may be clipped, both ends together.
const MOST_CLIPPED: f64 = 1e-3;

/// The row of the table.
pub(super) const ENTROPY: ObserverRow = ObserverRow {
    name: "entropy",
    summary: "the range whose 8-bit histogram diverges least (Kullback-Leibler) from the original",
    setting: None,
    new: |_| Box::new(Entropy::default()),
};

/// The range with the least Kullback-Leibler divergence.
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

/// Running sums over a histogram's bins, from which the divergence of any range follows in a time set by its codes.
struct Mass {
    width: f64,
    first_bin: f64,
    counts: Vec<f64>,
    /// `sums[i]` = over bins before `i`: count, number of bins in use, and sum of count * ln(count).
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

    /// The position in `counts` of the bin edge nearest to `value`; may lie outside.
    fn edge(&self, value: f64) -> i64 {
        (value / self.width).round() as i64 - self.first_bin as i64
    }

    fn below(&self, edge: i64) -> [f64; 3] {
        self.sums[edge.clamp(0, self.counts.len() as i64) as usize]
    }

    fn count(&self, bin: i64) -> f64 {
        usize::try_from(bin).ok().and_then(|bin| self.counts.get(bin)).copied().unwrap_or(0.0)
    }

    /// The divergence of `codes` codes over `min..max`; infinite for a range that is out of the question.
    fn divergence(&self, min: f64, max: f64, codes: u32) -> f64 {
        let total = self.sums[self.counts.len()][0];
        let (begin, end) = (self.edge(min), self.edge(max));
        let (below, above) = (self.below(begin)[0], total - self.below(end)[0]);
        let clipped = below + above;
        if clipped > 0.0 && (clipped > MOST_CLIPPED * total || end - begin < i64::from(codes)) {
            return f64::INFINITY;
        }
        let inside = total - clipped;
        // Sum of P ln P, in counts: the edge bins with what was moved into them, the others as they are.
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

/// `count * ln(count)`, and its limit at 0. The logarithm is not the host's, so that every host finds the same range.
fn n_ln_n(count: f64) -> f64 {
    if count > 0.0 { count * libm::log(count) } else { 0.0 }
}

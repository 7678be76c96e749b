//! All but the outermost values.
//!
//! Of the share that is cut off, half goes at either end (one-sided data too: a ReLU's lower end is zero whatever is
//! cut there), or all of it from the largest magnitudes where the range is symmetric.

use eightfold_ir::quant::Symmetry;

use super::{Activations, Histogram, ObserveError, Observer, ObserverRow, Range, Setting};

/// The row of the table. The default is ONNX Runtime's.
pub(super) const PERCENTILE: ObserverRow = ObserverRow {
    name: "percentile",
    summary: "all but the outermost values, the same share at both ends",
    setting: Some(Setting {
        name: "percentile",
        summary: "the percentage of values kept",
        expected: "above 0 and at most 100",
        accepts: |percentage| percentage > 0.0 && percentage <= 100.0,
        default: 99.999,
    }),
    new: |percentage| Box::new(Percentile::new(percentage)),
};

/// The given percentage of the values, outermost ones left out.
#[derive(Debug, Clone)]
pub struct Percentile {
    kept: f64,
    histogram: Histogram,
}

impl Percentile {
    /// An observer that keeps `percentage` % of the values.
    pub fn new(percentage: f64) -> Self {
        Percentile { kept: percentage / 100.0, histogram: Histogram::default() }
    }
}

impl Observer for Percentile {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        self.histogram.observe(sample.values())
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let (min, max) = match symmetry {
            Symmetry::Affine => {
                let cut = (1.0 - self.kept) / 2.0;
                (self.histogram.quantile(cut)?, self.histogram.quantile(1.0 - cut)?)
            }
            Symmetry::Symmetric => {
                let magnitude = self.histogram.magnitude_quantile(self.kept)?;
                (-magnitude, magnitude)
            }
        };
        Ok(Range::covering(min as f32, max as f32, symmetry))
    }
}

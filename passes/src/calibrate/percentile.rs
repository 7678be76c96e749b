//! The range that leaves out a fixed share of outliers.
//!
//! An affine range leaves out half of the share at each end, even for one-sided data: the lower end of a ReLU's output
//! is zero anyway. A symmetric range leaves out the largest magnitudes.

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

/// The observer that keeps a given percentage of the values.
#[derive(Debug, Clone)]
pub struct Percentile {
    kept: f64,
    histogram: Histogram,
}

impl Percentile {
    /// Creates an observer that keeps `percentage` % of the values.
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

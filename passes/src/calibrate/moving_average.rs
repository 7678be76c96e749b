//! The exponential moving average of the extremes of each sample: `average = momentum * average + (1 - momentum) *
//! new`.
//!
//! A rare outlier moves the range only a little, and no histogram is needed. Each call of `observe` is one sample. The
//! result depends on the division into samples and on their order, because later samples weigh more.
//!
//! The default momentum is 0.9, as in MQBench and Sparsebit: after 128 samples, the first has the weight 10^-6.
//! PyTorch's 0.99 is meant for training runs: after 128 samples, the first would still have a weight of 28 %.

use eightfold_ir::quant::Symmetry;

use super::{Activations, ObserveError, Observer, ObserverRow, Range, Setting, extremes};

/// The row of the table.
pub(super) const MOVING_AVERAGE: ObserverRow = ObserverRow {
    name: "moving-average",
    summary: "each sample's smallest and largest value, averaged exponentially over the samples",
    setting: Some(Setting {
        name: "momentum",
        summary: "the weight of the past against one new sample",
        expected: "at least 0 and below 1",
        accepts: |momentum| (0.0..1.0).contains(&(momentum as f32)),
        default: 0.9,
    }),
    new: |momentum| Box::new(MovingAverage::new(momentum as f32)),
};

/// The observer that averages the extremes of each sample exponentially.
#[derive(Debug, Clone)]
pub struct MovingAverage {
    momentum: f64,
    // f64, so that the average of equal extremes does not drift.
    average: Option<(f64, f64)>,
}

impl MovingAverage {
    /// Creates an average in which the old value has the weight `momentum`. The first sample initializes it.
    pub fn new(momentum: f32) -> Self {
        MovingAverage { momentum: momentum.into(), average: None }
    }
}

impl Observer for MovingAverage {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        if let Some((min, max)) = extremes(sample.values())? {
            let (min, max) = (f64::from(min), f64::from(max));
            self.average = Some(match self.average {
                None => (min, max),
                Some((average_min, average_max)) => (
                    average_min + (1.0 - self.momentum) * (min - average_min),
                    average_max + (1.0 - self.momentum) * (max - average_max),
                ),
            });
        }
        Ok(())
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let (min, max) = self.average.ok_or(ObserveError::Empty)?;
        Ok(Range::covering(min as f32, max as f32, symmetry))
    }
}

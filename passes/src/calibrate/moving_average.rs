//! The extremes of each sample, averaged exponentially: `average = momentum * average + (1 - momentum) * new`.
//!
//! A rare outlier moves the range a little only, and no histogram is needed. One `observe` is one sample, so the
//! result depends on how the data is cut into samples and, since the last ones weigh most, on their order.
//!
//! The default momentum is 0.9, MQBench's and Sparsebit's: after 128 samples the first weighs 10^-6. PyTorch's 0.99 is
//! made for training runs; after 128 samples the first would still weigh 28 %.

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

/// Each sample's smallest and largest value, averaged exponentially over the samples.
#[derive(Debug, Clone)]
pub struct MovingAverage {
    momentum: f64,
    // In f64, lest the average of equal extremes drift off them.
    average: Option<(f64, f64)>,
}

impl MovingAverage {
    /// An average in which the past weighs `momentum` against one new sample; the first sample starts it.
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

//! Mean plus and minus k standard deviations: `[mean - k sigma, mean + k sigma]`, within the values seen.
//!
//! Distiller's clipping mode N_STD ("average plus N standard deviations"). Only two moments are kept, so the range needs no
//! histogram, and one outlier moves it by about `k |outlier| / sqrt(count)`.
//!
//! The default k is 6. For 8 bits and a Gaussian with mean 0 and deviation s, the range with the least squared error ends at
//! 3.92 s (Banner et al., "Post training 4-bit quantization of convolutional networks", 2019). After a ReLU, mean and
//! deviation of that Gaussian are 0.399 s and 0.584 s, and `(3.92 - 0.399) / 0.584 = 6.03`.

use eightfold_ir::quant::Symmetry;

use super::{Activations, ObserveError, Observer, ObserverRow, Range, Setting, extremes};

/// The row of the table.
pub(super) const STD_DEV: ObserverRow = ObserverRow {
    name: "std-dev",
    summary: "mean plus and minus some standard deviations, at most the smallest and the largest value seen",
    setting: Some(Setting {
        name: "deviations",
        summary: "the number of standard deviations on either side of the mean",
        expected: "above 0 and finite",
        accepts: |deviations| deviations > 0.0 && deviations.is_finite(),
        default: 6.0,
    }),
    new: |deviations| Box::new(StdDev::new(deviations)),
};

/// Mean plus and minus some standard deviations.
#[derive(Debug, Clone)]
pub struct StdDev {
    deviations: f64,
    seen: Option<Seen>,
}

/// Extremes and moments of the values seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    min: f32,
    max: f32,
    count: f64,
    mean: f64,
    /// The sum of squared distances from the mean.
    squares: f64,
}

impl StdDev {
    /// An observer whose range ends `deviations` standard deviations from the mean.
    pub fn new(deviations: f64) -> Self {
        StdDev { deviations, seen: None }
    }
}

impl Seen {
    /// The moments of both sets together (Chan, Golub and LeVeque, 1979). Nothing cancels, even if the mean is large
    /// against the deviation.
    fn and(self, other: Seen) -> Seen {
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        Seen {
            min: self.min.min(other.min),
            max: self.max.max(other.max),
            count,
            mean: self.mean + distance * (other.count / count),
            squares: self.squares + other.squares + distance * distance * (self.count * other.count / count),
        }
    }
}

impl Observer for StdDev {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        let Some((min, max)) = extremes(sample.values())? else { return Ok(()) };
        let values = || sample.values().iter().map(|value| f64::from(*value));
        let count = sample.values().len() as f64;
        let mean = values().sum::<f64>() / count;
        let squares = values().map(|value| (value - mean) * (value - mean)).sum();
        let sample = Seen { min, max, count, mean, squares };
        self.seen = Some(self.seen.map_or(sample, |seen| seen.and(sample)));
        Ok(())
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let Seen { min, max, count, mean, squares } = self.seen.ok_or(ObserveError::Empty)?;
        let reach = self.deviations * (squares / count).sqrt();
        let (low, high) = ((mean - reach) as f32, (mean + reach) as f32);
        Ok(Range::covering(min.max(low), max.min(high), symmetry))
    }
}

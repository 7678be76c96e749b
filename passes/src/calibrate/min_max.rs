//! The range from the smallest to the largest value.
//!
//! Nothing is clipped, so one outlier among millions of values determines the quantization step.

use eightfold_ir::quant::Symmetry;

use super::{Activations, ObserveError, Observer, ObserverRow, Range, extremes};

/// The row of the table.
pub(super) const MINMAX: ObserverRow = ObserverRow {
    name: "minmax",
    summary: "the smallest and the largest value seen",
    setting: None,
    new: |_| Box::new(MinMax::default()),
};

/// The observer that keeps the smallest and the largest value.
#[derive(Debug, Default, Clone)]
pub struct MinMax {
    seen: Option<(f32, f32)>,
}

impl Observer for MinMax {
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError> {
        if let Some((min, max)) = extremes(sample.values())? {
            let (lowest, highest) = self.seen.unwrap_or((min, max));
            self.seen = Some((lowest.min(min), highest.max(max)));
        }
        Ok(())
    }

    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError> {
        let (min, max) = self.seen.ok_or(ObserveError::Empty)?;
        Ok(Range::covering(min, max, symmetry))
    }
}

//! The search for the range with the least cost, used by the entropy and MSE observers.
//!
//! The search first tries ranges from the full range downwards in equal ratios, because outliers can be thousands of
//! times larger than the values that matter. It then searches in finer steps around the best candidate. If the data has
//! both signs, the two ends first shrink together and then alternately. Among equal costs, the widest range wins.

use eightfold_ir::quant::Symmetry;

use super::Range;

/// The ratio of neighbouring candidates: `2^(-1/16)`, 4.2 % apart. It is a literal because `exp2` differs between
/// hosts.
const COARSE: f64 = 0.957_603_280_698_573_6;
/// The ends shrink to 1/1024 at most. Below that, the histogram has too few bins to distinguish candidates.
const COARSE_STEPS: i32 = 160;
/// The ratio of candidates around the best coarse one: `2^(-1/256)`, 0.27 % apart.
const FINE: f64 = 0.997_296_056_085_470_1;
const FINE_STEPS: i32 = 16;
/// The number of times that the ends shrink alternately. They converge in two or three.
const TURNS: usize = 4;

/// Returns the range within `full` with the least `cost(min, max)`. A cost may be infinite but not NaN.
pub(super) fn least_cost(full: Range, symmetry: Symmetry, cost: impl Fn(f64, f64) -> f64) -> Range {
    let (full_min, full_max) = (f64::from(full.min), f64::from(full.max));
    let both = shrink(1.0, |ratio| cost(ratio * full_min, ratio * full_max));
    let (mut low, mut high) = (both, both);
    if symmetry == Symmetry::Affine && full.min < 0.0 && full.max > 0.0 {
        for _ in 0..TURNS {
            let before = (low, high);
            high = shrink(high, |ratio| cost(low * full_min, ratio * full_max));
            low = shrink(low, |ratio| cost(ratio * full_min, high * full_max));
            if (low, high) == before {
                break;
            }
        }
    }
    Range::covering((low * full_min) as f32, (high * full_max) as f32, symmetry)
}

/// Returns the ratio, at most 1, with the least `cost`, or `current` if no other ratio costs less.
fn shrink(current: f64, cost: impl Fn(f64) -> f64) -> f64 {
    let mut best = (cost(current), current);
    let mut try_ratio = |ratio: f64| {
        let candidate = cost(ratio);
        if candidate < best.0 {
            best = (candidate, ratio);
        }
        best.1
    };
    let mut ratio = 1.0;
    let mut coarse = current;
    for _ in 0..=COARSE_STEPS {
        coarse = try_ratio(ratio);
        ratio *= COARSE;
    }
    let mut fine = coarse;
    let (mut wider, mut narrower) = (coarse, coarse);
    for _ in 1..FINE_STEPS {
        (wider, narrower) = (wider / FINE, narrower * FINE);
        try_ratio(wider.min(1.0));
        fine = try_ratio(narrower);
    }
    fine
}

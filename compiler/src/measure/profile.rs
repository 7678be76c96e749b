//! Where the time of a model goes: each call timed in its place, beside the least time that it takes.

use std::time::Duration;

use eightfold_codegen::compile::CompileError;
use eightfold_codegen::llvm::profile as timing;
use serde::Serialize;

use super::machine::{Machine, runs_here};
use super::roofline::{Bound, Limit, bounds};
use crate::error::Error;
use crate::stages::optimize::Optimized;

/// A call with its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// The call, and the least time that it takes.
    #[serde(flatten)]
    pub bound: Bound,
    /// The least time, in milliseconds.
    pub bound_ms: f64,
    /// The median of its times, in milliseconds.
    pub median_ms: f64,
    /// The shortest of them.
    pub min_ms: f64,
    /// Its share of the time of all calls, 0 to 1.
    pub share: f64,
    /// Products in its time against those that the machine does at most, 0 to 1; `None` without products.
    pub share_of_peak: Option<f64>,
    /// Where its time went.
    pub limit: Limit,
}

/// A model's calls with their times.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// In the order in which they run.
    pub calls: Vec<Timed>,
    /// The median time of all calls in a row, without a clock between them, in milliseconds.
    pub total_ms: f64,
    /// The shortest of these times; well below the median on a machine that does other things, too.
    pub total_min_ms: f64,
    /// How often each was run.
    pub runs: usize,
}

impl Profile {
    /// The sum of the calls' medians, in milliseconds.
    #[must_use]
    pub fn calls_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.median_ms).sum()
    }

    /// The sum of the least times, in milliseconds.
    #[must_use]
    pub fn bound_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.bound_ms).sum()
    }

    /// Products of one inference.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.calls.iter().map(|call| call.bound.macs).sum()
    }

    /// Milliseconds that the products alone take at the machine's peak.
    #[must_use]
    pub fn compute_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.bound.compute_ms).sum()
    }
}

/// Times an optimized graph's calls for about `duration`; inputs are zeros, as what calls do depends on shapes.
///
/// # Errors
/// An operator has no kernel, the target does not run here, or the machine's peaks are those of another target.
pub fn profile(optimized: &Optimized, machine: &Machine, duration: Duration) -> Result<Profile, Error> {
    runs_here(optimized.target)?;
    let program = optimized.program(1)?;
    let bounds = bounds(&program, machine)?;
    let times = timing::profile(&program, duration).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
    let ms = |time: Duration| 1e3 * time.as_secs_f64();
    let sum: f64 = times.calls.iter().map(|times| ms(times.median())).sum::<f64>().max(f64::MIN_POSITIVE);
    let timed = |(bound, times): (Bound, &timing::Times)| {
        let median_ms = ms(times.median());
        Timed {
            bound_ms: bound.ms(),
            median_ms,
            min_ms: ms(times.least()),
            share: median_ms / sum,
            share_of_peak: (bound.macs > 0).then(|| bound.compute_ms / median_ms),
            limit: bound.limit_of(median_ms),
            bound,
        }
    };
    let calls = bounds.into_iter().zip(&times.calls).map(timed).collect();
    Ok(Profile {
        calls,
        total_ms: ms(times.whole.median()),
        total_min_ms: ms(times.whole.least()),
        runs: times.whole.runs(),
    })
}

//! Profile of a model: the time of each call in place, beside its bound.

use std::time::Duration;

use eightfold_codegen::llvm::artifact::CompileError;
use eightfold_codegen::llvm::profile as timing;
use serde::Serialize;

use super::machine::{MachinePeaks, runs_here};
use super::roofline::{Bound, Limit, bounds};
use crate::error::Error;
use crate::stages::optimize::Optimized;

/// A call with its time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimedCall {
    /// The call and its bound.
    #[serde(flatten)]
    pub bound: Bound,
    /// Its bound, in milliseconds.
    pub bound_ms: f64,
    /// Median time, in milliseconds.
    pub median_ms: f64,
    /// Minimum time, in milliseconds.
    pub min_ms: f64,
    /// Fraction of the time of all calls, 0 to 1.
    pub share: f64,
    /// Fraction of the peak multiply-accumulate rate, 0 to 1; `None` without multiply-accumulates.
    pub share_of_peak: Option<f64>,
    /// What limits it.
    pub limit: Limit,
}

/// The calls of a model with their times.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// In execution order.
    pub calls: Vec<TimedCall>,
    /// Median time of a whole inference, measured without reading the clock between calls, in milliseconds.
    pub total_ms: f64,
    /// Minimum of these times; well below the median on a busy machine.
    pub total_min_ms: f64,
    /// The number of runs.
    pub runs: usize,
}

impl Profile {
    /// Sum of the calls' medians, in milliseconds.
    #[must_use]
    pub fn calls_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.median_ms).sum()
    }

    /// Sum of the calls' bounds, in milliseconds.
    #[must_use]
    pub fn bound_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.bound_ms).sum()
    }

    /// Multiply-accumulates per inference.
    #[must_use]
    pub fn macs(&self) -> u64 {
        self.calls.iter().map(|call| call.bound.macs).sum()
    }

    /// Milliseconds for the multiply-accumulates at the machine's peak.
    #[must_use]
    pub fn compute_ms(&self) -> f64 {
        self.calls.iter().map(|call| call.bound.compute_ms).sum()
    }
}

/// Times the calls of an optimized graph for about `duration`. Inputs are zeros, as the times depend on shapes only.
///
/// # Errors
/// If an operator has no kernel, the target does not run here, or the machine's peaks are for another target.
pub fn profile(optimized: &Optimized, machine: &MachinePeaks, duration: Duration) -> Result<Profile, Error> {
    runs_here(optimized.target)?;
    let program = optimized.program(1)?;
    let bounds = bounds(&program, machine)?;
    let times = timing::profile(&program, duration).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
    let ms = |time: Duration| 1e3 * time.as_secs_f64();
    let sum: f64 = times.calls.iter().map(|times| ms(times.median())).sum::<f64>().max(f64::MIN_POSITIVE);
    let timed = |(bound, times): (Bound, &timing::Times)| {
        let median_ms = ms(times.median());
        TimedCall {
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

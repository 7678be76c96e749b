//! Targets by name, and the pass options that depend on the target.

use eightfold_codegen::target::{TARGETS, Target};
use eightfold_passes::PairSums;

use crate::error::Error;

/// The target of this name; `native` is the best that this machine supports.
///
/// # Errors
/// [`Error::UnknownTarget`] or [`Error::NoNativeTarget`], with the names of the targets.
pub fn target(name: &str) -> Result<&'static Target, Error> {
    let expected = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    match name {
        "native" => Target::native().ok_or_else(|| Error::NoNativeTarget { expected: expected() }),
        _ => Target::find(name).ok_or_else(|| Error::UnknownTarget { got: name.to_owned(), expected: expected() }),
    }
}

/// The target for calibration: the oldest one with fused multiply-add, which nearly every machine supports, so that all
/// machines compute the same ranges. Machines without it use their native target.
///
/// # Errors
/// [`Error::NoNativeTarget`].
/// [`Error::NoNativeTarget`].
pub(crate) fn baseline() -> Result<&'static Target, Error> {
    match TARGETS.iter().find(|target| target.fma) {
        Some(oldest) if oldest.runs_here() => Ok(oldest),
        _ => target("native"),
    }
}

/// How the target adds products in 16 bits, for the pass that orders channels; `None` if it does not.
#[must_use]
pub fn pair_sums(target: &Target) -> Option<PairSums> {
    target.dot.pair_limit.map(|limit| PairSums { limit, lanes: target.lanes() })
}

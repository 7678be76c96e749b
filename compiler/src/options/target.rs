//! Targets by name, and the pass options that depend on the target.

use eightfold_codegen::target::{InputSigns, TARGETS, Target};
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
pub(crate) fn baseline() -> Result<&'static Target, Error> {
    match TARGETS.iter().find(|target| target.fma && target.arch.is_host()) {
        Some(oldest) if oldest.runs_here() => Ok(oldest),
        _ => target("native"),
    }
}

/// How the target adds products in 16 bits, for the pass that orders channels; `None` if it does not, or if no order helps:
/// the limit for signed inputs holds for nearly all weights.
#[must_use]
pub fn pair_sums(target: &Target) -> Option<PairSums> {
    let limit = target.dot.pair_limit.filter(|_| target.dot.inputs == InputSigns::Unsigned)?;
    Some(PairSums { limit, lanes: target.lanes() })
}

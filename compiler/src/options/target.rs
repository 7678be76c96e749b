//! The target that code is made for, by name, and what the passes are told about it.

use eightfold_codegen::target::{TARGETS, Target};
use eightfold_passes::PairSums;

use crate::error::Error;

/// The target of this name; `native` is the best that this machine can run.
///
/// # Errors
/// [`Error::UnknownTarget`] and [`Error::NoNativeTarget`] list the names there are.
pub fn target(name: &str) -> Result<&'static Target, Error> {
    let expected = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    match name {
        "native" => Target::native().ok_or_else(|| Error::NoNativeTarget { expected: expected() }),
        _ => Target::find(name).ok_or_else(|| Error::UnknownTarget { got: name.to_owned(), expected: expected() }),
    }
}

/// The target that floats are observed with: the oldest one with a fused multiply-add, which nearly every machine runs,
/// so that the same numbers come out everywhere; what the machine has where it does not.
///
/// # Errors
/// [`Error::NoNativeTarget`].
pub(crate) fn baseline() -> Result<&'static Target, Error> {
    match TARGETS.iter().find(|target| target.fma) {
        Some(oldest) if oldest.runs_here() => Ok(oldest),
        _ => target("native"),
    }
}

/// How the target adds products in 16 bits, for the pass that orders channels for it; `None` if it does not.
#[must_use]
pub fn pair_sums(target: &Target) -> Option<PairSums> {
    target.dot.pair_limit().map(|limit| PairSums { limit, lanes: target.lanes() })
}

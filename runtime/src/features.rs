//! CPU features as bits: one table for the descriptors of variants, for detection and for the compiler's targets.
//!
//! Each architecture has a file with its table and its detection. Bits of different architectures share words; the
//! artifact's machine type says which table applies. On an architecture without a file, [`detect`] finds nothing.
//!
//! Invariant: the meaning of a released bit never changes, and new features are appended. Features that every CPU of the
//! architecture has (SSE2 on x86-64) have no bit.

mod set;
mod x86;

pub use set::FeatureSet;
#[cfg(target_arch = "x86_64")]
pub use x86::detect;
pub use x86::{Feature, X86_FEATURES};

impl FeatureSet {
    /// Returns the set of the features with these names.
    ///
    /// # Errors
    /// The first name that [`X86_FEATURES`] does not have.
    pub fn from_names<'a>(names: &[&'a str]) -> Result<FeatureSet, &'a str> {
        names.iter().try_fold(FeatureSet::EMPTY, |set, &name| {
            X86_FEATURES.iter().find(|feature| feature.name == name).map(|feature| set.with(feature.bit)).ok_or(name)
        })
    }

    /// Returns LLVM's names of the features, in the order of their bits. Bits without a row are left out.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        X86_FEATURES
            .iter()
            .filter(move |feature| self.contains(FeatureSet::EMPTY.with(feature.bit)))
            .map(|feature| feature.name)
    }
}

/// Returns the features of this CPU: none, because this architecture has no table.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn detect() -> FeatureSet {
    FeatureSet::EMPTY
}

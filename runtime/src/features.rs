//! CPU features as bits: one table per architecture, for the descriptors of variants, for detection and for the
//! compiler's targets.
//!
//! Each architecture has a file with its table and its detection. Bits of different architectures share words; the
//! artifact's machine type says which table applies. On an architecture without a file, [`detect`] finds nothing.
//!
//! Invariant: the meaning of a released bit never changes, and new features are appended. Features that every CPU of the
//! architecture has (SSE2 on x86-64, NEON on aarch64) have no bit.

mod aarch64;
mod feature;
mod set;
mod x86;

pub use aarch64::AARCH64_FEATURES;
pub use feature::{Capabilities, Feature, Register, Report, State};
pub use set::FeatureSet;
pub use x86::X86_FEATURES;

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub use aarch64::detect;
#[cfg(target_arch = "x86_64")]
pub use x86::detect;

/// The table of this architecture.
pub const HOST_FEATURES: &[Feature] = if cfg!(target_arch = "x86_64") {
    X86_FEATURES
} else if cfg!(target_arch = "aarch64") {
    AARCH64_FEATURES
} else {
    &[]
};

impl FeatureSet {
    /// Returns the set of the features with these names in `table`.
    ///
    /// # Errors
    /// The first name that the table does not have.
    pub fn from_names<'a>(table: &[Feature], names: &[&'a str]) -> Result<FeatureSet, &'a str> {
        names.iter().try_fold(FeatureSet::EMPTY, |set, &name| {
            table.iter().find(|feature| feature.name == name).map(|feature| set.with(feature.bit)).ok_or(name)
        })
    }

    /// Returns LLVM's names of the features, in the order of their bits in `table`. Bits without a row are left out.
    pub fn names(self, table: &'static [Feature]) -> impl Iterator<Item = &'static str> {
        table
            .iter()
            .filter(move |feature| self.contains(FeatureSet::EMPTY.with(feature.bit)))
            .map(|feature| feature.name)
    }
}

/// Returns the features of this CPU: none, because this architecture has no detection.
#[cfg(not(any(target_arch = "x86_64", all(target_os = "linux", target_arch = "aarch64"))))]
#[must_use]
pub fn detect() -> FeatureSet {
    FeatureSet::EMPTY
}

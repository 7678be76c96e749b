//! The features of aarch64, and their detection by the hardware capabilities that Linux reports.

use super::feature::{Capabilities, Feature, Report};

const fn row(bit: u32, name: &'static str, word: Capabilities, shift: u32) -> Feature {
    Feature { name, bit, report: Report::Hwcap { word, shift } }
}

/// The features of aarch64 beyond its baseline. For the bits, see Linux's `Documentation/arch/arm64/elf_hwcaps.rst`.
pub const AARCH64_FEATURES: &[Feature] = &[
    row(0, "dotprod", Capabilities::First, 20),
    row(1, "i8mm", Capabilities::Second, 13),
    row(2, "bf16", Capabilities::Second, 14),
];

/// Returns the features that the CPU has and the operating system supports. Without a C library that has `getauxval`,
/// there are none.
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
#[must_use]
pub fn detect() -> super::set::FeatureSet {
    use super::set::FeatureSet;
    type GetAuxval = unsafe extern "C" fn(usize) -> usize;

    let address = crate::linux::getauxval();
    if address == 0 {
        return FeatureSet::EMPTY;
    }
    // SAFETY: this is the address of the C library's `getauxval`, which has this type.
    let getauxval = unsafe { core::mem::transmute::<usize, GetAuxval>(address) };
    // SAFETY: every number is allowed; unknown ones give 0.
    let ask = |word: Capabilities| unsafe { getauxval(word as usize) };
    let (first, second) = (ask(Capabilities::First), ask(Capabilities::Second));
    AARCH64_FEATURES.iter().fold(FeatureSet::EMPTY, |set, feature| {
        let Report::Hwcap { word, shift } = feature.report else { return set };
        let word = match word {
            Capabilities::First => first,
            Capabilities::Second => second,
        };
        if word >> shift & 1 != 0 { set.with(feature.bit) } else { set }
    })
}

//! Targets: what machine code is made for. A target is an explicit set of CPU features, so bytes do not depend on the host.

use eightfold_runtime::features::{FeatureSet, detect};

/// How products of 8-bit integers are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dot {
    /// `vpmaddubsw`, `vpmaddwd` by ones, `vpaddd`: exact when the packed weights keep each same-sign pair within 128.
    Maddubs,
    /// `vpdpbusd`: exact for all weights.
    Vpdpbusd,
}

/// A set of CPU features with the choices that follow from it.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// What it stands for, for lists.
    pub summary: &'static str,
    /// The CPU whose scheduling model LLVM goes by; features come from `features` alone.
    pub cpu: &'static str,
    /// LLVM names of the features that code may use.
    pub features: &'static [&'static str],
    /// Bits of a vector register.
    pub vector_bits: usize,
    /// Vector registers.
    pub vector_registers: usize,
    /// How 8-bit products are summed.
    pub dot: Dot,
    /// Whether `vpermi2b` looks up bytes.
    pub byte_permute: bool,
}

const V3: &[&str] = &[
    "sse3", "ssse3", "cx16", "sse4.1", "sse4.2", "popcnt", "sahf", "avx", "f16c", "fma", "movbe", "lzcnt", "bmi",
    "bmi2", "avx2",
];

const V4: &[&str] = &[
    "sse3", "ssse3", "cx16", "sse4.1", "sse4.2", "popcnt", "sahf", "avx", "f16c", "fma", "movbe", "lzcnt", "bmi",
    "bmi2", "avx2", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl",
];

const V4_VNNI: &[&str] = &[
    "sse3",
    "ssse3",
    "cx16",
    "sse4.1",
    "sse4.2",
    "popcnt",
    "sahf",
    "avx",
    "f16c",
    "fma",
    "movbe",
    "lzcnt",
    "bmi",
    "bmi2",
    "avx2",
    "avx512f",
    "avx512cd",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512vnni",
];

const V4_VBMI: &[&str] = &[
    "sse3",
    "ssse3",
    "cx16",
    "sse4.1",
    "sse4.2",
    "popcnt",
    "sahf",
    "avx",
    "f16c",
    "fma",
    "movbe",
    "lzcnt",
    "bmi",
    "bmi2",
    "avx2",
    "avx512f",
    "avx512cd",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512vnni",
    "avx512vbmi",
];

/// All targets, each with all features of those before it; the last one that a CPU has is its best.
pub static TARGETS: &[Target] = &[
    Target {
        name: "x86-64-v3",
        summary: "AVX2 and FMA: Haswell, Zen",
        cpu: "haswell",
        features: V3,
        vector_bits: 256,
        vector_registers: 16,
        dot: Dot::Maddubs,
        byte_permute: false,
    },
    Target {
        name: "x86-64-v4",
        summary: "AVX-512: Skylake-X",
        cpu: "skylake-avx512",
        features: V4,
        vector_bits: 512,
        vector_registers: 32,
        dot: Dot::Maddubs,
        byte_permute: false,
    },
    Target {
        name: "x86-64-v4-vnni",
        summary: "AVX-512 with VNNI: Cascade Lake",
        cpu: "cascadelake",
        features: V4_VNNI,
        vector_bits: 512,
        vector_registers: 32,
        dot: Dot::Vpdpbusd,
        byte_permute: false,
    },
    Target {
        name: "x86-64-v4-vbmi",
        summary: "AVX-512 with VNNI and VBMI: Ice Lake, Zen 4",
        cpu: "icelake-server",
        features: V4_VBMI,
        vector_bits: 512,
        vector_registers: 32,
        dot: Dot::Vpdpbusd,
        byte_permute: true,
    },
];

impl Target {
    /// The target of this name; `None` for an unknown one. `native` is not a name here, see [`Target::native`].
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|t| t.name == name)
    }

    /// The best target that this machine can run, if any.
    #[must_use]
    pub fn native() -> Option<&'static Target> {
        TARGETS.iter().rev().find(|t| t.runs_here())
    }

    /// Whether this machine can run code for the target.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        detect().contains(self.feature_set())
    }

    /// The features as bits, for descriptors.
    #[must_use]
    pub fn feature_set(&self) -> FeatureSet {
        FeatureSet::from_names(self.features).expect("the table names known features only")
    }

    /// 32-bit lanes of a vector register.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.vector_bits / 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_has_the_features_of_those_before_it() {
        for pair in TARGETS.windows(2) {
            assert!(pair[1].feature_set().contains(pair[0].feature_set()), "{} after {}", pair[1].name, pair[0].name);
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for target in TARGETS {
            assert!(std::ptr::eq(Target::find(target.name).expect("listed"), target));
        }
        assert!(Target::find("pentium").is_none());
    }
}

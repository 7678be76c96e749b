//! The table of targets that machine code can be generated for.
//!
//! A target is an explicit set of CPU features, so generated code does not depend on the machine that compiles.

mod dot;

pub use dot::DotRule;
use eightfold_runtime::features::{FeatureSet, detect};

/// LLVM's name of the CPU for functions that run on every machine: the baseline of x86-64.
pub(crate) const BASELINE: &str = "x86-64";

/// The instruction set whose instructions kernels are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Plain LLVM IR, which every architecture has.
    Generic,
    /// SSE, AVX2, AVX-512.
    X86,
}

/// A set of CPU features, and the properties of kernels that follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// A short description for lists.
    pub summary: &'static str,
    /// The CPU whose scheduling model LLVM uses. It adds no features to `features`.
    pub cpu: &'static str,
    /// LLVM names of the features that code may use.
    pub features: &'static [&'static str],
    /// The instruction set that kernels are written in.
    pub instructions: InstructionSet,
    /// Bits of a vector register.
    pub vector_bits: usize,
    /// Number of vector registers.
    pub vector_registers: usize,
    /// How 8-bit products are summed.
    pub dot: DotRule,
    /// Whether there is a fused multiply-add. Without one, scalar functions compose it, and reductions of products
    /// round each product and each sum.
    pub fma: bool,
    /// Whether an instruction looks up bytes in a table of 128 bytes.
    pub byte_permute: bool,
    /// Whether an instruction accumulates products of bf16. Without one, bf16 is widened to f32.
    pub bf16: bool,
}

/// Concatenates two lists of names.
const fn joined<const A: usize, const B: usize, const N: usize>(
    first: [&'static str; A],
    more: [&'static str; B],
) -> [&'static str; N] {
    assert!(A + B == N, "N is the sum of both lengths");
    let mut all = [""; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { first[at] } else { more[at - A] };
        at += 1;
    }
    all
}

const V2: [&str; 7] = ["sse3", "ssse3", "cx16", "sse4.1", "sse4.2", "popcnt", "sahf"];
const V3: [&str; 15] = joined(V2, ["avx", "f16c", "fma", "movbe", "lzcnt", "bmi", "bmi2", "avx2"]);
const V3_VNNI: [&str; 16] = joined(V3, ["avxvnni"]);
const V4: [&str; 20] = joined(V3, ["avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"]);
const V4_VNNI: [&str; 21] = joined(V4, ["avx512vnni"]);
const V4_VBMI: [&str; 22] = joined(V4_VNNI, ["avx512vbmi"]);
const V4_BF16: [&str; 23] = joined(V4_VBMI, ["avx512bf16"]);

/// All targets, slower ones first. The best target of a CPU is the last one that it can run.
///
/// Each target has all features of the targets before it, except `avxvnni`: targets with 512 bits have `avx512vnni`
/// instead.
pub static TARGETS: &[Target] = &[
    Target {
        name: "generic",
        summary: "Any x86-64 CPU: plain LLVM vectors",
        cpu: "generic",
        features: &[],
        instructions: InstructionSet::Generic,
        vector_bits: 128,
        vector_registers: 16,
        dot: DotRule::WIDENED,
        fma: false,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v2",
        summary: "SSE4.2: Nehalem, Goldmont",
        cpu: "nehalem",
        features: &V2,
        instructions: InstructionSet::X86,
        vector_bits: 128,
        vector_registers: 16,
        dot: DotRule::PMADDUBSW,
        fma: false,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v3",
        summary: "AVX2 and FMA: Haswell, Zen",
        cpu: "haswell",
        features: &V3,
        instructions: InstructionSet::X86,
        vector_bits: 256,
        vector_registers: 16,
        dot: DotRule::PMADDUBSW,
        fma: true,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v3-vnni",
        summary: "AVX2 with AVX-VNNI: Alder Lake",
        cpu: "alderlake",
        features: &V3_VNNI,
        instructions: InstructionSet::X86,
        vector_bits: 256,
        vector_registers: 16,
        dot: DotRule::VPDPBUSD,
        fma: true,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v4",
        summary: "AVX-512: Skylake-X",
        cpu: "skylake-avx512",
        features: &V4,
        instructions: InstructionSet::X86,
        vector_bits: 512,
        vector_registers: 32,
        dot: DotRule::PMADDUBSW,
        fma: true,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v4-vnni",
        summary: "AVX-512 with VNNI: Cascade Lake",
        cpu: "cascadelake",
        features: &V4_VNNI,
        instructions: InstructionSet::X86,
        vector_bits: 512,
        vector_registers: 32,
        dot: DotRule::VPDPBUSD,
        fma: true,
        byte_permute: false,
        bf16: false,
    },
    Target {
        name: "x86-64-v4-vbmi",
        summary: "AVX-512 with VNNI and VBMI: Ice Lake",
        cpu: "icelake-server",
        features: &V4_VBMI,
        instructions: InstructionSet::X86,
        vector_bits: 512,
        vector_registers: 32,
        dot: DotRule::VPDPBUSD,
        fma: true,
        byte_permute: true,
        bf16: false,
    },
    Target {
        name: "x86-64-v4-bf16",
        summary: "AVX-512 with VNNI, VBMI and BF16: Sapphire Rapids, Zen 4",
        cpu: "sapphirerapids",
        features: &V4_BF16,
        instructions: InstructionSet::X86,
        vector_bits: 512,
        vector_registers: 32,
        dot: DotRule::VPDPBUSD,
        fma: true,
        byte_permute: true,
        bf16: true,
    },
];

impl Target {
    /// The target of this name; `None` if there is none. `native` is not a name of the table: see [`Target::native`].
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|t| t.name == name)
    }

    /// The best target that this machine can run, if any.
    #[must_use]
    pub fn native() -> Option<&'static Target> {
        TARGETS.iter().rev().find(|t| t.runs_here())
    }

    /// Whether this machine can run code for the target. All code is for x86-64 (`llvm/machine.rs`).
    #[must_use]
    pub fn runs_here(&self) -> bool {
        cfg!(target_arch = "x86_64") && detect().contains(self.feature_set())
    }

    /// The features as bits, for an artifact's descriptors.
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
    fn each_target_has_the_features_of_those_before_it_but_avxvnni() {
        let avxvnni = FeatureSet::from_names(&["avxvnni"]).expect("known");
        for (index, target) in TARGETS.iter().enumerate() {
            for earlier in &TARGETS[..index] {
                let missing = target.feature_set().missing(earlier.feature_set());
                assert!(avxvnni.contains(missing), "{} after {}", target.name, earlier.name);
            }
        }
    }

    #[test]
    fn facts_agree_with_features() {
        for target in TARGETS {
            let has = |name| target.features.contains(&name);
            let bits =
                [("avx512f", 512), ("avx2", 256)].iter().find(|(name, _)| has(name)).map_or(128, |(_, bits)| *bits);
            assert_eq!(target.vector_bits, bits, "{}", target.name);
            assert_eq!(target.fma, has("fma"), "{}", target.name);
            assert_eq!(target.byte_permute, has("avx512vbmi"), "{}", target.name);
            assert_eq!(target.bf16, has("avx512bf16"), "{}", target.name);
            let has_vnni = has("avxvnni") || has("avx512vnni");
            assert_eq!(target.dot == DotRule::VPDPBUSD, has_vnni, "{}", target.name);
            assert_eq!(target.dot == DotRule::PMADDUBSW, has("ssse3") && !has_vnni, "{}", target.name);
            assert_eq!(target.instructions == InstructionSet::X86, has("sse4.1"), "{}", target.name);
        }
    }

    /// The generic target runs on every x86-64 machine, and is chosen only if no other target runs there.
    #[test]
    fn the_generic_target_is_the_last_resort() {
        let generic = Target::find("generic").expect("listed");
        assert_eq!(generic.feature_set(), FeatureSet::EMPTY);
        assert_eq!(generic.runs_here(), cfg!(target_arch = "x86_64"));
        let others = TARGETS.iter().filter(|target| target.name != generic.name && target.runs_here());
        assert_eq!(Target::native().map(|target| target.name == generic.name), Some(others.count() == 0));
    }

    #[test]
    fn names_are_unique_and_found() {
        for target in TARGETS {
            assert!(std::ptr::eq(Target::find(target.name).expect("listed"), target));
        }
        assert!(Target::find("pentium").is_none());
    }
}

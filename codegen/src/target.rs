//! Targets: what machine code is made for. A target is an architecture with an explicit set of CPU features, so bytes do
//! not depend on the host.

mod arch;
mod dot;

pub use arch::{AARCH64, Arch, Emulator, X86_64};
pub use dot::{DotRule, InputSigns};
use eightfold_runtime::features::{FeatureSet, detect};

/// The instruction set whose instructions kernels are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstructionSet {
    /// Plain LLVM IR, which every architecture has.
    Generic,
    /// SSE, AVX2, AVX-512.
    X86,
    /// NEON and its extensions.
    Aarch64,
}

/// How the code of a target is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// All tests run its code where the CPU has the features. Nearly every CPU of the architecture has them.
    OnCpus,
    /// All tests run its code in QEMU, on machines of other architectures.
    InQemu,
    /// Whole models ran in an emulator, by hand (benches/notes/emulated-targets.md). All tests run its kernels with generic
    /// instructions.
    ByHand,
}

impl Tested {
    /// The text for lists.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Tested::OnCpus => "by all tests, on CPUs",
            Tested::InQemu => "by all tests, in QEMU",
            Tested::ByHand => "by hand, in an emulator; its kernels by all tests, with generic instructions",
        }
    }
}

/// A set of CPU features, and the properties of kernels that follow from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name on the command line.
    pub name: &'static str,
    /// A short description for lists.
    pub summary: &'static str,
    /// The architecture.
    pub arch: &'static Arch,
    /// How this project tests its code.
    pub tested: Tested,
    /// The CPU whose scheduling model LLVM goes by; features come from `features` alone.
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

const DOTPROD: [&str; 1] = ["dotprod"];
const I8MM: [&str; 2] = joined(DOTPROD, ["i8mm"]);
const BF16: [&str; 3] = joined(I8MM, ["bf16"]);

/// All targets, by architecture, slower ones first; the last one that a CPU has is its best.
///
/// Each has all features of those of its architecture before it, but for `avxvnni`: CPUs with 512 bits have `avx512vnni` in
/// its place.
pub static TARGETS: &[Target] = &[
    Target {
        name: "generic",
        summary: "Any x86-64 CPU: plain LLVM vectors",
        arch: &X86_64,
        tested: Tested::OnCpus,
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
        arch: &X86_64,
        tested: Tested::OnCpus,
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
        arch: &X86_64,
        tested: Tested::OnCpus,
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
        arch: &X86_64,
        tested: Tested::ByHand,
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
        arch: &X86_64,
        tested: Tested::ByHand,
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
        arch: &X86_64,
        tested: Tested::ByHand,
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
        arch: &X86_64,
        tested: Tested::ByHand,
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
        arch: &X86_64,
        tested: Tested::ByHand,
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
    Target {
        name: "aarch64",
        summary: "Any 64-bit Arm CPU: NEON",
        arch: &AARCH64,
        tested: Tested::InQemu,
        cpu: "cortex-a72",
        features: &[],
        instructions: InstructionSet::Aarch64,
        vector_bits: 128,
        vector_registers: 32,
        dot: DotRule::SMULL,
        fma: true,
        byte_permute: true,
        bf16: false,
    },
    Target {
        name: "aarch64-dotprod",
        summary: "Dot products of bytes: Cortex-A76, Neoverse N1, Apple M1",
        arch: &AARCH64,
        tested: Tested::InQemu,
        cpu: "neoverse-n1",
        features: &DOTPROD,
        instructions: InstructionSet::Aarch64,
        vector_bits: 128,
        vector_registers: 32,
        dot: DotRule::SDOT,
        fma: true,
        byte_permute: true,
        bf16: false,
    },
    Target {
        name: "aarch64-i8mm",
        summary: "Dot products of bytes of both signs: Armv8.6",
        arch: &AARCH64,
        tested: Tested::InQemu,
        cpu: "neoverse-n2",
        features: &I8MM,
        instructions: InstructionSet::Aarch64,
        vector_bits: 128,
        vector_registers: 32,
        dot: DotRule::USDOT,
        fma: true,
        byte_permute: true,
        bf16: false,
    },
    Target {
        name: "aarch64-bf16",
        summary: "I8MM with BF16: Neoverse V1 and N2, Apple M2",
        arch: &AARCH64,
        tested: Tested::InQemu,
        cpu: "neoverse-n2",
        features: &BF16,
        instructions: InstructionSet::Aarch64,
        vector_bits: 128,
        vector_registers: 32,
        dot: DotRule::USDOT,
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

    /// Whether this machine can run code for the target.
    #[must_use]
    pub fn runs_here(&self) -> bool {
        self.arch.is_host() && detect().contains(self.feature_set())
    }

    /// The features as bits, for an artifact's descriptors.
    #[must_use]
    pub fn feature_set(&self) -> FeatureSet {
        FeatureSet::from_names(self.arch.features, self.features).expect("the table names known features only")
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
        for (index, target) in TARGETS.iter().enumerate() {
            for earlier in TARGETS[..index].iter().filter(|earlier| earlier.arch == target.arch) {
                let missing = target.feature_set().missing(earlier.feature_set());
                let missing: Vec<&str> = missing.names(target.arch.features).collect();
                assert!(missing.iter().all(|name| *name == "avxvnni"), "{} after {}", target.name, earlier.name);
            }
        }
    }

    #[test]
    fn facts_agree_with_features() {
        for target in TARGETS.iter().filter(|target| target.arch == &X86_64) {
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
        for target in TARGETS.iter().filter(|target| target.arch == &AARCH64) {
            let has = |name| target.features.contains(&name);
            let rule = match (has("i8mm"), has("dotprod")) {
                (true, _) => DotRule::USDOT,
                (_, true) => DotRule::SDOT,
                _ => DotRule::SMULL,
            };
            assert_eq!((target.dot, target.bf16), (rule, has("bf16")), "{}", target.name);
            assert_eq!((target.vector_bits, target.fma, target.byte_permute), (128, true, true), "{}", target.name);
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

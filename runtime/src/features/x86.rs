//! The features of x86-64, and their detection by `cpuid`.

use super::feature::{Feature, Register, Report, State};

const fn row(
    bit: u32,
    name: &'static str,
    (leaf, subleaf): (u32, u32),
    register: Register,
    shift: u32,
    state: State,
) -> Feature {
    Feature { name, bit, report: Report::Cpuid { leaf, subleaf, register, shift, state } }
}

const BASIC: (u32, u32) = (1, 0);
const EXTENDED: (u32, u32) = (7, 0);
const EXTENDED_1: (u32, u32) = (7, 1);
const AMD: (u32, u32) = (0x8000_0001, 0);

/// The features of x86-64 beyond its baseline. For leaves and bits, see Intel's manual, volume 2, `CPUID`.
pub const X86_FEATURES: &[Feature] = &[
    row(0, "sse3", BASIC, Register::Ecx, 0, State::Base),
    row(1, "ssse3", BASIC, Register::Ecx, 9, State::Base),
    row(2, "cx16", BASIC, Register::Ecx, 13, State::Base),
    row(3, "sse4.1", BASIC, Register::Ecx, 19, State::Base),
    row(4, "sse4.2", BASIC, Register::Ecx, 20, State::Base),
    row(5, "popcnt", BASIC, Register::Ecx, 23, State::Base),
    row(6, "sahf", AMD, Register::Ecx, 0, State::Base),
    // OSXSAVE: the CPU has the feature, and the operating system has enabled it.
    row(7, "xsave", BASIC, Register::Ecx, 27, State::Base),
    row(8, "avx", BASIC, Register::Ecx, 28, State::Ymm),
    row(9, "f16c", BASIC, Register::Ecx, 29, State::Ymm),
    row(10, "fma", BASIC, Register::Ecx, 12, State::Ymm),
    row(11, "movbe", BASIC, Register::Ecx, 22, State::Base),
    row(12, "lzcnt", AMD, Register::Ecx, 5, State::Base),
    row(13, "bmi", EXTENDED, Register::Ebx, 3, State::Base),
    row(14, "bmi2", EXTENDED, Register::Ebx, 8, State::Base),
    row(15, "avx2", EXTENDED, Register::Ebx, 5, State::Ymm),
    row(16, "avx512f", EXTENDED, Register::Ebx, 16, State::Zmm),
    row(17, "avx512cd", EXTENDED, Register::Ebx, 28, State::Zmm),
    row(18, "avx512bw", EXTENDED, Register::Ebx, 30, State::Zmm),
    row(19, "avx512dq", EXTENDED, Register::Ebx, 17, State::Zmm),
    row(20, "avx512vl", EXTENDED, Register::Ebx, 31, State::Zmm),
    row(21, "avx512vnni", EXTENDED, Register::Ecx, 11, State::Zmm),
    row(22, "avx512vbmi", EXTENDED, Register::Ecx, 1, State::Zmm),
    row(23, "avxvnni", EXTENDED_1, Register::Eax, 4, State::Ymm),
    row(24, "avx512bf16", EXTENDED_1, Register::Eax, 5, State::Zmm),
];

/// Returns the features that the CPU has and the operating system supports.
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn detect() -> super::set::FeatureSet {
    use super::set::FeatureSet;
    use core::arch::x86_64::{__cpuid_count, _xgetbv, CpuidResult};

    /// Bit 27 of ECX in leaf 1: the program may execute `xgetbv`.
    const OSXSAVE: u32 = 1 << 27;

    // A function pointer, because `__cpuid_count` is safe in newer toolchains and unsafe in older ones.
    let cpuid: unsafe fn(u32, u32) -> CpuidResult = __cpuid_count;
    // SAFETY: every x86-64 CPU has `cpuid`, and every leaf is allowed.
    let ask = |(leaf, subleaf): (u32, u32)| unsafe { cpuid(leaf, subleaf) };
    const NONE: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };
    let last = ask((0, 0)).eax;
    let last_amd = ask((AMD.0 & 0x8000_0000, 0)).eax;
    // Each leaf is read once: under a hypervisor, `cpuid` takes as long as thousands of instructions.
    let basic = if last >= BASIC.0 { ask(BASIC) } else { NONE };
    let extended = if last >= EXTENDED.0 { ask(EXTENDED) } else { NONE };
    // EAX of leaf 7 is its last subleaf.
    let extended_1 = if extended.eax >= EXTENDED_1.1 { ask(EXTENDED_1) } else { NONE };
    let amd = if last_amd >= AMD.0 { ask(AMD) } else { NONE };

    let saved = if basic.ecx & OSXSAVE != 0 {
        // SAFETY: OSXSAVE guarantees that the instruction exists and that the operating system allows it.
        unsafe { _xgetbv(0) }
    } else {
        0
    };
    X86_FEATURES.iter().fold(FeatureSet::EMPTY, |set, feature| {
        let Report::Cpuid { leaf, subleaf, register, shift, state } = feature.report else { return set };
        let registers = match (leaf, subleaf) {
            BASIC => basic,
            EXTENDED => extended,
            EXTENDED_1 => extended_1,
            AMD => amd,
            _ => NONE,
        };
        let word = match register {
            Register::Eax => registers.eax,
            Register::Ebx => registers.ebx,
            Register::Ecx => registers.ecx,
        };
        let state = state as u64;
        if word >> shift & 1 != 0 && saved & state == state { set.with(feature.bit) } else { set }
    })
}

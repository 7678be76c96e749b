//! A CPU feature: its name, its bit, and who reports it.

/// A row of an architecture's table.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// LLVM's name of the feature.
    pub name: &'static str,
    /// Its number in a [`FeatureSet`](super::FeatureSet).
    pub bit: u32,
    /// Who reports it.
    pub report: Report,
}

/// How a program learns whether the CPU has a feature.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    /// The instruction `cpuid`.
    Cpuid {
        /// The leaf.
        leaf: u32,
        /// The subleaf.
        subleaf: u32,
        /// The register that has the bit.
        register: Register,
        /// The number of the bit.
        shift: u32,
        /// What the operating system must save.
        state: State,
    },
    /// Linux's hardware capabilities.
    Hwcap {
        /// The word that has the bit.
        word: Capabilities,
        /// The number of the bit.
        shift: u32,
    },
}

/// A register that `cpuid` writes.
#[derive(Clone, Copy, Debug)]
pub enum Register {
    /// EAX
    Eax,
    /// EBX
    Ebx,
    /// ECX
    Ecx,
}

/// The registers that the operating system must save (bits of XCR0) before a program may use a feature.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// General purpose and XMM registers, which every x86-64 system saves.
    Base = 0,
    /// XMM and the upper halves of YMM registers.
    Ymm = 0b0000_0110,
    /// XMM, YMM, mask and ZMM registers.
    Zmm = 0b1110_0110,
}

/// The word in which Linux reports a feature, by its number in the auxiliary vector.
#[derive(Clone, Copy, Debug)]
pub enum Capabilities {
    /// AT_HWCAP
    First = 16,
    /// AT_HWCAP2
    Second = 26,
}

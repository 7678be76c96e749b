//! Architectures: what all targets of one kind of processor have in common.

use eightfold_runtime::features::{AARCH64_FEATURES, Feature, X86_FEATURES};

/// An architecture.
#[derive(Debug)]
pub struct Arch {
    /// The name, as in [`std::env::consts::ARCH`].
    pub name: &'static str,
    /// The triple that code is made for.
    pub triple: &'static str,
    /// The CPU of functions without features of their own: the baseline of the architecture.
    pub baseline: &'static str,
    /// The table of its features.
    pub features: &'static [Feature],
    /// The machine type in ELF files.
    pub elf_machine: u16,
    /// The command that links for the architecture on machines of another one.
    pub linker: &'static str,
    /// Debian's package with that command.
    pub linker_package: &'static str,
    /// What runs programs of the architecture on machines of another one: for tests.
    pub emulator: Option<Emulator>,
}

/// An emulator of an architecture.
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    /// The command that runs a program.
    pub program: &'static str,
    /// Debian's package with that command.
    pub package: &'static str,
    /// The folder with the architecture's C library, which Debian's linker brings.
    pub sysroot: &'static str,
}

/// 64-bit x86.
pub static X86_64: Arch = Arch {
    name: "x86_64",
    triple: "x86_64-unknown-linux-gnu",
    baseline: "x86-64",
    features: X86_FEATURES,
    elf_machine: object::elf::EM_X86_64,
    linker: "x86_64-linux-gnu-gcc",
    linker_package: "gcc-x86-64-linux-gnu",
    emulator: None,
};

/// 64-bit Arm, little-endian.
pub static AARCH64: Arch = Arch {
    name: "aarch64",
    triple: "aarch64-unknown-linux-gnu",
    baseline: "generic",
    features: AARCH64_FEATURES,
    elf_machine: object::elf::EM_AARCH64,
    linker: "aarch64-linux-gnu-gcc",
    linker_package: "gcc-aarch64-linux-gnu",
    emulator: Some(Emulator { program: "qemu-aarch64", package: "qemu-user", sysroot: "/usr/aarch64-linux-gnu" }),
};

impl Arch {
    /// Whether this machine is of the architecture.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.name == std::env::consts::ARCH
    }
}

impl PartialEq for Arch {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Arch {}

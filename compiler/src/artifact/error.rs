//! Errors of artifacts and of their sessions.

use std::fmt;
use std::io;
use std::path::PathBuf;

use eightfold_runtime::status::Status;
use thiserror::Error;

/// Why an artifact cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The file does not exist or cannot be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no shared library, but for instance a model that has not been compiled.
    #[error("{} is no shared library", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// The file is incomplete: copy or compile it again.
    #[error("{} is truncated: expected at least {expected} bytes, got {got}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Length in bytes that its headers imply.
        expected: u64,
        /// Its length in bytes.
        got: u64,
    },
    /// The artifact is for another architecture.
    #[error("{} is code for {got}, this machine is {expected}", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// This machine's architecture.
        expected: &'static str,
        /// The architecture of the artifact.
        got: String,
    },
    /// A shared library that Eightfold did not make; none of its code has run.
    #[error("{} is a shared library, but no compiled eightfold model", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// An object file, which must be linked into a shared library before it can be loaded.
    #[error("{} is an object file of a compiled model; it must be linked into a shared library", path.display())]
    NotLinked {
        /// The file.
        path: PathBuf,
    },
    /// The artifact has another ABI version: compile the model again.
    #[error("{} has version {got} of the c interface, expected {expected}", path.display())]
    AbiVersion {
        /// The file.
        path: PathBuf,
        /// The ABI version of this program.
        expected: u32,
        /// The ABI version of the artifact.
        got: u32,
    },
    /// The contents of the file are inconsistent.
    #[error("{} is damaged: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The inconsistency.
        damage: Damage,
    },
    /// The dynamic loader rejects the file, for instance because of a missing symbol in a library that the user linked.
    #[error("cannot load {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// The loader's error.
        source: libloading::Error,
    },
    /// The CPU lacks features that every variant needs: compile for this CPU's target.
    #[error("this cpu can run none of the artifact's variants: {}", join(variants))]
    NoSupportedVariant {
        /// Each variant with the features that the CPU lacks.
        variants: Vec<UnsupportedVariant>,
    },
    /// The artifact has no variant of this index.
    #[error("expected a variant below {count}, got {index}")]
    NoSuchVariant {
        /// The requested index.
        index: usize,
        /// The number of variants.
        count: usize,
    },
    /// The runtime failed to create a session.
    #[error("cannot make a session of variant {target}: {status}")]
    Session {
        /// The variant's target.
        target: String,
        /// The runtime's status.
        status: Status,
    },
}

/// An inconsistency in an artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The ELF section headers or names.
    Sections,
    /// The note that identifies the file.
    Note,
    /// The query function that the note names is not exported, or returns null.
    Symbol,
    /// The bytes of the file have changed since it was written.
    Checksum,
    /// A struct is smaller than in this ABI version.
    StructSize,
    /// A required pointer is null.
    NullPointer,
    /// A name is not UTF-8.
    Text,
    /// An unknown element type.
    ElementType,
    /// A tensor's dims, size and quantization do not match.
    Tensor,
    /// A variant without an arena alignment, threads or code.
    Variant,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Damage::Sections => "its section headers cannot be read",
            Damage::Note => "its note cannot be read",
            Damage::Symbol => "it does not have the query function that its note names",
            Damage::Checksum => "its bytes have changed since it was written: copy or compile it again",
            Damage::StructSize => "a descriptor is too small",
            Damage::NullPointer => "a descriptor lacks a pointer",
            Damage::Text => "a name is no utf-8",
            Damage::ElementType => "a tensor has an unknown element type",
            Damage::Tensor => "a tensor's dims, size and quantization do not fit together",
            Damage::Variant => "a variant cannot be run at all",
        })
    }
}

/// A variant that this CPU does not support.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsupportedVariant {
    /// The variant's target.
    pub target: String,
    /// The named CPU features that are missing.
    pub missing: Vec<&'static str>,
}

fn join(variants: &[UnsupportedVariant]) -> String {
    let one = |variant: &UnsupportedVariant| match &variant.missing[..] {
        [] => format!("{} needs features unknown here", variant.target),
        missing => format!("{} needs {}", variant.target, missing.join(", ")),
    };
    variants.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why a run was refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Wrong number of inputs.
    #[error("expected {expected} inputs, got {got}")]
    InputCount {
        /// The number that the model has.
        expected: usize,
        /// The number given.
        got: usize,
    },
    /// Wrong number of outputs.
    #[error("expected {expected} outputs, got {got}")]
    OutputCount {
        /// The number that the model has.
        expected: usize,
        /// The number given.
        got: usize,
    },
    /// An input of the wrong size.
    #[error("input {tensor:?} ({shape}): expected {expected} bytes, got {got}")]
    InputSize {
        /// The input's name.
        tensor: String,
        /// Its dims and element type.
        shape: String,
        /// Expected size in bytes.
        expected: usize,
        /// Given size in bytes.
        got: usize,
    },
    /// An output buffer of the wrong size.
    #[error("output {tensor:?} ({shape}): expected {expected} bytes, got {got}")]
    OutputSize {
        /// The output's name.
        tensor: String,
        /// Its dims and element type.
        shape: String,
        /// Expected size in bytes.
        expected: usize,
        /// Given size in bytes.
        got: usize,
    },
    /// The artifact's code returned an error.
    #[error("the model did not run: {0}")]
    Status(Status),
}

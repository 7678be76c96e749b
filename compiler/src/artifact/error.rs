//! What can be wrong with an artifact, and with a call to one.

use std::fmt;
use std::io;
use std::path::PathBuf;

use eightfold_runtime::status::Status;
use thiserror::Error;

/// Why an artifact cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The file is not there, or may not be read.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is of another kind: a model that has not been compiled, say.
    #[error("{} is no shared library", path.display())]
    NotElf {
        /// The file.
        path: PathBuf,
    },
    /// The file was cut off: copy or compile it again.
    #[error("{} is truncated: expected at least {expected} bytes, got {got}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that its headers promise.
        expected: u64,
        /// Bytes that it has.
        got: u64,
    },
    /// The artifact was made for another kind of machine.
    #[error("{} is code for {got}, this machine is {expected}", path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// This machine's architecture.
        expected: &'static str,
        /// The file's.
        got: String,
    },
    /// A shared library that Eightfold did not make; none of its code was run.
    #[error("{} is a shared library, but no compiled eightfold model", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// An object file: it has to be linked into a shared library before it can be loaded.
    #[error("{} is an object file of a compiled model; it must be linked into a shared library", path.display())]
    NotLinked {
        /// The file.
        path: PathBuf,
    },
    /// The artifact was made by another version of Eightfold: compile the model again.
    #[error("{} has version {got} of the c interface, expected {expected}", path.display())]
    AbiVersion {
        /// The file.
        path: PathBuf,
        /// The version that this program speaks.
        expected: u32,
        /// The artifact's.
        got: u32,
    },
    /// Something in the file contradicts itself.
    #[error("{} is damaged: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// The system's loader refused the file: a missing symbol, say, in a library that the user linked.
    #[error("cannot load {}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
    /// The CPU lacks features that every variant needs: compile for its target.
    #[error("this cpu can run none of the artifact's variants: {}", join(variants))]
    NoSupportedVariant {
        /// Each variant and what it lacks.
        variants: Vec<Unsupported>,
    },
    /// A variant was asked for that the artifact does not have.
    #[error("expected a variant below {count}, got {index}")]
    NoSuchVariant {
        /// The variant that was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The runtime refused to make a session.
    #[error("cannot make a session of variant {target}: {status}")]
    Session {
        /// The variant's target.
        target: String,
        /// What the runtime says.
        status: Status,
    },
}

/// What contradicts itself in an artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The ELF section headers or names.
    Sections,
    /// The note that says what the file is.
    Note,
    /// The query function that the note names is not exported, or returns nothing.
    Symbol,
    /// Bytes have changed since the file was written.
    Checksum,
    /// A struct is smaller than this version's.
    StructSize,
    /// A pointer that must not be null is.
    NullPointer,
    /// A name is no UTF-8.
    Text,
    /// An element type without a meaning.
    ElementType,
    /// A tensor whose dims, size or quantization do not fit together.
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

/// A variant that this CPU cannot run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsupported {
    /// The variant's target.
    pub target: String,
    /// The named features that the CPU lacks.
    pub missing: Vec<&'static str>,
}

fn join(variants: &[Unsupported]) -> String {
    let one = |variant: &Unsupported| match &variant.missing[..] {
        [] => format!("{} needs features unknown here", variant.target),
        missing => format!("{} needs {}", variant.target, missing.join(", ")),
    };
    variants.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why a run did not happen.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Too many or too few inputs.
    #[error("expected {expected} inputs, got {got}")]
    InputCount {
        /// The model's.
        expected: usize,
        /// The caller's.
        got: usize,
    },
    /// Too many or too few outputs.
    #[error("expected {expected} outputs, got {got}")]
    OutputCount {
        /// The model's.
        expected: usize,
        /// The caller's.
        got: usize,
    },
    /// An input of the wrong size.
    #[error("input {tensor:?} ({shape}): expected {expected} bytes, got {got}")]
    InputSize {
        /// The input's name.
        tensor: String,
        /// Its dims and element type.
        shape: String,
        /// Bytes of the model's input.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// An output buffer of the wrong size.
    #[error("output {tensor:?} ({shape}): expected {expected} bytes, got {got}")]
    OutputSize {
        /// The output's name.
        tensor: String,
        /// Its dims and element type.
        shape: String,
        /// Bytes of the model's output.
        expected: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// The artifact's code gave up.
    #[error("the model did not run: {0}")]
    Status(Status),
}

//! From a graph to a scheduled program, and from programs to an object file: all that LLVM does, in one call.

use eightfold_ir::VerifiedGraph;

use crate::interface::{Interface, InterfaceError};
use crate::llvm::machine::MachineError;
use crate::llvm::program::emit_artifact;
use crate::lower::{LowerError, lower};
use crate::object::ObjectFile;
use crate::program::Scheduled;
use crate::schedule::{ScheduleContext, schedule};
use crate::target::Target;

/// Texts wanted besides the object file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listings {
    /// The assembly.
    pub assembly: bool,
    /// LLVM IR, as it goes into code generation.
    pub llvm_ir: bool,
}

/// What LLVM made.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// An object file for x86-64 ELF, complete in itself but for memcpy, memset and memmove.
    pub object: ObjectFile,
    /// The assembly, if it was asked for.
    pub assembly: Option<String>,
    /// LLVM IR, if it was asked for.
    pub llvm_ir: Option<String>,
}

/// Why there is no object file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The interface cannot be put into an artifact; mostly names, the user's fault.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The model's limit: code cannot reach all of its weights.
    #[error("the weights take {size} bytes, code reaches {} of them", CompileError::REACH)]
    TooLarge {
        /// Bytes of all constants.
        size: usize,
    },
    /// LLVM refused what it was given: a bug of this compiler.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

impl CompileError {
    /// Bytes of constants that code can reach: distances have 31 bits, and code lies there as well.
    pub const REACH: usize = 0x7f00_0000;
}

/// The program that code is emitted for: lowered, then scheduled. It computes the same bytes whatever `cx` says.
///
/// # Errors
/// When an operator has no kernel for its types or operands.
pub fn lower_and_schedule(
    graph: VerifiedGraph<'_>,
    target: &'static Target,
    cx: &ScheduleContext<'_>,
) -> Result<Scheduled, LowerError> {
    Ok(schedule(lower(graph, target)?, cx, &mut |_, _| {}))
}

/// Compiles `programs`, one for each variant of `interface`, in its order.
///
/// # Errors
/// See [`CompileError`].
pub fn compile(programs: &[Scheduled], interface: &Interface, listings: Listings) -> Result<Compiled, CompileError> {
    assert_eq!(programs.len(), interface.variants.len(), "one program a variant");
    interface.check()?;
    emit_artifact(programs, interface, listings)
}

//! Everything that names LLVM.

pub(crate) mod barrier;
mod calls;
pub mod descriptor;
pub mod jit;
pub mod kernel;
pub mod machine;
pub mod peaks;
pub mod profile;
pub(crate) mod program;
pub mod resident;
pub mod run;
pub(crate) mod steps;
#[cfg(test)]
pub(crate) mod trial;
pub mod vector;

use inkwell::builder::BuilderError;

/// The value that was built. Building fails only where a builder has no position or types do not fit, which is ours.
pub(crate) fn built<T>(result: Result<T, BuilderError>) -> T {
    result.unwrap_or_else(|error| unreachable!("{error}"))
}

//! Turns programs into LLVM modules, and modules into machine code in an object file or in this process.

pub mod artifact;
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
#[cfg(test)]
pub(crate) mod trial;

//! Eightfold's back end: from graph to program to machine code to artifact.
//!
//! [`program`] says which kernels run on which bytes for a [`target`]; [`llvm`] turns that into an object file, together
//! with the [`interface`] that its caller sees; [`object`] links it, [`header`] writes its C declaration.

pub mod header;
pub mod interface;
pub mod llvm;
pub mod object;
pub mod program;
pub mod target;

/// The target triple of the runtime that this compiler links into shared libraries.
pub const RUNTIME_TARGET: &str = env!("EIGHTFOLD_RUNTIME_TARGET");

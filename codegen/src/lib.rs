//! Eightfold's back end: from graph to program to machine code.
//!
//! [`lower`] turns a verified graph into a [`program`], whose kernels LLVM compiles; what comes of it becomes an
//! artifact: [`interface`] says what that offers, [`llvm`] puts it into a module, [`object`] links it, [`header`] writes
//! its C declaration. [`measure`] times pieces of programs on this machine.

pub mod choice;
pub mod compile;
pub mod cpu;
pub mod header;
mod image;
pub mod interface;
pub mod kernel;
pub mod llvm;
pub mod lower;
pub mod measure;
pub mod object;
pub mod program;
pub mod schedule;
pub mod target;
pub mod tuning;
pub mod work;

/// The target triple of the runtime that this compiler links into shared libraries.
pub const RUNTIME_TARGET: &str = env!("EIGHTFOLD_RUNTIME_TARGET");

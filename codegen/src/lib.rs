//! Eightfold's back end.
//!
//! What LLVM makes of a program becomes an artifact here: [`interface`] says what an artifact offers, [`llvm`] puts
//! that into a module, [`object`] links it, [`header`] writes its C declaration.

pub mod header;
pub mod interface;
pub mod llvm;
pub mod object;

/// The target triple of the runtime that this compiler links into shared libraries.
pub const RUNTIME_TARGET: &str = env!("EIGHTFOLD_RUNTIME_TARGET");

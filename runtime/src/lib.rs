#![no_std]
//! The runtime that every Eightfold shared library contains, and the C ABI of an artifact.
//!
//! The runtime selects a variant of a model that the CPU supports. It runs the variant in memory from the caller, on as
//! many threads as the variant was compiled for. It does not allocate, has no global state, needs no library (it uses
//! the C library's threads if there are any), and cannot panic.
//!
//! The modules are built twice: as this library, which the compiler uses and tests, and as an object file
//! (`standalone.rs`) that is linked into artifacts. A `no_std` crate cannot be both at once, because only the object
//! file may define a panic handler.

pub mod abi;
pub mod features;
mod linux;
pub mod session;
pub mod status;
mod team;
mod thread;

/// The text of `eightfold.h`, whose structs [`abi`] defines in Rust.
pub const HEADER: &str = include_str!("../include/eightfold.h");

#![no_std]
//! The small runtime that every Eightfold shared library carries, and the C ABI of an artifact.
//!
//! It picks the variant of a model that this CPU can run and runs it in memory that the caller gives, on as many threads
//! as the variant was compiled for. It never allocates, keeps no state of its own, depends on nothing (threads come from
//! the C library if that is there), and has no path that panics.
//!
//! The same modules are built twice: as this library, which the compiler uses and tests, and as one object file
//! (`standalone.rs`) that is linked into artifacts. A `no_std` crate cannot be both at once, because only the second
//! may define a panic handler.

pub mod abi;
pub mod features;
pub mod session;
pub mod status;
mod team;
mod thread;

/// The text of `eightfold.h`, whose structs [`abi`] mirrors.
pub const HEADER: &str = include_str!("../include/eightfold.h");

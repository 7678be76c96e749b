//! Eightfold's back end: from graph to program to machine code.
//!
//! [`lower`] turns a verified graph into a [`program`], [`schedule`] decides how it runs, and [`llvm`] makes of it an object
//! file, which [`object`] links; [`header`] writes its C declaration. [`measure`] times pieces of programs on this machine.
//!
//! From the bottom up; each folder may use those above it:
//!
//! | folder | what lives there |
//! |---|---|
//! | [`target`], [`cpu`] | what code is made for; its speed, for cost models |
//! | [`view`], [`step`] | where tensors lie; what happens to each element of a result |
//! | [`vector`] | the verbs that kernels are written in, and instruction sets |
//! | [`choice`], [`tuning`] | ways to go about a computation, and the file of those that were measured |
//! | [`kernel`] | families of kernels, and calls of them |
//! | [`program`], [`work`] | calls in regions, on buffers and constants; what each call has to do |
//! | [`decision`] | where a program has choices, and their keys |
//! | [`lower`], [`schedule`] | from a graph to a program; passes over programs |
//! | [`interface`], `image`, [`object`], [`header`] | what an artifact offers, its constants, its files |
//! | [`llvm`] | programs as modules, machine code, code that runs in this process |
//! | [`measure`] | rates and tuning |

pub mod choice;
pub mod cpu;
pub mod decision;
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
pub mod step;
pub mod target;
pub mod tuning;
pub mod vector;
pub mod view;
pub mod work;

/// The target triple of the runtime that this compiler links into shared libraries.
pub const RUNTIME_TARGET: &str = env!("EIGHTFOLD_RUNTIME_TARGET");

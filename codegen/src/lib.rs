//! Eightfold's back end: from graph to program to machine code.
//!
//! [`lower`] turns a verified graph into a [`program`], [`schedule`] decides how it runs, and [`llvm`] compiles it to
//! an object file, which [`object`] links; [`header`] writes its C declaration. [`measure`] times parts of programs on
//! this machine.
//!
//! The folders from the bottom up; each may use only those above it in this table:
//!
//! | folder | contents |
//! |---|---|
//! | [`target`], [`cpu`] | CPU features that code is generated for; models of CPUs for cost estimates |
//! | [`view`], [`step`] | places of tensors in memory; the steps of an epilogue |
//! | [`vector`] | the verbs that kernels are written in, and instruction sets |
//! | [`choice`], [`tuning`] | choices that change the time but no result; the file of measured choices |
//! | [`kernel`] | families of kernels, and calls of them |
//! | [`program`], [`work`] | calls in regions, on buffers and constants; the work of each call |
//! | [`decision`] | decisions with their candidates and keys |
//! | [`lower`], [`schedule`] | from a graph to a program; passes over programs |
//! | [`interface`], `image`, [`object`], [`header`] | an artifact's interface, constants and files |
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

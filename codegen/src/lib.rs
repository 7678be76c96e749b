//! Eightfold's back end: from graph to program to machine code.

pub mod program;
pub mod target;

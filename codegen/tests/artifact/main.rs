//! Artifacts of a small LLVM module, run by C programs.

mod c_programs;
mod header;
mod interface;
mod link;
mod plus_one;
mod run;

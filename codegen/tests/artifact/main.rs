//! From a small LLVM module to an artifact that C programs run.

mod c_programs;
mod header;
mod interface;
mod link;
mod plus_one;
mod run;

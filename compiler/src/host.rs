//! The machine that the compiler runs on: its memory limit, and output files.

pub mod memory_limit;
pub mod output_file;

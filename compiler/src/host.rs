//! The machine that the compiler itself runs on: the memory that it may take, and the files that it writes.

pub mod memory_limit;
pub mod output_file;

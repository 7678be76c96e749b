//! The `eightfold` command line.

mod cli;
mod interrupt;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    interrupt::leave_no_halves();
    cli::run()
}

//! The `eightfold` command line.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::interrupt::leave_no_halves();
    cli::run()
}

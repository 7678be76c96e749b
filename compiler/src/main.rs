//! The `eightfold` command line.

mod cli;
mod interrupt;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    interrupt::leave_no_halves();
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::print(&error);
            ExitCode::from(error.fault().exit_code())
        }
    }
}

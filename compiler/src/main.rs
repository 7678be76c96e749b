//! The `eightfold` command line.

mod cli;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::print(&error);
            ExitCode::from(error.fault().exit_code())
        }
    }
}

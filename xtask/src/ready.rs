//! `ready`: all checks that a change must pass.

use crate::process::{self, Failure};
use crate::{setup, test, workspace};

/// Runs format, clippy, tests, documentation, and the checks without the oracle; stops at the first failure.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::Usage(format!("ready takes no arguments, got `{argument}`")));
    }
    let llvm = setup::ensure()?;
    process::run(workspace::cargo(&llvm).args(["fmt", "--all", "--check"]))?;
    let cargo = |task: &str| {
        let mut cargo = workspace::cargo(&llvm);
        cargo.arg(task).args(workspace::EVERYTHING);
        cargo
    };
    process::run(cargo("clippy").args(["--all-targets", "--", "-D", "warnings"]))?;
    test::run(&[])?;
    process::run(cargo("doc").arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))?;
    // The default build, without an oracle.
    let installed = ["--package", "eightfold-compiler"];
    process::run(workspace::cargo(&llvm).arg("clippy").args(installed).args(["--", "-D", "warnings"]))?;
    test::run(&["--package", "eightfold-compiler", "--test", "cli", "oracle"].map(str::to_owned))
}

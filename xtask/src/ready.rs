//! `ready`: all that a change must pass before it is proposed.

use crate::process::{self, Failure};
use crate::{setup, test, workspace};

/// The task: format, clippy, tests, documentation; stops at the first that fails.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    if let Some(argument) = arguments.first() {
        return Err(Failure::Usage(format!("ready takes no arguments, got `{argument}`")));
    }
    let llvm = setup::ensure()?;
    process::run(workspace::cargo(&llvm).args(["fmt", "--all", "--check"]))?;
    process::run(workspace::cargo(&llvm).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    test::run(&[])?;
    let mut doc = workspace::cargo(&llvm);
    doc.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut doc)
}

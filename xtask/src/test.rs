//! `test`: all tests of the workspace, doc tests included, on a machine that `setup` has seen to.
//!
//! The tests that compare with ONNX Runtime find its interpreter in `EIGHTFOLD_PYTHON`, the networks in
//! `EIGHTFOLD_ZOO` and the shared models and data in `EIGHTFOLD_SHARED`. What cannot be had is said here, and those
//! tests skip themselves.

use std::process::Command;

use crate::process::{self, Failure};
use crate::{python, setup, workspace, zoo};

/// The task; the arguments go to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let llvm = setup::ensure()?;
    let mut cargo = workspace::cargo(&llvm);
    cargo.args(cargo_arguments(arguments));
    provide_references(&mut cargo);
    process::run(&mut cargo)
}

/// `cargo test` of the whole workspace to its end, unless the arguments choose packages.
fn cargo_arguments(arguments: &[String]) -> Vec<String> {
    let chooses = |word: &String| word == "-p" || word.starts_with("--package") || word == "--workspace";
    let own = arguments.iter().take_while(|word| *word != "--");
    let mut command = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
    if !own.into_iter().any(chooses) {
        command.push("--workspace".to_owned());
    }
    command.extend_from_slice(arguments);
    command
}

/// Tells the tests where the outside references are, and the user which are missing.
fn provide_references(cargo: &mut Command) {
    let skipped = |what: &str, failure: Failure| eprintln!("test: {what} will be SKIPPED: {failure}");
    match python::ensure(python::REFERENCE) {
        Ok(python) => {
            cargo.env("EIGHTFOLD_PYTHON", python);
            match zoo::build(&[]) {
                Ok(_) => {
                    cargo.env("EIGHTFOLD_ZOO", zoo::folder());
                }
                Err(failure) => skipped("tests on the benchmark networks", failure),
            }
        }
        Err(failure) => skipped("comparisons with ONNX Runtime", failure),
    }
    let shared = workspace::shared();
    if shared.join("models").is_dir() {
        cargo.env("EIGHTFOLD_SHARED", shared);
    } else {
        eprintln!("test: tests on shared models will be SKIPPED: no folder {}", shared.join("models").display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> String {
        cargo_arguments(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        assert_eq!(arguments(&[]), "test --no-fail-fast --workspace");
        assert_eq!(arguments(&["fuse"]), "test --no-fail-fast --workspace fuse");
        assert_eq!(arguments(&["-p", "eightfold-ir"]), "test --no-fail-fast -p eightfold-ir");
        assert_eq!(arguments(&["--package=xtask"]), "test --no-fail-fast --package=xtask");
        assert_eq!(arguments(&["--", "-p"]), "test --no-fail-fast --workspace -- -p");
    }
}

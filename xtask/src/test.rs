//! `test`: runs all tests of the workspace, including doc tests, after `setup`.
//!
//! Tests find the Python interpreter with ONNX Runtime in `EIGHTFOLD_PYTHON`, the networks in `EIGHTFOLD_ZOO`, and the
//! shared models and data in `EIGHTFOLD_SHARED`. Tests of other architectures run in an emulator, which this task installs
//! where it can. It reports what is missing, and the tests that need it skip themselves.
//!
//! `--full` also runs the tests that take minutes, and tests [`RANDOM_GRAPHS`] random graphs of each kind.

use std::process::Command;

use crate::process::{self, Failure};
use crate::{emulation, python, setup, workspace, zoo};

/// The number of random graphs of each kind with `--full`.
const RANDOM_GRAPHS: &str = "2000";

/// Tests that `--full` omits because they take hours on one core. Their documentation says how to run them.
const HOURS: &[&str] = &["on_all_floats"];

/// Runs the task; the arguments other than `--full` go to `cargo test`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let llvm = setup::ensure()?;
    if let Err(failure) = emulation::ensure() {
        eprintln!("test: tests of other architectures will be SKIPPED: {failure}");
    }
    let mut cargo = workspace::cargo(&llvm);
    let (full, arguments) = take_full(arguments);
    cargo.args(cargo_arguments(&arguments));
    if full {
        cargo.env("EIGHTFOLD_RANDOM", RANDOM_GRAPHS);
    }
    provide_references(&mut cargo);
    process::run(&mut cargo)
}

/// Whether `--full` is given, and the arguments for the test runner.
fn take_full(arguments: &[String]) -> (bool, Vec<String>) {
    let (own, of_tests) = match arguments.iter().position(|word| word == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let full = own.iter().any(|word| word == "--full");
    if !full {
        return (false, arguments.to_vec());
    }
    let mut told: Vec<String> = own.iter().filter(|word| *word != "--full").cloned().collect();
    told.extend(["--", "--include-ignored"].map(str::to_owned));
    told.extend(HOURS.iter().flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]));
    told.extend_from_slice(of_tests);
    (true, told)
}

/// `cargo test` for the whole workspace without stopping at failures, unless the arguments select packages.
fn cargo_arguments(arguments: &[String]) -> Vec<String> {
    let chooses = |word: &String| word == "-p" || word.starts_with("--package") || word == "--workspace";
    let own = arguments.iter().take_while(|word| *word != "--");
    let mut command = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
    if !own.into_iter().any(chooses) {
        command.extend(workspace::EVERYTHING.map(str::to_owned));
    }
    command.extend_from_slice(arguments);
    command
}

/// Sets the variables for the tests, and reports what is missing.
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
    fn a_full_run_includes_what_takes_minutes_and_leaves_out_what_takes_hours() {
        let words: Vec<String> = ["fuse", "--full", "--", "--nocapture"].map(str::to_owned).to_vec();
        let (full, told) = take_full(&words);
        assert!(full);
        assert_eq!(told.join(" "), "fuse -- --include-ignored --skip on_all_floats --nocapture");
        let words: Vec<String> = ["fuse", "--", "--full"].map(str::to_owned).to_vec();
        assert_eq!(take_full(&words), (false, words));
    }

    #[test]
    fn the_whole_workspace_is_tested_unless_packages_are_named() {
        let everything = "test --no-fail-fast --workspace --features eightfold-compiler/oracle";
        assert_eq!(arguments(&[]), everything);
        assert_eq!(arguments(&["fuse"]), format!("{everything} fuse"));
        assert_eq!(arguments(&["-p", "eightfold-ir"]), "test --no-fail-fast -p eightfold-ir");
        assert_eq!(arguments(&["--package=xtask"]), "test --no-fail-fast --package=xtask");
        assert_eq!(arguments(&["--", "-p"]), format!("{everything} -- -p"));
    }
}

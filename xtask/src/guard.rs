//! `guard`: checks that a refactoring changes neither the output bytes nor the times of any model, by
//! `benches/guard.py`.

use crate::process::{self, Failure};
use crate::{bench, python, setup, zoo};

/// A transformer, in addition to the convolutional networks. Only the skeletons of exported models contain it.
const TRANSFORMER: &str = "vit_tiny";

/// Builds the release compiler and passes all arguments to the script.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let llvm = setup::ensure()?;
    let python = python::ensure(python::REFERENCE)?;
    let convolutional: Vec<String> = zoo::CONVOLUTIONAL.iter().map(ToString::to_string).collect();
    for networks in [&convolutional[..], &[TRANSFORMER.to_owned()]] {
        if let Err(failure) = zoo::build(networks) {
            eprintln!("guard: {} of the zoo are SKIPPED: {failure}", networks.join(", "));
        }
    }
    process::run(bench::script("guard.py", python, &llvm)?.args(arguments))
}

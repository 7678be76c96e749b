//! `guard`: what a change of structure must keep, by `benches/guard.py`: the bytes of all outputs, and the times.

use crate::process::{self, Failure};
use crate::{bench, python, setup, zoo};

/// A transformer beside the convolutional networks, which only the skeletons of exported models have.
const TRANSFORMER: &str = "vit_tiny";

/// The task: builds the released compiler and hands all arguments on.
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

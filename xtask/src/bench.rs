//! `bench`: what is measured of this code on this machine, one benchmark a name; the figures go to standard output.

use crate::process::{self, Failure};
use crate::{setup, workspace};

/// A benchmark: its name, and the example that is it.
const BENCHMARKS: &[(&str, &str)] = &[("gemm", "gemm_rates")];

/// The task: the name of a benchmark, then its own arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let cargo_arguments = cargo_arguments(arguments)?;
    let llvm = setup::ensure()?;
    process::run(workspace::cargo(&llvm).args(cargo_arguments))
}

/// What is measured is code that the compiler makes, so how the compiler itself is built does not matter.
fn cargo_arguments(arguments: &[String]) -> Result<Vec<String>, Failure> {
    let names = || BENCHMARKS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("bench wants one of: {}", names())));
    };
    let Some((_, example)) = BENCHMARKS.iter().find(|(known, _)| known == name) else {
        return Err(Failure::Usage(format!("no benchmark `{name}`; there are: {}", names())));
    };
    let command = ["run", "--quiet", "--package", "eightfold-codegen", "--example", example, "--"];
    Ok(command.into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_takes_its_own_arguments_and_unknown_ones_are_named() {
        let arguments = |words: &[&str]| cargo_arguments(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        let command = arguments(&["gemm", "f32"]).expect("known");
        assert_eq!(command.join(" "), "run --quiet --package eightfold-codegen --example gemm_rates -- f32");
        for words in [&["gem"][..], &[]] {
            let failure = arguments(words).expect_err("usage").to_string();
            assert!(failure.contains("gemm"), "{failure}");
        }
    }
}

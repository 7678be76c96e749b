//! `bench`: benchmarks of this code on this machine; the figures go to standard output.

use std::path::PathBuf;
use std::process::Command;

use crate::llvm::Installation;
use crate::process::{self, Failure};
use crate::{python, setup, workspace, zoo};

/// A benchmark.
struct Benchmark {
    name: &'static str,
    program: Program,
}

/// The program that measures.
enum Program {
    /// An example of a package. It measures generated code, so the build profile of the compiler does not matter.
    Example { package: &'static str, name: &'static str },
    /// `benches/models.py`: the release build of the compiler against ONNX Runtime, on the shared models and the
    /// networks.
    Models,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark { name: "gemm", program: Program::Example { package: "eightfold-codegen", name: "gemm_rates" } },
    Benchmark { name: "models", program: Program::Models },
];

/// Runs the task. The arguments are the name of a benchmark and that benchmark's arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (benchmark, rest) = benchmark(arguments)?;
    let llvm = setup::ensure()?;
    match benchmark.program {
        Program::Example { package, name } => {
            let command = ["run", "--quiet", "--package", package, "--example", name, "--"];
            process::run(workspace::cargo(&llvm).args(command).args(rest))
        }
        Program::Models => {
            let python = match python::ensure(python::REFERENCE) {
                Ok(python) => python,
                Err(failure) => {
                    eprintln!("bench: SKIPPED, because ONNX Runtime is missing: {failure}");
                    return Ok(());
                }
            };
            if let Err(failure) = zoo::build(&[]) {
                eprintln!("bench: the networks of the zoo are SKIPPED: {failure}");
            }
            process::run(script("models.py", python, &llvm)?.args(rest))
        }
    }
}

/// A script of `benches/` that runs the release build of the compiler on the shared models and the networks. Builds the
/// compiler first.
pub(crate) fn script(name: &str, python: PathBuf, llvm: &Installation) -> Result<Command, Failure> {
    process::run(workspace::cargo(llvm).args(["build", "--release", "--package", "eightfold-compiler"]))?;
    let mut script = Command::new(python);
    script.arg(workspace::root().join("benches").join(name));
    script.arg("--eightfold").arg(workspace::target().join("release/eightfold"));
    script.arg("--models").arg(workspace::shared().join("models"));
    script.arg("--networks").arg(zoo::folder());
    Ok(script)
}

/// The benchmark that the first argument names, and the other arguments.
fn benchmark(arguments: &[String]) -> Result<(&'static Benchmark, &[String]), Failure> {
    let names = || BENCHMARKS.iter().map(|benchmark| benchmark.name).collect::<Vec<_>>().join(", ");
    let Some((name, rest)) = arguments.split_first() else {
        return Err(Failure::Usage(format!("bench needs one of: {}", names())));
    };
    let Some(benchmark) = BENCHMARKS.iter().find(|benchmark| benchmark.name == name) else {
        return Err(Failure::Usage(format!("no benchmark `{name}`; there are: {}", names())));
    };
    Ok((benchmark, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_takes_its_own_arguments_and_unknown_ones_are_named() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let arguments = words(&["gemm", "f32"]);
        let (found, rest) = benchmark(&arguments).expect("known");
        assert_eq!((found.name, rest), ("gemm", &words(&["f32"])[..]));
        for unknown in [&["gem"][..], &[]] {
            let failure = benchmark(&words(unknown)).err().expect("usage").to_string();
            assert!(failure.contains("gemm, models"), "{failure}");
        }
    }
}

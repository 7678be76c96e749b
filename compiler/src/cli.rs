//! The command line: one file a verb below `cli/`, each with its arguments, what it prints, and nothing else.
//!
//! Invariant: what a verb is asked for goes to standard output, as text or with `--format json` as one JSON value;
//! everything else (progress, remarks, dumps, errors) goes to standard error.

mod arguments;
mod bench;
mod calibrate;
mod compare;
mod compile;
mod eval;
mod inspect;
mod list;
mod opt;
mod output;
mod progress;
mod quantize;
mod run;
mod tuning;

use clap::{Parser, Subcommand};
use eightfold::Error;

use output::Format;

/// Compiles ONNX models ahead of time, to eight-bit machine code where they allow it.
#[derive(Parser)]
#[command(name = "eightfold", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
}

const EXIT_CODES: &str = "\
Exit codes: 0 fine, 1 a requirement is not met, 2 usage (or no linker, or a file that cannot be read or written),
3 unsupported model, 4 broken model or data.

Example:
  eightfold compile model.onnx -o model.so --calibration-data images.npz
  eightfold eval model.so --data test.npz";

#[derive(Subcommand)]
enum Verb {
    /// Compile a model into a shared library, an object file, or any form on the way there.
    Compile(Box<compile::Arguments>),
    /// Find the ranges of a model's tensors on sample data.
    Calibrate(Box<calibrate::Arguments>),
    /// Write a model with QuantizeLinear and DequantizeLinear where it is to be computed in int8.
    Quantize(Box<quantize::Arguments>),
    /// Run passes and print the graph that comes out.
    Opt(Box<opt::Arguments>),
    /// Show what a model, a graph or an artifact consists of.
    Inspect(inspect::Arguments),
    /// Run a model once.
    Run(run::Arguments),
    /// Measure how long a compiled model takes.
    Bench(bench::Arguments),
    /// Measure how often a model is right.
    Eval(eval::Arguments),
    /// Measure how far a compiled model is from the model it was made of.
    Compare(compare::Arguments),
    /// List what there is.
    List(list::Arguments),
}

/// Parses the command line and does what it says.
///
/// # Errors
/// Those of the verb.
pub(crate) fn run() -> Result<(), Error> {
    let Cli { verb, format } = Cli::parse();
    match verb {
        Verb::Compile(arguments) => arguments.run(format),
        Verb::Calibrate(arguments) => arguments.run(format),
        Verb::Quantize(arguments) => arguments.run(format),
        Verb::Opt(arguments) => arguments.run(format),
        Verb::Inspect(arguments) => arguments.run(format),
        Verb::Run(arguments) => arguments.run(format),
        Verb::Bench(arguments) => arguments.run(format),
        Verb::Eval(arguments) => arguments.run(format),
        Verb::Compare(arguments) => arguments.run(format),
        Verb::List(arguments) => arguments.run(format),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands() {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("eightfold {} ", verb.get_name());
            assert!(help.contains("Example") && help.contains(&example), "{}", verb.get_name());
        }
    }
}

//! The command line. Each verb is one file below `cli/` with its arguments and its output.
//!
//! Invariant: a verb prints its result to standard output, as text or, with `--format json`, as one JSON value.
//! Everything else (progress, remarks, dumps, errors) goes to standard error.

mod arguments;
mod bench;
mod calibrate;
mod compare;
mod compile;
mod coverage;
mod destination;
mod errors;
mod eval;
mod inspect;
pub(crate) mod interrupt;
mod layers;
mod list;
mod opt;
pub(crate) mod output;
mod progress;
mod quantize;
mod run;
mod tuning;

use std::process::ExitCode;

use clap::error::ContextKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use eightfold::{Error, Fault};

pub(crate) use output::Format;

/// Compiles ONNX models ahead of time to machine code, in 8-bit integers where possible.
#[derive(Parser)]
#[command(name = "eightfold", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    format: Format,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  fine
  1  a requirement is not met
  2  usage: wrong arguments, no linker, a file that cannot be read or written
  3  unsupported model
  4  broken model or data

Example:
  eightfold compile model.onnx -o model.so --calibration-data images.npz
  eightfold eval model.so --data test.npz";

#[derive(Subcommand)]
enum Verb {
    /// Compile a model into a shared library, an object file, or an intermediate form.
    Compile(Box<compile::Arguments>),
    /// Find the ranges of a model's tensors on sample data.
    Calibrate(Box<calibrate::Arguments>),
    /// Write a quantized ONNX model with QuantizeLinear and DequantizeLinear nodes.
    Quantize(Box<quantize::Arguments>),
    /// Run passes on a graph or a program and print the result.
    Opt(Box<opt::Arguments>),
    /// Show the contents of a model, a graph or a compiled model.
    Inspect(inspect::Arguments),
    /// Run a model once.
    Run(run::Arguments),
    /// Measure the time of an inference.
    Bench(bench::Arguments),
    /// Measure a model's accuracy on labelled data.
    Eval(eval::Arguments),
    /// Measure how far the outputs of a compiled model are from those of its source model.
    Compare(compare::Arguments),
    /// List operators, functions, passes, kernels, targets or calibrators.
    List(list::Arguments),
}

/// Parses the command line and runs the verb.
pub(crate) fn run() -> ExitCode {
    let parsed = Cli::command().try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, given(&matches)))
    });
    let (Cli { verb, format }, given) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return refused(error),
    };
    match verb.run(format, &given) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errors::print(&error, format);
            ExitCode::from(error.fault().exit_code())
        }
    }
}

/// Prints clap's error or help text and returns the exit code.
fn refused(mut error: clap::Error) -> ExitCode {
    // All names of precisions are similar, so clap suggests `bf16` for `fp16`, which is wrong.
    if error.get(ContextKind::InvalidArg).is_some_and(|argument| argument.to_string().starts_with("--precision")) {
        error.remove(ContextKind::SuggestedValue);
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    let json = arguments.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
        || arguments.iter().any(|argument| argument == "--format=json");
    if json && error.use_stderr() {
        let text = error.render().to_string();
        errors::print_json(&Error::Usage(text.trim_start_matches("error: ").trim_end().to_owned()), false);
    } else {
        // It is no error if the reader has closed the pipe.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Fault::Usage.exit_code() } else { 0 })
}

/// The verb's options that the user gave, as `--name`.
fn given(matches: &ArgMatches) -> Vec<String> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let command = Cli::command();
    let options = command.find_subcommand(name).into_iter().flat_map(|verb| verb.get_arguments());
    let on_command_line = |option: &&Arg| {
        let id = option.get_id().as_str();
        matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    options.filter(on_command_line).filter_map(|option| Some(format!("--{}", option.get_long()?))).collect()
}

impl Verb {
    /// Runs the verb; `given` holds the options on the command line.
    fn run(self, format: Format, given: &[String]) -> Result<(), Error> {
        match self {
            Verb::Compile(arguments) => arguments.run(format),
            Verb::Calibrate(arguments) => arguments.run(format),
            Verb::Quantize(arguments) => arguments.run(format),
            Verb::Opt(arguments) => arguments.run(format),
            Verb::Inspect(arguments) => arguments.run(format),
            Verb::Run(arguments) => arguments.run(format),
            Verb::Bench(arguments) => arguments.run(format, given),
            Verb::Eval(arguments) => arguments.run(format),
            Verb::Compare(arguments) => arguments.run(format),
            Verb::List(arguments) => arguments.run(format),
        }
    }
}

#[cfg(test)]
mod tests {
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

//! The command line: one file a verb below `cli/`, each with its arguments, what it prints, and nothing else.
//!
//! Invariant: what a verb is asked for goes to standard output, as text or with `--format json` as one JSON value;
//! everything else (progress, remarks, dumps, errors) goes to standard error.

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

/// Compiles ONNX models ahead of time, to eight-bit machine code where they allow it.
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

/// What is said instead where the arguments cannot be parsed: what is wrong with them, or the help asked for.
fn refused(mut error: clap::Error) -> ExitCode {
    // The names of precisions are so short that any is close to any: `fp16` is no misspelt `bf16`.
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
        // A reader that has gone away is no error.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Fault::Usage.exit_code() } else { 0 })
}

/// The verb's options that stand on the command line, as `--name`.
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
    /// Does what the verb says; `given` are the options on the command line.
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

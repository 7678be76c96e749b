//! `eightfold opt`: runs passes on a graph, or schedule passes on a program.

mod program;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use eightfold::calibrate::read_table;
use eightfold::options::recipe::{Recipe, expanded};
use eightfold::options::target::target;
use eightfold::stages::optimize::run_passes;
use eightfold::stages::progress::Progress as _;
use eightfold::{Error, OptimizeOptions};
use eightfold_codegen::program::Program;
use eightfold_ir::Precision;
use eightfold_passes::PassOptions;
use serde::Serialize;

use super::arguments::{ImportArguments, SchemeArguments};
use super::destination::Destination;
use super::output::{Format, escaped};
use super::progress::{PassArguments, Terminal};

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
Remarks go to standard error: which rewrites fired, which did not, and why.

A graph in text form can name passes and options itself, in lines before the graph: `; run: fuse,canonicalize`, \
`; precision: int8`, `; activations: symmetric i8`, `; weights: per_tensor`, `; range: TENSOR MIN MAX`, `; target: \
x86-64-v3`, `; limit: 5`. With --check, this is a test: the resulting graph must equal the one in the file.

On a program in text form (.program, from `compile --emit program`), --passes takes schedule passes (`eightfold list \
schedule-passes`). Its text can say `; run: bands, plan`, `; threads: 2`, `; bands: 4` (rows per band).

Example:
  eightfold opt --passes fold_constants,fuse model.onnx
  eightfold opt --passes int8 --calibration-table model.calibration --dump-after all model.onnx
  eightfold opt --full model.onnx -o model.ir
  eightfold opt case.ir --check case.expected.ir
  eightfold opt net.program --passes bands,plan")]
pub(crate) struct Arguments {
    /// An ONNX model, a graph in text form (.ir), or a program in text form (.program).
    model: PathBuf,
    /// Passes to run in this order, or the pipelines simplify, f32, bf16, int8 and weight-int8; by default the passes
    /// that the file names.
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    passes: Vec<String>,
    /// A calibration table with the ranges for insert_qdq.
    #[arg(long, value_name = "FILE")]
    calibration_table: Option<PathBuf>,
    /// The target; some passes depend on it.
    #[arg(long, value_name = "NAME", default_value = "native")]
    target: String,
    /// Print constants in full, so that the text parses back.
    #[arg(long)]
    full: bool,
    /// Write the graph to this file; by default to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<Destination>,
    /// Compare the resulting graph with this file, written by -o, and fail if they differ.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    check: Option<PathBuf>,
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    import: ImportArguments,
    #[command(flatten)]
    shown: PassArguments,
}

/// The resulting graph.
#[derive(Serialize)]
struct Report {
    ir: String,
    remarks: Vec<Remark>,
}

#[derive(Serialize)]
struct Remark {
    pass: &'static str,
    kind: String,
    origin: String,
    message: String,
}

impl Arguments {
    /// Runs the passes.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::new(&self.shown)?;
        if program::is_program(&self.model) {
            return self.run_on_program(format, progress);
        }
        self.output.as_ref().map_or(Ok(()), |output| output.check(&["ir"]))?;
        let mut model = self.import.load(&self.model, progress)?;
        let options = self.scheme.apply(OptimizeOptions::new(target(&self.target)?));
        let options = options.keeping_float(&model.graph, &self.scheme.keep_float)?;
        let options = OptimizeOptions { pass_limit: self.shown.pass_limit, ..options };
        let table =
            self.calibration_table.as_deref().map(|path| read_table(path, &model, &options, progress)).transpose()?;

        let recipe = if self.passes.is_empty() { recipe(&self.model, &model.graph.name)? } else { None };
        let (passes, options) = match recipe {
            Some(Recipe { passes, options, .. }) => {
                let (limit, calibration) = (self.shown.pass_limit.or(options.limit), table.or(options.calibration));
                (passes, PassOptions { limit, calibration, ..options })
            }
            None => {
                let passes = expanded(self.passes.iter().map(String::as_str));
                // The named passes run. The precision is int8, which enables all passes except those for only one other
                // precision.
                let has = |name: &str| passes.iter().any(|pass| pass == name);
                let precision = match (has("lower_bf16"), has("quantize_weights")) {
                    (true, _) => Precision::Bf16,
                    (_, true) => Precision::WeightInt8,
                    _ => Precision::Int8,
                };
                (passes, options.for_passes(precision, table))
            }
        };
        let passes: Vec<&str> = passes.iter().map(String::as_str).collect();
        let outcome = run_passes(&passes, &mut model.graph, &options, progress)?;
        progress.finish(&outcome.reports)?;
        let text = if self.full { eightfold_ir::print_full(&model.graph) } else { model.graph.to_string() };
        if !format.is_json() {
            outcome.remarks.iter().for_each(|remark| anstream::eprintln!("{}", escaped(&remark.to_string())));
        }
        if let Some(path) = &self.check {
            check(path, &text)?;
            let checked = Checked { same_as: path.display().to_string() };
            return format.print(&checked, || format!("the same graph as in {}", checked.same_as));
        }
        if let Some(output) = &self.output {
            return output.write(&text);
        }
        let remark = |r: &eightfold_passes::Remark| Remark {
            pass: r.pass,
            kind: r.kind.to_string(),
            origin: r.origin.clone(),
            message: r.message.clone(),
        };
        let report = Report { ir: text, remarks: outcome.remarks.iter().map(remark).collect() };
        format.print(&report, || report.ir.clone())
    }
}

impl Arguments {
    /// Runs schedule passes.
    fn run_on_program(&self, format: Format, progress: &mut Terminal) -> Result<(), Error> {
        self.output.as_ref().map_or(Ok(()), |output| output.check(&["program"]))?;
        let mut shown = |name: &str, program: &Program| progress.schedule_pass(name, program);
        let text = program::scheduled(&self.model, &self.passes, &mut shown)?.to_string();
        progress.finish(&[])?;
        match (&self.check, &self.output) {
            (Some(path), _) => {
                check(path, &text)?;
                let checked = Checked { same_as: path.display().to_string() };
                format.print(&checked, || format!("the same program as in {}", checked.same_as))
            }
            (None, Some(output)) => output.write(&text),
            (None, None) => format.print(&ProgramReport { program: text.clone() }, || text),
        }
    }
}

/// The resulting program.
#[derive(Serialize)]
struct ProgramReport {
    program: String,
}

/// The result of `--check`.
#[derive(Serialize)]
struct Checked {
    same_as: String,
}

/// The passes and options that a graph in text form names.
fn recipe(path: &Path, graph: &str) -> Result<Option<Recipe>, Error> {
    if path.extension().is_none_or(|extension| extension != "ir") {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Recipe::read(&text, graph).map_err(|line| Error::Recipe { path: path.to_owned(), line })
}

/// Compares a graph's text with that in a file, without comments.
fn check(path: &Path, text: &str) -> Result<(), Error> {
    let file = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let numbered = file.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end()));
    let mut expected = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with(';'));
    let mut got = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut last = 0;
    loop {
        let (expected, got) = (expected.next(), got.next());
        if expected.is_none() && got.is_none() {
            return Ok(());
        }
        let (line, expected) = expected.unwrap_or((last + 1, ""));
        if got != Some(expected) {
            let (expected, got) = (expected.to_owned(), got.unwrap_or_default().to_owned());
            return Err(Error::OtherGraph { path: path.to_owned(), line, expected, got });
        }
        last = line;
    }
}

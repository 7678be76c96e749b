//! `eightfold opt`: passes on any graph.

use std::path::PathBuf;

use clap::Args;
use eightfold::driver::{run_passes, target};
use eightfold::{Error, OptimizeOptions};
use eightfold_passes::{BF16, F32, INT8, Precision, SIMPLIFY};
use serde::Serialize;

use super::arguments::{ImportArguments, SchemeArguments, read_table};
use super::destination::Destination;
use super::output::Format;
use super::progress::{PassArguments, Terminal};

/// Pipelines that `--passes` may name.
const PIPELINES: &[(&str, &[&str])] = &[("simplify", SIMPLIFY), ("f32", F32), ("bf16", BF16), ("int8", INT8)];

/// See the verb's help.
#[derive(Args, Debug)]
#[command(after_help = "\
Remarks go to standard error: what fired, what did not and why.

Example:
  eightfold opt --passes fold_constants,fuse model.onnx
  eightfold opt --passes int8 --calibration-table model.calibration --dump-after all model.onnx
  eightfold opt --full model.onnx -o model.ir")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    /// Passes to run, in this order, or the pipelines simplify, f32, bf16 and int8; none if left out.
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    passes: Vec<String>,
    /// The ranges that insert_qdq goes by.
    #[arg(long, value_name = "FILE")]
    calibration_table: Option<PathBuf>,
    /// The target that passes may ask about.
    #[arg(long, value_name = "NAME", default_value = "native")]
    target: String,
    /// Print constants whole, so that the text can be read back.
    #[arg(long)]
    full: bool,
    /// Write the graph to this file; by default to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<Destination>,
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    import: ImportArguments,
    #[command(flatten)]
    shown: PassArguments,
}

/// What came out.
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
        self.output.as_ref().map_or(Ok(()), |output| output.check(&["ir"]))?;
        let mut model = self.import.load(&self.model, progress)?;
        let options = self.scheme.apply(OptimizeOptions::new(target(&self.target)?));
        let options = self.scheme.keep_float(&model, options)?;
        let options = OptimizeOptions { pass_limit: self.shown.pass_limit, ..options };
        let table =
            self.calibration_table.as_deref().map(|path| read_table(path, &model, &options, progress)).transpose()?;

        let mut passes: Vec<&str> = Vec::new();
        for name in &self.passes {
            match PIPELINES.iter().find(|(pipeline, _)| pipeline == name) {
                Some((_, pipeline)) => passes.extend(*pipeline),
                None => passes.push(name),
            }
        }
        // What int8 needs and f32 leaves alone is asked for by the passes' names.
        // Int8 lets each pass do what its name says, but for those of another pipeline.
        let precision = if passes.contains(&"lower_bf16") { Precision::Bf16 } else { Precision::Int8 };
        let outcome = run_passes(&passes, &mut model.graph, &options.for_passes(precision, table), progress)?;
        progress.finish(&outcome.reports)?;
        let text = if self.full { eightfold_ir::print_full(&model.graph) } else { model.graph.to_string() };
        if !format.is_json() {
            outcome.remarks.iter().for_each(|remark| anstream::eprintln!("{remark}"));
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

//! `eightfold quantize`: from a model and data to a quantized ONNX model.

use std::path::PathBuf;

use clap::Args;
use eightfold::{Error, OptimizeOptions, ReduceRange, check_writable, write_bytes};
use eightfold_ir::Op;
use serde::Serialize;

use super::arguments::{CalibrationArguments, ImportArguments, SchemeArguments};
use super::output::{Format, bytes};
use super::progress::{PassArguments, Terminal};

/// See the verb's help.
#[derive(Args, Debug)]
#[command(after_help = "\
The model that comes out has QuantizeLinear and DequantizeLinear around what is to be computed in int8, for ONNX Runtime
or eightfold compile to go by.

Example:
  eightfold quantize model.onnx --calibration-data images.npz -o model_qdq.onnx
  eightfold compile model_qdq.onnx -o model.so")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    /// The ONNX model to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    calibration: CalibrationArguments,
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    import: ImportArguments,
    #[command(flatten)]
    passes: PassArguments,
}

/// What was written.
#[derive(Serialize)]
struct Report {
    output: String,
    bytes: u64,
    calibrator: String,
    samples: u64,
    /// Tensors that are quantized, constants aside.
    quantized_tensors: usize,
}

impl Arguments {
    /// Quantizes.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::new(&self.passes)?;
        check_writable(&self.output)?;
        let model = self.import.load(&self.model, progress)?;
        // Neither where Q/DQ stand nor what they round to depends on the machine: nobody knows yet where the model will run.
        let options = self.scheme.apply(OptimizeOptions::new(eightfold::driver::target("native")?));
        let reduce_range = match options.reduce_range {
            ReduceRange::Auto => ReduceRange::Never,
            asked => asked,
        };
        let options = OptimizeOptions { reduce_range, pass_limit: self.passes.pass_limit, ..options };
        let table = self.calibration.table(&model, &options, progress)?.ok_or(Error::NothingToQuantizeBy)?;
        let (calibrator, samples) = (table.calibrator.clone(), table.samples);
        let (graph, outcome) = eightfold::quantize(&model, table, &options, progress)?;
        let onnx = eightfold::export(&graph)?;
        write_bytes(&self.output, &onnx)?;
        progress.finish(&outcome.reports)?;
        let report = Report {
            output: self.output.display().to_string(),
            bytes: onnx.len() as u64,
            calibrator,
            samples,
            quantized_tensors: graph.nodes().filter(|node| matches!(node.op, Op::QuantizeLinear(_))).count(),
        };
        format.print(&report, || {
            let Report { output, calibrator, samples, quantized_tensors, .. } = &report;
            let size = bytes(report.bytes);
            format!("{output}  {size}, {quantized_tensors} tensors quantized by {calibrator} on {samples} samples")
        })
    }
}

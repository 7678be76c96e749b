//! `eightfold calibrate`: computes a calibration table from a model and samples.

use std::path::PathBuf;

use clap::Args;
use eightfold::calibrate::{CalibrateOptions, calibrate, warn_of_few};
use eightfold::options::target::target;
use eightfold::{Error, OptimizeOptions};
use serde::Serialize;

use super::arguments::{CalibratorArguments, DataArguments, ImportArguments, SchemeArguments};
use super::destination::Destination;
use super::output::Format;
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
The table is a text file, keyed by tensor name, that can be read, compared and edited.

Example:
  eightfold calibrate model.onnx --data images.npz -o model.calibration --calibrator entropy
  eightfold compile model.onnx -o model.so --calibration-table model.calibration")]
pub(crate) struct Arguments {
    /// An ONNX model, or a graph in text form (.ir).
    model: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// The table to write; - for standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Destination,
    #[command(flatten)]
    calibrator: CalibratorArguments,
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    import: ImportArguments,
}

/// The result of a calibration.
#[derive(Serialize)]
struct Report {
    output: String,
    calibrator: String,
    samples: u64,
    tensors: usize,
}

impl Arguments {
    /// Calibrates.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::plain();
        self.output.check(&[])?;
        let model = self.import.load(&self.model, progress)?;
        let data = self.data.open(&model.inputs())?;
        // The set of tensors that need a range does not depend on the target.
        let options = self.scheme.apply(OptimizeOptions::new(target("native")?));
        let options = options.keeping_float(&model.graph, &self.scheme.keep_float)?;
        let (calibrator, setting) = self.calibrator.chosen()?;
        let options = CalibrateOptions { calibrator, setting, optimize: options };
        let samples = self.data.samples(&data)?;
        warn_of_few(samples.len(), progress);
        let table = calibrate(&model, samples, &options, progress)?;
        progress.finish(&[])?;
        self.output.write(&table.to_string())?;
        let report = Report {
            output: self.output.name(),
            calibrator: table.calibrator,
            samples: table.samples,
            tensors: table.ranges.len(),
        };
        format.print_beside(&self.output, &report, || {
            let Report { output, calibrator, samples, tensors } = &report;
            format!("{output}  ranges of {tensors} tensors by {calibrator} on {samples} samples")
        })
    }
}

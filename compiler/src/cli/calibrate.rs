//! `eightfold calibrate`: from a model and data to a calibration table.

use std::path::PathBuf;

use clap::Args;
use eightfold::{Error, OptimizeOptions, check_writable, write_bytes};
use serde::Serialize;

use super::arguments::{CalibratorArguments, DataArguments, ImportArguments, SchemeArguments};
use super::output::Format;
use super::progress::Terminal;

/// See the verb's help.
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
    /// The table to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    calibrator: CalibratorArguments,
    #[command(flatten)]
    scheme: SchemeArguments,
    #[command(flatten)]
    import: ImportArguments,
}

/// What was found.
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
        check_writable(&self.output)?;
        let model = self.import.load(&self.model, progress)?;
        let data = self.data.open(&model.inputs())?;
        // Which tensors need a range, and which, does not depend on the target.
        let options = self.scheme.apply(OptimizeOptions::new(eightfold::driver::target("native")?));
        let options = self.scheme.keep_float(&model, options)?;
        let options = self.calibrator.options(options);
        let table = eightfold::calibrate(&model, self.data.samples(&data)?, &options, progress)?;
        write_bytes(&self.output, table.to_string().as_bytes())?;
        progress.finish(&[])?;
        let report = Report {
            output: self.output.display().to_string(),
            calibrator: table.calibrator,
            samples: table.samples,
            tensors: table.ranges.len(),
        };
        format.print(&report, || {
            let Report { output, calibrator, samples, tensors } = &report;
            format!("{output}  ranges of {tensors} tensors by {calibrator} on {samples} samples")
        })
    }
}

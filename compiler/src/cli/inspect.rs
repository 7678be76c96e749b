//! `eightfold inspect`: the contents of a model, a graph or an artifact.

mod artifact;
mod graph;
mod roofline;

use std::path::PathBuf;

use clap::{Arg, Args};
use eightfold::Error;
use eightfold::measure::machine::MachinePeaks;
use eightfold::measure::roofline::roofline;

use super::arguments::{OptimizeArguments, is_artifact};
use super::output::Format;
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(
    mut_args(compiling),
    after_help = "\
--roofline lowers a model to kernel calls with the given flags, as eightfold compile would, and computes the least \
time of each call: the largest of three times, its multiply-accumulates at the peak of one core, its other \
operations, and its memory traffic. The model does not run; only the peaks are measured, if --peaks does not give \
them. int8 without ranges is calibrated on noise.

If a graph in text form gives a node a precision, as in conv(%x, %w) in int8, the node counts as computed in it, even \
if no pass has rewritten it to integers yet.

Example:
  eightfold inspect model.onnx
  eightfold inspect model.so --format json
  eightfold inspect model.onnx --roofline --precision int8
  eightfold inspect model.onnx --roofline --target x86-64-v4-vbmi --peaks peaks.json"
)]
pub(crate) struct Arguments {
    /// An ONNX model, a graph in text form (.ir), or a compiled model (.so).
    file: PathBuf,
    /// Show the least time of each layer of the compiled model, and what limits it.
    #[arg(long)]
    roofline: bool,
    /// With --roofline: print a row for each kernel call in execution order instead of a row for each layer.
    #[arg(long)]
    calls: bool,
    /// With --roofline: number of layers shown, longest first.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "calls")]
    top: usize,
    #[command(flatten)]
    optimize: OptimizeArguments,
}

/// Compile options require --roofline.
fn compiling(arg: Arg) -> Arg {
    if matches!(arg.get_id().as_str(), "file" | "roofline" | "dims" | "max_memory") {
        arg
    } else {
        arg.requires("roofline")
    }
}

impl Arguments {
    /// Inspects.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        if self.roofline {
            return self.roofline(format);
        }
        if is_artifact(&self.file)? {
            let report = artifact::Report::of(&self.file)?;
            return format.print(&report, || report.text(format));
        }
        let progress = &mut Terminal::plain();
        let model = self.optimize.import.load(&self.file, progress)?;
        progress.finish(&[])?;
        let report = graph::Report::of(&model);
        format.print(&report, || report.text())
    }

    fn roofline(&self, format: Format) -> Result<(), Error> {
        if is_artifact(&self.file)? {
            return Err(Error::NoCalls { path: self.file.clone() });
        }
        let progress = &mut Terminal::plain();
        let options = self.optimize.options(None)?;
        let peaks = self.optimize.peaks()?;
        let machine = match &peaks {
            Some(peaks) => peaks.clone(),
            None => MachinePeaks::measure(options.target)?,
        };
        let optimized = self.optimize.optimize_for_time(&self.file, &options, peaks.as_ref(), progress)?;
        progress.finish(&[])?;
        let bounds = roofline(&optimized, &machine)?;
        let report = roofline::Report::of(&optimized, &machine, &bounds);
        format.print(&report, || if self.calls { report.calls_text() } else { report.layers_text(self.top) })
    }
}

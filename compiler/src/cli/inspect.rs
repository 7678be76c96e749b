//! `eightfold inspect`: what a model, a graph or an artifact consists of.

mod artifact;
mod graph;
mod roofline;

use std::path::PathBuf;

use clap::{Arg, Args};
use eightfold::Error;
use eightfold::measure::machine::Machine;
use eightfold::measure::roofline::roofline;

use super::arguments::{OptimizeArguments, is_artifact};
use super::output::Format;
use super::progress::Terminal;

/// See the verb's help.
#[derive(Args, Debug)]
#[command(
    mut_args(compiling),
    after_help = "\
With --roofline, a model is compiled up to its calls, as eightfold compile would with the same flags, and each call's least \
time is counted: the longest of its products at the peak of one core, its other operations, and its bytes from where they \
are found. Nothing runs but what measures the peaks. int8 without ranges takes them from noise.

A node of a graph in text form counts as of the precision that the text gives it, conv(%x, %w) in int8, also where it is yet \
to be rewritten on integers.

Example:
  eightfold inspect model.onnx
  eightfold inspect model.so --format json
  eightfold inspect model.onnx --roofline --precision int8
  eightfold inspect model.onnx --roofline --target x86-64-v4-vbmi --peaks peaks.json"
)]
pub(crate) struct Arguments {
    /// An ONNX model, a graph in text form (.ir), or a compiled model (.so).
    file: PathBuf,
    /// Show the least time that each layer of the compiled model takes, and what it goes into.
    #[arg(long)]
    roofline: bool,
    /// With --roofline: a row for each kernel call, in the order in which they run, instead of a row for each layer.
    #[arg(long)]
    calls: bool,
    /// With --roofline: the number of layers shown, the longest first.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "calls")]
    top: usize,
    /// The peaks that `eightfold bench --machine --format json` printed, on this machine or another; by default they are
    /// measured.
    #[arg(long, value_name = "FILE")]
    peaks: Option<PathBuf>,
    #[command(flatten)]
    optimize: OptimizeArguments,
}

/// What says how to compile is for --roofline.
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
        let machine = match &self.peaks {
            Some(path) => Machine::read(path)?,
            None => Machine::measure(options.target)?,
        };
        let optimized = self.optimize.optimize_for_time(&self.file, &options, progress)?;
        progress.finish(&[])?;
        let bounds = roofline(&optimized, &machine)?;
        let report = roofline::Report::of(&optimized, &machine, &bounds);
        format.print(&report, || if self.calls { report.calls_text() } else { report.layers_text(self.top) })
    }
}

//! `eightfold inspect`: what a model, a graph or an artifact consists of.

mod artifact;
mod graph;
mod roofline;

use std::path::PathBuf;

use clap::{Arg, Args};
use eightfold::machine::Machine;
use eightfold::roofline::roofline;
use eightfold::{Coverage, Error, FloatNode, grouped};
use serde::Serialize;

use super::arguments::{OptimizeArguments, is_artifact};
use super::output::{Format, count, percent};
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

/// What is computed in integers, as reports show it.
#[derive(Serialize)]
pub(super) struct CoverageReport {
    macs: u64,
    /// Fraction of the multiply-accumulates that are done in int8, 0 to 1.
    int8_mac_share: f64,
    /// The same of those that are done in bf16; left out where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    bf16_mac_share: Option<f64>,
    /// Names of the nodes that compute in float.
    float_nodes: Vec<String>,
    float_node_details: Vec<FloatNode>,
}

impl From<&Coverage> for CoverageReport {
    fn from(coverage: &Coverage) -> Self {
        CoverageReport {
            macs: coverage.macs,
            int8_mac_share: if coverage.macs == 0 { 0.0 } else { coverage.int8_share() },
            bf16_mac_share: (coverage.bf16_macs > 0).then(|| coverage.bf16_macs as f64 / coverage.macs as f64),
            float_nodes: coverage.float_nodes.iter().map(|node| node.node.clone()).collect(),
            float_node_details: coverage.float_nodes.clone(),
        }
    }
}

impl CoverageReport {
    /// `99.48% of 1.24 M MACs`
    pub(super) fn share_text(&self) -> String {
        format!("{} of {} MACs", percent(self.bf16_mac_share.unwrap_or(self.int8_mac_share)), count(self.macs))
    }

    /// The precision that [`Self::share_text`] is about.
    pub(super) fn share_name(&self) -> &'static str {
        if self.bf16_mac_share.is_some() { "bf16" } else { "int8" }
    }

    /// The nodes that compute in float, with the reasons: a line for each group, or each node if that is asked for.
    pub(super) fn float_lines(&self, format: Format) -> Vec<String> {
        let lines = match format.verbose {
            true => self.float_node_details.iter().map(FloatNode::to_string).collect(),
            false => grouped(&self.float_node_details),
        };
        lines.iter().map(|line| format!("  in float    {line}")).collect()
    }
}

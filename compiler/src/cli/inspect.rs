//! `eightfold inspect`: what a model, a graph or an artifact consists of.

mod artifact;
mod graph;

use std::path::PathBuf;

use clap::Args;
use eightfold::{Coverage, Error, FloatNode};
use serde::Serialize;

use super::arguments::{ImportArguments, is_artifact};
use super::output::{Format, count, percent};
use super::progress::Terminal;

/// See the verb's help.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eightfold inspect model.onnx
  eightfold inspect model.so --format json")]
pub(crate) struct Arguments {
    /// An ONNX model, a graph in text form (.ir), or a compiled model (.so).
    file: PathBuf,
    #[command(flatten)]
    import: ImportArguments,
}

impl Arguments {
    /// Inspects.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        if is_artifact(&self.file)? {
            let report = artifact::Report::of(&self.file)?;
            return format.print(&report, || report.text());
        }
        let progress = &mut Terminal::plain();
        let model = self.import.load(&self.file, progress)?;
        progress.finish(&[])?;
        let report = graph::Report::of(&model);
        format.print(&report, || report.text())
    }
}

/// What is computed in integers, as reports show it.
#[derive(Serialize)]
pub(super) struct CoverageReport {
    macs: u64,
    /// Fraction of the multiply-accumulates that are done in int8, 0 to 1.
    int8_mac_share: f64,
    /// Names of the nodes that compute in float.
    float_nodes: Vec<String>,
    float_node_details: Vec<FloatNode>,
}

impl From<&Coverage> for CoverageReport {
    fn from(coverage: &Coverage) -> Self {
        CoverageReport {
            macs: coverage.macs,
            int8_mac_share: if coverage.macs == 0 { 0.0 } else { coverage.int8_share() },
            float_nodes: coverage.float_nodes.iter().map(|node| node.node.clone()).collect(),
            float_node_details: coverage.float_nodes.clone(),
        }
    }
}

impl CoverageReport {
    /// `99.48% of 1.24 M MACs`
    pub(super) fn share_text(&self) -> String {
        format!("{} of {} MACs", percent(self.int8_mac_share), count(self.macs))
    }

    /// A line for each node that computes in float, with the reason.
    pub(super) fn float_lines(&self) -> Vec<String> {
        let line = |node: &FloatNode| format!("  in float    {} ({}): {}", node.node, node.op, node.reason);
        self.float_node_details.iter().map(line).collect()
    }
}

//! The share of integer arithmetic in a model, as several verbs report it.

use eightfold::{Coverage, FloatNode, grouped};
use serde::Serialize;

use super::output::{Format, count, percent};

/// The share of integer arithmetic, for reports.
#[derive(Serialize)]
pub(super) struct CoverageReport {
    macs: u64,
    /// Fraction of the multiply-accumulates in int8.
    int8_mac_share: f64,
    /// Fraction of the multiply-accumulates in bf16; omitted if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    bf16_mac_share: Option<f64>,
    /// Fraction of the multiply-accumulates with weights of 8 bits; omitted if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight_int8_mac_share: Option<f64>,
    /// Names of the nodes that compute in float.
    float_nodes: Vec<String>,
    float_node_details: Vec<FloatNode>,
}

impl CoverageReport {
    /// The report for a model that was compiled in `precision`, whose share is reported even if it is 0.
    pub(super) fn new(coverage: &Coverage, precision: &str) -> Self {
        let share = |name: &str, macs: u64| {
            let is_told = macs > 0 || name == precision;
            is_told.then(|| if coverage.macs == 0 { 0.0 } else { macs as f64 / coverage.macs as f64 })
        };
        // This precision concerns only the weights of products, so other nodes are not listed.
        let is_told = |node: &&FloatNode| precision != "weight-int8" || node.macs > 0;
        let float_nodes: Vec<FloatNode> = coverage.float_nodes.iter().filter(is_told).cloned().collect();
        CoverageReport {
            macs: coverage.macs,
            int8_mac_share: if coverage.macs == 0 { 0.0 } else { coverage.int8_share() },
            bf16_mac_share: share("bf16", coverage.bf16_macs),
            weight_int8_mac_share: share("weight-int8", coverage.weight_int8_macs),
            float_nodes: float_nodes.iter().map(|node| node.node.clone()).collect(),
            float_node_details: float_nodes,
        }
    }

    /// `99.48% of 1.24 M MACs`
    pub(super) fn share_text(&self) -> String {
        format!("{} of {} MACs", percent(self.share().1), count(self.macs))
    }

    /// The precision that [`Self::share_text`] refers to.
    pub(super) fn share_name(&self) -> &'static str {
        self.share().0
    }

    /// The name of the reduced precision that the model uses or was asked for, int8 if there is none, and its share.
    fn share(&self) -> (&'static str, f64) {
        let other = [("bf16", self.bf16_mac_share), ("weight-int8", self.weight_int8_mac_share)];
        let other = other.into_iter().find_map(|(name, share)| Some((name, share?)));
        other.unwrap_or(("int8", self.int8_mac_share))
    }

    /// The nodes that compute in float and why: a line for each group, or for each node with `--verbose`.
    pub(super) fn float_lines(&self, format: Format) -> Vec<String> {
        let lines = match format.verbose {
            true => self.float_node_details.iter().map(FloatNode::to_string).collect(),
            false => grouped(&self.float_node_details),
        };
        lines.iter().map(|line| format!("  in float    {line}")).collect()
    }
}

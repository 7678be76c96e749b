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

    /// The precision that [`Self::share_text`] refers to.
    pub(super) fn share_name(&self) -> &'static str {
        if self.bf16_mac_share.is_some() { "bf16" } else { "int8" }
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

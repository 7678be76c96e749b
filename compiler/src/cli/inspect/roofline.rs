//! The least time of each layer or call, computed without running the model.

use eightfold::Optimized;
use eightfold::measure::machine::MachinePeaks;
use eightfold::measure::roofline::{Bound, Limit};
use serde::Serialize;

use crate::cli::layers::{Layer, layers, rest};
use crate::cli::output::{bytes, count, padding, table, us};

/// The bounds of a model's calls.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    kind: &'static str,
    model: &'a str,
    target: &'static str,
    precision: String,
    macs: u64,
    /// The sum of the calls' bounds.
    bound_ms: f64,
    machine: &'a MachinePeaks,
    /// Longest first.
    layers: Vec<LayerReport<'a>>,
    calls: Vec<Row<'a>>,
}

/// The calls of a layer.
#[derive(Serialize)]
struct LayerReport<'a> {
    name: &'a str,
    calls: usize,
    macs: u64,
    bytes: u64,
    compute_ms: f64,
    epilogue_ms: f64,
    memory_ms: f64,
    bound_ms: f64,
    /// The limit of its longest call.
    limit: Limit,
}

impl<'a> LayerReport<'a> {
    fn of(layer: &Layer<'a, Bound>) -> LayerReport<'a> {
        LayerReport {
            name: layer.name,
            calls: layer.calls.len(),
            macs: layer.sum(|call| call.macs),
            bytes: layer.sum(Bound::bytes),
            compute_ms: layer.sum(|call| call.compute_ms),
            epilogue_ms: layer.sum(|call| call.epilogue_ms),
            memory_ms: layer.sum(|call| call.memory_ms),
            bound_ms: layer.sum(Bound::ms),
            limit: layer.longest(Bound::ms).limit(),
        }
    }

    fn cells(&self) -> [String; 9] {
        [
            self.name.to_owned(),
            self.calls.to_string(),
            if self.macs == 0 { String::new() } else { count(self.macs) },
            bytes(self.bytes),
            us(self.compute_ms),
            us(self.epilogue_ms),
            us(self.memory_ms),
            us(self.bound_ms),
            self.limit.name().to_owned(),
        ]
    }
}

/// A call with its bound, the largest of its three times.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    bound: &'a Bound,
    bound_ms: f64,
    limit: Limit,
}

impl<'a> Report<'a> {
    pub(super) fn of(optimized: &'a Optimized, machine: &'a MachinePeaks, bounds: &'a [Bound]) -> Report<'a> {
        let row = |bound: &'a Bound| Row { bound, bound_ms: bound.ms(), limit: bound.limit() };
        let calls: Vec<Row<'_>> = bounds.iter().map(row).collect();
        let mut layers: Vec<_> = layers(bounds, |bound| &bound.name).iter().map(LayerReport::of).collect();
        layers.sort_by(|a, b| b.bound_ms.total_cmp(&a.bound_ms));
        Report {
            kind: "roofline",
            model: &optimized.name,
            target: optimized.target.name,
            precision: optimized.precision.to_string(),
            macs: bounds.iter().map(|bound| bound.macs).sum(),
            bound_ms: calls.iter().map(|call| call.bound_ms).sum(),
            machine,
            layers,
            calls,
        }
    }

    fn total(&self, of: fn(&Bound) -> f64) -> f64 {
        self.calls.iter().map(|call| of(call.bound)).sum()
    }

    /// The layers with the largest bounds, a row each.
    pub(super) fn layers_text(&self, top: usize) -> String {
        let mut rows: Vec<[String; 9]> = self.layers.iter().take(top).map(LayerReport::cells).collect();
        rows.push([
            "total".to_owned(),
            self.calls.len().to_string(),
            count(self.macs),
            bytes(self.calls.iter().map(|call| call.bound.bytes()).sum()),
            us(self.total(|bound| bound.compute_ms)),
            us(self.total(|bound| bound.epilogue_ms)),
            us(self.total(|bound| bound.memory_ms)),
            us(self.bound_ms),
            String::new(),
        ]);
        let header = ["layer", "calls", "MACs", "bytes", "compute us", "epilogue us", "memory us", "bound us", "limit"];
        let table = table(header, rows, &[1, 2, 3, 4, 5, 6, 7]);
        format!("{}\n\n{table}{}", self.head(), rest(top, self.layers.len()))
    }

    /// All calls, a row each, in execution order.
    pub(super) fn calls_text(&self) -> String {
        let mut rows: Vec<[String; 12]> =
            self.calls.iter().enumerate().map(|(index, call)| call.cells(index)).collect();
        rows.push([
            String::new(),
            "total".to_owned(),
            String::new(),
            count(self.macs),
            padding(self.total(|bound| bound.executed_macs as f64) / self.macs.max(1) as f64),
            bytes(self.calls.iter().map(|call| call.bound.bytes()).sum()),
            us(self.total(|bound| bound.compute_ms)),
            us(self.total(|bound| bound.epilogue_ms)),
            us(self.total(|bound| bound.memory_ms)),
            us(self.bound_ms),
            String::new(),
            String::new(),
        ]);
        let header = [
            "",
            "kernel",
            "shape",
            "MACs",
            "padding",
            "bytes",
            "compute us",
            "epilogue us",
            "memory us",
            "bound us",
            "limit",
            "layer",
        ];
        let table = table(header, rows, &[0, 3, 4, 5, 6, 7, 8, 9]);
        format!("{}\n\n{table}", self.head())
    }

    /// The figures of the whole model.
    fn head(&self) -> String {
        let limited = |limit: Limit| {
            let calls = self.calls.iter().filter(|call| call.limit == limit);
            format!("{:.4} ms of {}", calls.fold(0.0, |sum, call| sum + call.bound_ms), limit.name())
        };
        let limits = [Limit::Compute, Limit::Epilogue, Limit::Memory].map(limited).join(", ");
        let Report { model, precision, target, bound_ms, .. } = self;
        format!("{model}, {precision}, {target}: at least {bound_ms:.4} ms\n{limits}")
    }
}

impl Row<'_> {
    fn cells(&self, index: usize) -> [String; 12] {
        let Row { bound, bound_ms, limit } = self;
        [
            index.to_string(),
            bound.kernel.clone(),
            bound.shape.clone(),
            if bound.macs == 0 { String::new() } else { count(bound.macs) },
            padding(bound.padding()),
            bytes(bound.bytes()),
            us(bound.compute_ms),
            us(bound.epilogue_ms),
            us(bound.memory_ms),
            us(*bound_ms),
            limit.name().to_owned(),
            bound.name.clone(),
        ]
    }
}

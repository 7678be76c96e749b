//! The least time that each call takes, before any runs.

use eightfold::Optimized;
use eightfold::machine::Machine;
use eightfold::roofline::{Bound, Limit};
use serde::Serialize;

use crate::cli::output::{bytes, count, padding, table, us};

/// The roofs over a model's calls.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    kind: &'static str,
    model: &'a str,
    target: &'static str,
    precision: String,
    macs: u64,
    /// The sum of the calls' least times.
    bound_ms: f64,
    machine: &'a Machine,
    calls: Vec<Row<'a>>,
}

/// A call with the longest of its three times.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    bound: &'a Bound,
    bound_ms: f64,
    limit: Limit,
}

impl<'a> Report<'a> {
    pub(super) fn of(optimized: &'a Optimized, machine: &'a Machine, bounds: &'a [Bound]) -> Report<'a> {
        let row = |bound: &'a Bound| Row { bound, bound_ms: bound.ms(), limit: bound.limit() };
        let calls: Vec<Row<'_>> = bounds.iter().map(row).collect();
        Report {
            kind: "roofline",
            model: &optimized.name,
            target: optimized.target.name,
            precision: optimized.precision.to_string(),
            macs: bounds.iter().map(|bound| bound.macs).sum(),
            bound_ms: calls.iter().map(|call| call.bound_ms).sum(),
            machine,
            calls,
        }
    }

    pub(super) fn text(&self) -> String {
        let total = |of: fn(&Bound) -> f64| -> f64 { self.calls.iter().map(|call| of(call.bound)).sum() };
        let mut rows: Vec<[String; 12]> =
            self.calls.iter().enumerate().map(|(index, call)| call.cells(index)).collect();
        rows.push([
            String::new(),
            "total".to_owned(),
            String::new(),
            count(self.macs),
            padding(total(|bound| bound.executed_macs as f64) / self.macs.max(1) as f64),
            bytes(self.calls.iter().map(|call| call.bound.bytes()).sum()),
            us(total(|bound| bound.compute_ms)),
            us(total(|bound| bound.epilogue_ms)),
            us(total(|bound| bound.memory_ms)),
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
        let limited = |limit: Limit| {
            let calls = self.calls.iter().filter(|call| call.limit == limit);
            format!("{:.4} ms of {}", calls.map(|call| call.bound_ms).sum::<f64>(), limit.name())
        };
        let limits = [Limit::Compute, Limit::Epilogue, Limit::Memory].map(limited).join(", ");
        let Report { model, precision, target, bound_ms, .. } = self;
        format!("{model}, {precision}, {target}: at least {bound_ms:.4} ms\n{limits}\n\n{table}")
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

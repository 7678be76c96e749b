//! `eightfold bench --profile`: time by layer or by call.

use eightfold::Optimized;
use eightfold::measure::machine::MachinePeaks;
use eightfold::measure::profile::{Profile, TimedCall};
use eightfold::measure::roofline::{Bound, Limit};
use serde::Serialize;

use crate::cli::layers::{Layer, layers, rest};
use crate::cli::output::{bytes, count, padding, percent, table, us};

/// A profile, and the model and target that it belongs to.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    target: &'static str,
    precision: String,
    runs: usize,
    /// Median time of a whole inference.
    total_ms: f64,
    total_min_ms: f64,
    /// Sum of the calls' times.
    calls_ms: f64,
    /// Sum of the calls' bounds.
    bound_ms: f64,
    macs: u64,
    macs_per_second: f64,
    share_of_peak: f64,
    machine: &'a MachinePeaks,
    /// Slowest first.
    layers: Vec<LayerReport<'a>>,
    calls: &'a [TimedCall],
}

/// The calls of a layer.
#[derive(Serialize)]
struct LayerReport<'a> {
    name: &'a str,
    calls: usize,
    median_ms: f64,
    /// Fraction of the time of all calls.
    share: f64,
    macs: u64,
    /// `None` for a layer without products.
    share_of_peak: Option<f64>,
    bound_ms: f64,
    /// The limit of its longest call.
    limit: Limit,
}

impl<'a> LayerReport<'a> {
    fn of(layer: &Layer<'a, TimedCall>) -> LayerReport<'a> {
        let (median_ms, macs) = (layer.sum(|call| call.median_ms), layer.sum(|call| call.bound.macs));
        let compute_ms = layer.sum(|call| call.bound.compute_ms);
        LayerReport {
            name: layer.name,
            calls: layer.calls.len(),
            median_ms,
            share: layer.sum(|call| call.share),
            macs,
            share_of_peak: (macs > 0).then(|| compute_ms / median_ms),
            bound_ms: layer.sum(|call| call.bound_ms),
            limit: layer.longest(|call| call.median_ms).limit,
        }
    }

    fn cells(&self) -> [String; 8] {
        [
            self.name.to_owned(),
            self.calls.to_string(),
            us(self.median_ms),
            part(self.share),
            if self.macs == 0 { String::new() } else { count(self.macs) },
            self.share_of_peak.map_or_else(String::new, part),
            us(self.bound_ms),
            self.limit.name().to_owned(),
        ]
    }
}

impl<'a> Report<'a> {
    pub(super) fn of(optimized: &'a Optimized, machine: &'a MachinePeaks, profile: &'a Profile) -> Report<'a> {
        let Profile { calls, total_ms, total_min_ms, runs } = profile;
        let mut layers: Vec<_> = layers(calls, |call| &call.bound.name).iter().map(LayerReport::of).collect();
        layers.sort_by(|a, b| b.median_ms.total_cmp(&a.median_ms));
        Report {
            model: &optimized.name,
            target: optimized.target.name,
            precision: optimized.precision.to_string(),
            runs: *runs,
            total_ms: *total_ms,
            total_min_ms: *total_min_ms,
            calls_ms: profile.calls_ms(),
            bound_ms: profile.bound_ms(),
            macs: profile.macs(),
            macs_per_second: profile.macs() as f64 / (total_ms / 1e3),
            share_of_peak: profile.compute_ms() / total_ms,
            machine,
            layers,
            calls,
        }
    }

    /// The slowest layers, a row each.
    pub(super) fn layers_text(&self, top: usize) -> String {
        let mut rows: Vec<[String; 8]> = self.layers.iter().take(top).map(LayerReport::cells).collect();
        rows.push([
            "total".to_owned(),
            self.calls.len().to_string(),
            us(self.calls_ms),
            part(1.0),
            count(self.macs),
            part(self.share_of_peak * self.total_ms / self.calls_ms),
            us(self.bound_ms),
            String::new(),
        ]);
        let header = ["layer", "calls", "us", "time", "MACs", "peak", "bound us", "limit"];
        let table = table(header, rows, &[1, 2, 3, 4, 5, 6]);
        format!("{}\n\n{table}{}", self.head(), rest(top, self.layers.len()))
    }

    /// All calls, a row each, in execution order.
    pub(super) fn calls_text(&self) -> String {
        let total = |of: fn(&Bound) -> u64| -> u64 { self.calls.iter().map(|call| of(&call.bound)).sum() };
        let sum = |of| bytes(total(of));
        let mut rows: Vec<[String; 15]> = self.calls.iter().enumerate().map(|(index, call)| row(index, call)).collect();
        rows.push([
            String::new(),
            "total".to_owned(),
            String::new(),
            us(self.calls_ms),
            part(1.0),
            count(self.macs),
            padding(total(|bound| bound.executed_macs) as f64 / self.macs.max(1) as f64),
            sum(|bound| bound.input_bytes),
            sum(|bound| bound.weight_bytes),
            sum(|bound| bound.output_bytes),
            String::new(),
            part(self.share_of_peak * self.total_ms / self.calls_ms),
            us(self.bound_ms),
            String::new(),
            String::new(),
        ]);
        let header = [
            "", "kernel", "shape", "us", "time", "MACs", "padding", "in", "weights", "out", "MAC/B", "peak",
            "bound us", "limit", "layer",
        ];
        let table = table(header, rows, &[0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        format!("{}\n\n{table}", self.head())
    }

    /// The figures of the whole model.
    fn head(&self) -> String {
        let Report { model, precision, target, total_ms, total_min_ms, runs, bound_ms, .. } = self;
        let (rate, peak) = (self.macs_per_second / 1e9, percent(self.share_of_peak));
        let bound = percent(bound_ms / total_ms);
        format!(
            "{model}, {precision}, {target}: {total_ms:.4} ms median, {total_min_ms:.4} ms least of {runs} runs\n\
             {rate:.1} GMAC/s, {peak} of the peak\n\
             {bound_ms:.4} ms bound, {bound} of the time"
        )
    }
}

fn row(index: usize, call: &TimedCall) -> [String; 15] {
    let TimedCall { bound, bound_ms, median_ms, share, share_of_peak, limit, .. } = call;
    let product = |text: String| if bound.macs == 0 { String::new() } else { text };
    [
        index.to_string(),
        bound.kernel.clone(),
        bound.shape.clone(),
        us(*median_ms),
        part(*share),
        product(count(bound.macs)),
        padding(bound.padding()),
        bytes(bound.input_bytes),
        bytes(bound.weight_bytes),
        bytes(bound.output_bytes),
        product(format!("{:.1}", bound.macs_per_byte)),
        share_of_peak.map_or_else(String::new, part),
        us(*bound_ms),
        limit.name().to_owned(),
        bound.name.clone(),
    ]
}

fn part(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

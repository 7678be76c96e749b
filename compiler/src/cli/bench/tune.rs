//! `eightfold bench --tune`: compares the cost model's choices and predicted times with the fastest candidates.

use eightfold::Optimized;
use eightfold::measure::tune::{Kind, Measured, ModelError, totals};
use serde::Serialize;

use crate::cli::output::{percent, table};
use crate::cli::tuning::error_text;

/// The timed decisions, and the model and target that they belong to.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    target: &'static str,
    precision: String,
    #[serde(flatten)]
    totals: Totals,
    products: Vec<&'a Measured>,
    chains: OfKind<'a>,
    splits: OfKind<'a>,
}

/// The decisions of a kind other than products.
#[derive(Serialize)]
struct OfKind<'a> {
    #[serde(flatten)]
    totals: Totals,
    decisions: Vec<&'a Measured>,
}

/// Totals over the decisions of one kind.
#[derive(Serialize)]
struct Totals {
    /// Microseconds per inference of the fastest candidates.
    best_us: f64,
    /// Microseconds per inference of the cost model's choices.
    model_us: f64,
    /// `model_us / best_us - 1`.
    loss: f64,
    /// The error of the cost model; `None` if nothing was timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_model: Option<ModelError>,
}

impl Totals {
    fn of(measured: &[&Measured]) -> Totals {
        let [best_us, model_us] = totals(measured.iter().copied());
        let loss = model_us / best_us.max(f64::MIN_POSITIVE) - 1.0;
        Totals { best_us, model_us, loss, cost_model: ModelError::of(measured.iter().copied()) }
    }
}

impl<'a> Report<'a> {
    pub(super) fn of(optimized: &'a Optimized, measured: &'a [Measured]) -> Report<'a> {
        let of_kind = |kind| measured.iter().filter(|one| one.kind == kind).collect::<Vec<_>>();
        let section = |kind| {
            let decisions = of_kind(kind);
            OfKind { totals: Totals::of(&decisions), decisions }
        };
        let products = of_kind(Kind::Product);
        Report {
            model: &optimized.name,
            target: optimized.target.name,
            precision: optimized.precision.to_string(),
            totals: Totals::of(&products),
            products,
            chains: section(Kind::Chain),
            splits: section(Kind::Split),
        }
    }

    pub(super) fn text(&self) -> String {
        let kinds = [
            (Kind::Product, &self.totals, &self.products),
            (Kind::Chain, &self.chains.totals, &self.chains.decisions),
            (Kind::Split, &self.splits.totals, &self.splits.decisions),
        ];
        let kinds = kinds.into_iter().filter(|(_, _, measured)| !measured.is_empty());
        let tables: Vec<String> = kinds.map(|(kind, totals, measured)| text(kind, totals, measured)).collect();
        format!("{}, {}, {}\n\n{}", self.model, self.precision, self.target, tables.join("\n\n"))
    }
}

/// A table of the decisions of one kind, and the error of the cost model.
fn text(kind: Kind, totals: &Totals, measured: &[&Measured]) -> String {
    let us = |us: f64| format!("{us:.1}");
    let row = |one: &&Measured| {
        let best = if one.is_other() { one.best.choice.to_string() } else { String::new() };
        [
            one.shape.clone(),
            one.calls.to_string(),
            us(one.predicted_us),
            one.model.choice.to_string(),
            us(one.model.us),
            best,
            us(one.best.us),
            percent(one.loss()),
            one.layer.clone(),
        ]
    };
    let mut rows: Vec<[String; 9]> = measured.iter().map(row).collect();
    let nothing = String::new;
    let [model_us, gap, best_us, loss] = [us(totals.model_us), nothing(), us(totals.best_us), percent(totals.loss)];
    let all = format!("all {}", kind.plural());
    rows.push([all, nothing(), nothing(), nothing(), model_us, gap, best_us, loss, nothing()]);
    let header = ["shape", "calls", "predicted us", "model chooses", "us", "best", "us", "loss", "layer"];
    let error = totals.cost_model.as_ref().map(|error| format!("\n{}", error_text(kind, error)));
    table(header, rows, &[1, 2, 4, 6, 7]) + &error.unwrap_or_default()
}

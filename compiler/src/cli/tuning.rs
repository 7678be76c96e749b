//! The arguments for choices by measurement.

use std::path::PathBuf;

use clap::Args;
use eightfold::measure::tune::{Kind, Measured, ModelError, totals};
use eightfold::measure::tuning_file::{Tuned, TuningFile};
use eightfold::{Error, check_writable, declare_input};
use serde::Serialize;

use super::destination::{Destination, check_extension};
use super::output::percent;

/// Whether to measure, and the file of measurements.
#[derive(Args, Clone, Debug)]
pub(crate) struct TuningArguments {
    /// Time the candidates on this machine and choose the fastest: tile and loop order of each product; with one
    /// thread, which chains of calls run in bands and the band height; with several threads, how they share each call.
    /// The machine must support the target and should have an idle CPU per thread. Results are stored in the tuning
    /// file; those already in it are not timed again. No choice changes the model's outputs.
    #[arg(long)]
    tune: bool,
    /// Use the measured choices in this file; cost models make the choices that it lacks. With --tune, the file to
    /// store the results in; by default the output's name with the extension .tuning.
    #[arg(long, value_name = "FILE")]
    tuning_file: Option<PathBuf>,
}

/// The result of the measurements.
#[derive(Serialize)]
pub(crate) struct TuningReport {
    file: String,
    /// Distinct products of the model.
    products: usize,
    #[serde(flatten)]
    of_products: Summary,
    chains: OfKind,
    splits: OfKind,
    seconds: f64,
}

/// Decisions of a kind other than products.
#[derive(Serialize)]
struct OfKind {
    distinct: usize,
    #[serde(flatten)]
    summary: Summary,
}

/// Decisions of one kind.
#[derive(Serialize)]
struct Summary {
    #[serde(skip)]
    kind: Kind,
    /// Distinct decisions of the model.
    #[serde(skip)]
    distinct: usize,
    /// Decisions that the file has.
    known: usize,
    /// Decisions that were timed now.
    timed: usize,
    /// Timed decisions whose fastest candidate is not the cost model's choice.
    other_choices: usize,
    /// Microseconds per inference of the fastest candidates that were timed.
    best_us: f64,
    /// Microseconds per inference of the cost model's choices.
    model_us: f64,
    /// The cost model's error; `None` if nothing was timed.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_model: Option<ModelError>,
}

/// The error of the cost model as text.
pub(crate) fn error_text(kind: Kind, error: &ModelError) -> String {
    let ModelError { median, p90, over_best, decisions } = error;
    format!(
        "cost model: median |error| {}, p90 {} over {decisions} {}; \
         choices within {over_best:.2}x of the best (geometric mean)",
        percent(*median),
        percent(*p90),
        kind.plural()
    )
}

impl TuningArguments {
    /// The file to read or write measurements; `None` if there is none. It is checked before any work.
    pub(crate) fn file(&self, output: &Destination) -> Result<Option<TuningFile>, Error> {
        let path = match (&self.tuning_file, self.tune, output) {
            (Some(path), ..) => path.clone(),
            (None, false, _) => return Ok(None),
            (None, true, Destination::File(output)) => output.with_extension("tuning"),
            (None, true, Destination::Stdout) => {
                let what = "--tune stores measurements in a file, and -o - gives it no name: add --tuning-file";
                return Err(Error::Usage(what.to_owned()));
            }
        };
        check_extension(&path, &["tuning"])?;
        if self.tune {
            check_writable(&path)?;
        } else {
            declare_input(&path)?;
        }
        Ok(Some(TuningFile { path, measures: self.tune }))
    }
}

impl Summary {
    fn of(kind: Kind, [distinct, known]: [usize; 2], measured: &[Measured]) -> Summary {
        let timed = || measured.iter().filter(|one| one.kind == kind);
        let [best_us, model_us] = totals(timed());
        let other_choices = timed().filter(|one| one.is_other()).count();
        let cost_model = ModelError::of(timed());
        Summary { kind, distinct, known, timed: timed().count(), other_choices, best_us, model_us, cost_model }
    }

    /// A summary of the timed decisions; `None` if there are none.
    fn text(&self) -> Option<String> {
        let Summary { kind, timed, other_choices, best_us, model_us, .. } = self;
        let gain = percent(1.0 - best_us / model_us.max(f64::MIN_POSITIVE));
        (*timed > 0).then(|| {
            format!(
                "{timed} {}, {other_choices} faster by another candidate than the cost model's: {:.3} ms instead of \
                 {:.3} ms, {gain} less",
                kind.plural(),
                best_us / 1e3,
                model_us / 1e3
            )
        })
    }
}

impl TuningReport {
    pub(crate) fn of(tuned: &Tuned) -> TuningReport {
        let Tuned { path, known, timed, seconds } = tuned;
        let [of_products, chains, splits] = std::array::from_fn(|at| Summary::of(Kind::ALL[at], known[at], timed));
        let of_kind = |summary: Summary| OfKind { distinct: summary.distinct, summary };
        TuningReport {
            file: path.display().to_string(),
            products: of_products.distinct,
            of_products,
            chains: of_kind(chains),
            splits: of_kind(splits),
            seconds: *seconds,
        }
    }

    /// One line, or more if something was timed.
    pub(crate) fn text(&self) -> Vec<String> {
        let TuningReport { file, of_products, chains, splits, seconds, .. } = self;
        let kinds = [of_products, &chains.summary, &splits.summary];
        let timed: Vec<String> = kinds.iter().filter_map(|kind| kind.text()).collect();
        if timed.is_empty() {
            let known = |kind: &&Summary| format!("{} of {} {}", kind.known, kind.distinct, kind.kind.plural());
            let known: Vec<String> = kinds.iter().filter(|kind| kind.distinct > 0).map(known).collect();
            return vec![format!("{} by {file}", known.join(", "))];
        }
        let errors = kinds.iter().filter_map(|of| Some(error_text(of.kind, of.cost_model.as_ref()?)));
        [format!("timed in {seconds:.1} s, kept in {file}")].into_iter().chain(timed).chain(errors).collect()
    }
}

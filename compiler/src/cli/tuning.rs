//! The arguments that say by which measurements is chosen how a model runs.

use std::path::PathBuf;

use clap::Args;
use eightfold::measure::tune::{Kind, Measured, totals};
use eightfold::measure::tuning_file::{Tuned, TuningFile};
use eightfold::{Error, check_writable, declare_input};
use serde::Serialize;

use super::destination::{Destination, check_extension};
use super::output::percent;

/// Which measurements.
#[derive(Args, Clone, Debug)]
pub(crate) struct TuningArguments {
    /// Time what there is to choose from, and take the fastest: tiles and order of loops of each product, which chains of
    /// calls run depth first and in bands of how many rows (with one thread), along which axis threads share a call (with
    /// several, which should have CPUs with nothing else to do). This machine must run the target, and as many threads.
    /// Results are kept in the tuning file, and those that it has are not timed again. The outputs of the model are the
    /// same bytes whatever is chosen.
    #[arg(long)]
    tune: bool,
    /// Choose by the measurements in this file; cost models choose where it does not say. With --tune the file to keep
    /// them in, by default the output's name with the extension .tuning.
    #[arg(long, value_name = "FILE")]
    tuning_file: Option<PathBuf>,
}

/// What became of the measurements.
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

/// What became of the decisions of a kind other than products.
#[derive(Serialize)]
struct OfKind {
    distinct: usize,
    #[serde(flatten)]
    summary: Summary,
}

/// What became of the decisions of one kind.
#[derive(Serialize)]
struct Summary {
    #[serde(skip)]
    kind: Kind,
    /// Distinct decisions about the model.
    #[serde(skip)]
    distinct: usize,
    /// Those of them that the file has.
    known: usize,
    /// Those that were timed now.
    timed: usize,
    /// Those of them for which the cost model would not have chosen the best.
    other_choices: usize,
    /// Microseconds in what was timed, in one inference, of the best choices.
    best_us: f64,
    /// The same of those of the cost model.
    model_us: f64,
}

impl TuningArguments {
    /// The file that measurements are read from, or kept in; `None` if nothing is measured. It is checked before the work.
    pub(crate) fn file(&self, output: &Destination) -> Result<Option<TuningFile>, Error> {
        let path = match (&self.tuning_file, self.tune, output) {
            (Some(path), ..) => path.clone(),
            (None, false, _) => return Ok(None),
            (None, true, Destination::File(output)) => output.with_extension("tuning"),
            (None, true, Destination::Stdout) => {
                let what = "--tune keeps its measurements in a file, which has no name with -o -: give --tuning-file";
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
        Summary { kind, distinct, known, timed: timed().count(), other_choices, best_us, model_us }
    }

    /// What was timed of the kind; nothing if nothing was.
    fn text(&self) -> Option<String> {
        let Summary { kind, timed, other_choices, best_us, model_us, .. } = self;
        let gain = percent(1.0 - best_us / model_us.max(f64::MIN_POSITIVE));
        (*timed > 0).then(|| {
            format!(
                "{timed} {}, {other_choices} done otherwise than the cost model says: {:.3} ms instead of \
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

    /// One line, or more where something was timed.
    pub(crate) fn text(&self) -> Vec<String> {
        let TuningReport { file, of_products, chains, splits, seconds, .. } = self;
        let kinds = [of_products, &chains.summary, &splits.summary];
        let timed: Vec<String> = kinds.iter().filter_map(|kind| kind.text()).collect();
        if timed.is_empty() {
            let known = |kind: &&Summary| format!("{} of {} {}", kind.known, kind.distinct, kind.kind.plural());
            let known: Vec<String> = kinds.iter().filter(|kind| kind.distinct > 0).map(known).collect();
            return vec![format!("{} by {file}", known.join(", "))];
        }
        [format!("timed in {seconds:.1} s, kept in {file}")].into_iter().chain(timed).collect()
    }
}

//! Tuning: finds the fastest candidates on this machine, and compares the cost models' choices with them.

use std::thread;

use eightfold_codegen::choice::{Choice, Choices};
use eightfold_codegen::cpu::CpuModel;
use eightfold_codegen::decision::{Decision, products};
use eightfold_codegen::llvm::artifact::CompileError;
use eightfold_codegen::measure::tune::{self as timing, Trials};
use eightfold_codegen::program::Program;
use eightfold_codegen::schedule::bands::{Bands, chains};
use eightfold_codegen::schedule::choose::ChooseTiles;
use eightfold_codegen::schedule::parallel::splits;
use eightfold_codegen::schedule::{ScheduleContext, SchedulePass};
use eightfold_codegen::tuning::{Tuned, Tuning};
use serde::{Serialize, Serializer};

use super::machine::cpu_name;
use crate::error::Error;
use crate::stages::optimize::Optimized;
use crate::stages::progress::{Progress, Stage};

/// The maximum number of rounds for chains; later rounds gain too little.
const ROUNDS: usize = 8;

/// A kind of decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Tile and loop order of a product.
    Product,
    /// Whether a chain of calls runs in bands, and the band height.
    Chain,
    /// How threads share a call.
    Split,
}

impl Kind {
    /// All kinds, in the order of their decisions.
    pub const ALL: [Kind; 3] = [Kind::Product, Kind::Chain, Kind::Split];

    /// The plural name of the kind's subjects.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Product => "products",
            Kind::Chain => "chains",
            Kind::Split => "splits",
        }
    }
}

/// A timed decision, which holds for all places of the model with its key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The kind.
    #[serde(skip)]
    pub kind: Kind,
    /// The key in tuning files.
    pub geometry: String,
    /// The ONNX nodes of the first place, separated by commas.
    pub layer: String,
    /// The extents of its calls; for products `M x K x N`.
    pub shape: String,
    /// The number of places per inference.
    pub calls: usize,
    /// The time of the cost model's choice as it predicts it, in microseconds.
    pub predicted_us: f64,
    /// The cost model's choice.
    pub model: TimedChoice,
    /// The fastest candidate.
    pub best: TimedChoice,
    /// All timed candidates.
    pub tried: Vec<TimedChoice>,
}

/// A choice with its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TimedChoice {
    /// The choice.
    #[serde(serialize_with = "text")]
    pub choice: Choice,
    /// Microseconds per run.
    pub us: f64,
}

fn text<S: Serializer>(choice: &Choice, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(choice)
}

impl From<timing::Timed> for TimedChoice {
    fn from(timed: timing::Timed) -> Self {
        // Tenths of a nanosecond are noise, and short numbers read better.
        TimedChoice { choice: timed.choice, us: (1e9 * timed.time.as_secs_f64()).round() / 1e3 }
    }
}

impl Measured {
    /// `(model time - best time) / best time`.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.model.us / self.best.us.max(f64::MIN_POSITIVE) - 1.0
    }

    /// Whether the fastest candidate is not the model's.
    #[must_use]
    pub fn is_other(&self) -> bool {
        self.best.choice != self.model.choice
    }
}

/// Microseconds per inference over `measured`: with the fastest candidates, and with the cost models' choices.
#[must_use]
pub fn totals<'m>(measured: impl IntoIterator<Item = &'m Measured>) -> [f64; 2] {
    measured.into_iter().fold([0.0; 2], |[best, model], one| {
        let calls = one.calls as f64;
        [best + calls * one.best.us, model + calls * one.model.us]
    })
}

/// How far the cost model is from what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ModelError {
    /// Median of `|predicted - measured| / measured` of the chosen candidates.
    pub median: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// Geometric mean of the chosen candidates' time over that of the fastest.
    pub over_best: f64,
    /// The number of decisions.
    pub decisions: usize,
}

impl ModelError {
    /// The error over timed decisions; `None` if there are none.
    #[must_use]
    pub fn of<'m>(measured: impl IntoIterator<Item = &'m Measured>) -> Option<ModelError> {
        let measured: Vec<&Measured> = measured.into_iter().collect();
        let error = |one: &&Measured| (one.predicted_us / one.model.us.max(f64::MIN_POSITIVE) - 1.0).abs();
        let mut errors: Vec<f64> = measured.iter().map(error).collect();
        errors.sort_by(f64::total_cmp);
        let decisions = errors.len();
        let over_best = measured.iter().map(|one| one.loss().ln_1p()).sum::<f64>() / decisions as f64;
        let percentile = |percent: usize| errors[(decisions * percent).div_ceil(100) - 1];
        (decisions > 0).then(|| ModelError {
            median: percentile(50),
            p90: percentile(90),
            over_best: over_best.exp(),
            decisions,
        })
    }
}

/// Times the candidates of each distinct decision of a graph that `known` lacks. Returns the completed tuning, and what
/// was timed.
///
/// # Errors
/// If this machine cannot run the target or that many threads, an operator has no kernel, or `known` is for another
/// target or CPU.
pub fn tune(
    optimized: &Optimized,
    known: Option<Tuning>,
    progress: &mut dyn Progress,
) -> Result<(Tuning, Vec<Measured>), Error> {
    if !optimized.target.runs_here() {
        return Err(Error::TuneElsewhere { target: optimized.target.name });
    }
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    if optimized.threads > cpus {
        return Err(Error::TuneThreads { threads: optimized.threads, cpus });
    }
    let cpu = cpu_name().unwrap_or_default();
    let mut tuning = Tuning::new(optimized.target, &cpu);
    if let Some(known) = known {
        if known.target != tuning.target {
            return Err(Error::TuningTarget { expected: tuning.target.name, got: known.target.name });
        }
        if known.cpu != tuning.cpu {
            return Err(Error::TuningCpu { expected: tuning.cpu, got: known.cpu });
        }
        tuning = known;
    }
    progress.stage(Stage::Tune);
    let prepared = optimized.prepared_program()?;
    let mut measured = Vec::new();
    for kind in Kind::ALL {
        // Measurements of chains may make others worth measuring.
        for _ in 0..if kind == Kind::Chain { ROUNDS } else { 1 } {
            let choices = optimized.choices.with_measured(tuning.choices());
            let program = chosen(&prepared, &choices);
            let decisions = decisions(kind, optimized, &program, &choices);
            let timed = time(kind, &program, decisions, choices.cpu(program.target), &mut tuning, progress)?;
            if timed.is_empty() {
                break;
            }
            measured.extend(timed);
        }
    }
    Ok((tuning, measured))
}

/// The program with these choices of tiles.
fn chosen(prepared: &Program, choices: &Choices) -> Program {
    let mut program = prepared.clone();
    ChooseTiles.run(&mut program, &ScheduleContext::of(choices));
    program
}

/// Times the decisions that the tuning lacks, and adds the fastest choices to it.
fn time(
    kind: Kind,
    program: &Program,
    mut decisions: Vec<Decision>,
    cpu: &CpuModel,
    tuning: &mut Tuning,
    progress: &mut dyn Progress,
) -> Result<Vec<Measured>, Error> {
    decisions.retain(|decision| !tuning.choices.contains_key(&decision.key));
    let all = program.calls();
    let mut measured = Vec::with_capacity(decisions.len());
    let count = decisions.len();
    for (done, decision) in decisions.into_iter().enumerate() {
        progress.samples(done, count);
        let trials =
            timing::tune(program, &decision, cpu).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
        let Trials { model, best, tried } = trials;
        let (model, best): (TimedChoice, TimedChoice) = (model.into(), best.into());
        tuning.choices.insert(decision.key.clone(), Tuned { choice: best.choice, times: Some([best.us, model.us]) });
        let calls = || decision.calls.iter().map(|at| all[*at]);
        measured.push(Measured {
            kind,
            layer: calls().map(|call| call.origin.clone()).collect::<Vec<_>>().join("; "),
            shape: calls().map(|call| call.shape()).collect::<Vec<_>>().join("; "),
            calls: decision.count,
            predicted_us: decision.cost(cpu) / 1e3,
            geometry: decision.key,
            model,
            best,
            tried: tried.into_iter().map(TimedChoice::from).collect(),
        });
    }
    if count > 0 {
        progress.samples(count, count);
    }
    Ok(measured)
}

/// For each kind, the number of distinct decisions of a graph, and how many of them the tuning has.
///
/// # Errors
/// If an operator has no kernel.
pub fn known(optimized: &Optimized, tuning: &Tuning) -> Result<[[usize; 2]; Kind::ALL.len()], Error> {
    let choices = optimized.choices.with_measured(tuning.choices());
    let program = chosen(&optimized.prepared_program()?, &choices);
    Ok(Kind::ALL.map(|kind| {
        let decisions = decisions(kind, optimized, &program, &choices);
        let known = decisions.iter().filter(|decision| tuning.choices.contains_key(&decision.key)).count();
        [decisions.len(), known]
    }))
}

/// The distinct decisions of a kind for the whole program of a graph, given the choices so far.
fn decisions(kind: Kind, optimized: &Optimized, program: &Program, choices: &Choices) -> Vec<Decision> {
    match (kind, optimized.threads) {
        (Kind::Product, _) => products(program, choices),
        (Kind::Chain, 1) if optimized.bands != Bands::Never => chains(program, choices),
        (Kind::Split, 2..) => splits(program, optimized.threads, choices),
        (Kind::Chain | Kind::Split, _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use eightfold_codegen::choice::Fusion;

    use super::*;

    fn measured([predicted_us, model, best]: [f64; 3]) -> Measured {
        let timed = |us| TimedChoice { choice: Choice::Fusion(Fusion::Whole), us };
        Measured {
            kind: Kind::Product,
            geometry: String::new(),
            layer: String::new(),
            shape: String::new(),
            calls: 1,
            predicted_us,
            model: timed(model),
            best: timed(best),
            tried: vec![],
        }
    }

    #[test]
    fn the_error_of_a_cost_model_is_relative_and_has_no_sign() {
        assert_eq!(ModelError::of([]), None);
        let exact = [measured([8.0, 8.0, 8.0])];
        assert_eq!(ModelError::of(&exact), Some(ModelError { median: 0.0, p90: 0.0, over_best: 1.0, decisions: 1 }));
        // Half too short, a quarter too long, exact.
        let all = [[50.0, 100.0, 100.0], [5.0, 4.0, 2.0], [3.0, 3.0, 0.75]].map(measured);
        let error = ModelError::of(&all).expect("decisions");
        assert_eq!((error.median, error.p90, error.decisions), (0.25, 0.5, 3));
        assert!((error.over_best - 2.0).abs() < 1e-12, "{error:?}");
    }
}

//! Measured choices: what is the fastest way on this machine, and how far off the cost models are.

use std::thread;

use eightfold_codegen::choice::{Choice, Choices, Decision, products};
use eightfold_codegen::compile::CompileError;
use eightfold_codegen::llvm::tune::{self as timing, Trials};
use eightfold_codegen::program::Program;
use eightfold_codegen::schedule::bands::{Bands, chains};
use eightfold_codegen::schedule::parallel::splits;
use eightfold_codegen::tuning::{Tuned, Tuning};
use serde::{Serialize, Serializer};

use super::machine::cpu;
use crate::error::Error;
use crate::stages::optimize::Optimized;
use crate::stages::progress::{Progress, Stage};

/// How often chains are asked for, at most: the last ones are hardly worth their time.
const ROUNDS: usize = 8;

/// What is decided by measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Tile and order of loops of a product.
    Product,
    /// Whether a chain of calls runs depth first, and in bands of how many rows.
    Chain,
    /// How a call is shared among threads.
    Split,
}

impl Kind {
    /// All kinds, in the order in which they are decided.
    pub const ALL: [Kind; 3] = [Kind::Product, Kind::Chain, Kind::Split];

    /// What there is of the kind, for people.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Product => "products",
            Kind::Chain => "chains",
            Kind::Split => "splits",
        }
    }
}

/// A decision about a model, all pieces of one key, and what was timed for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Of which kind it is.
    #[serde(skip)]
    pub kind: Kind,
    /// The key, by which tuning files know it.
    pub geometry: String,
    /// The ONNX nodes of the first such piece, joined by commas.
    pub layer: String,
    /// The extents of its calls, of products `M x K x N`.
    pub shape: String,
    /// How many such pieces there are in one inference.
    pub calls: usize,
    /// What the cost model chooses.
    pub model: Timed,
    /// The best.
    pub best: Timed,
    /// All that was timed.
    pub tried: Vec<Timed>,
}

/// A choice with its time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// The choice.
    #[serde(serialize_with = "text")]
    pub choice: Choice,
    /// Microseconds of one run.
    pub us: f64,
}

fn text<S: Serializer>(choice: &Choice, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(choice)
}

impl From<timing::Timed> for Timed {
    fn from(timed: timing::Timed) -> Self {
        // Tenths of a nanosecond are noise; short numbers read better.
        Timed { choice: timed.choice, us: (1e9 * timed.time.as_secs_f64()).round() / 1e3 }
    }
}

impl Measured {
    /// How much longer the model's choice takes than the best, as a part of the latter.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.model.us / self.best.us.max(f64::MIN_POSITIVE) - 1.0
    }

    /// Whether the best is another way than the model's.
    #[must_use]
    pub fn is_other(&self) -> bool {
        self.best.choice != self.model.choice
    }
}

/// Microseconds of one inference in all that was measured: of the best choices, and of the models'.
#[must_use]
pub fn totals<'m>(measured: impl IntoIterator<Item = &'m Measured>) -> [f64; 2] {
    measured.into_iter().fold([0.0; 2], |[best, model], one| {
        let calls = one.calls as f64;
        [best + calls * one.best.us, model + calls * one.model.us]
    })
}

/// Times the choices for each distinct decision about a graph that `known` has none for, and returns both together, and
/// what was timed.
///
/// # Errors
/// The target or so many threads do not run here, an operator has no kernel, or `known` is of another target or CPU.
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
    let cpu = cpu().unwrap_or_default();
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
    let mut measured = Vec::new();
    for kind in Kind::ALL {
        // What was measured of chains may bring up others.
        for _ in 0..if kind == Kind::Chain { ROUNDS } else { 1 } {
            let choices = tuning.choices();
            let program = optimized.whole_program(&choices)?;
            let timed = time(kind, &program, decisions(kind, optimized, &program, &choices), &mut tuning, progress)?;
            if timed.is_empty() {
                break;
            }
            measured.extend(timed);
        }
    }
    Ok((tuning, measured))
}

/// Times those of the decisions that the tuning has no choice for, and adds their choices to it.
fn time(
    kind: Kind,
    program: &Program,
    mut decisions: Vec<Decision>,
    tuning: &mut Tuning,
    progress: &mut dyn Progress,
) -> Result<Vec<Measured>, Error> {
    decisions.retain(|decision| !tuning.choices.contains_key(&decision.key));
    let mut measured = Vec::with_capacity(decisions.len());
    let count = decisions.len();
    for (done, decision) in decisions.into_iter().enumerate() {
        progress.samples(done, count);
        let trials = timing::tune(program, &decision).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
        let Trials { model, best, tried } = trials;
        let (model, best): (Timed, Timed) = (model.into(), best.into());
        tuning.choices.insert(decision.key.clone(), Tuned { choice: best.choice, times: Some([best.us, model.us]) });
        let calls = || decision.calls.iter().map(|at| program.calls()[*at]);
        measured.push(Measured {
            kind,
            layer: calls().map(|call| call.origin.clone()).collect::<Vec<_>>().join("; "),
            shape: calls().map(|call| call.shape()).collect::<Vec<_>>().join("; "),
            geometry: decision.key,
            calls: decision.count,
            model,
            best,
            tried: tried.into_iter().map(Timed::from).collect(),
        });
    }
    if count > 0 {
        progress.samples(count, count);
    }
    Ok(measured)
}

/// How many distinct decisions of each kind there are about a graph, and how many of them a tuning has a choice for.
///
/// # Errors
/// An operator has no kernel.
pub fn known(optimized: &Optimized, tuning: &Tuning) -> Result<[[usize; 2]; Kind::ALL.len()], Error> {
    let choices = tuning.choices();
    let program = optimized.whole_program(&choices)?;
    Ok(Kind::ALL.map(|kind| {
        let decisions = decisions(kind, optimized, &program, &choices);
        let known = decisions.iter().filter(|decision| tuning.choices.contains_key(&decision.key)).count();
        [decisions.len(), known]
    }))
}

/// The distinct decisions of a kind about the whole program of a graph, given what is known.
fn decisions(kind: Kind, optimized: &Optimized, program: &Program, choices: &Choices) -> Vec<Decision> {
    match (kind, optimized.threads) {
        (Kind::Product, _) => products(program),
        (Kind::Chain, 1) if optimized.bands != Bands::Never => chains(program, choices),
        (Kind::Split, 2..) => splits(program, optimized.threads),
        (Kind::Chain | Kind::Split, _) => Vec::new(),
    }
}

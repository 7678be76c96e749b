//! Measured choices: which kernels are the fastest on this machine, and how far off the cost model is.

use std::fs;
use std::path::Path;

use eightfold_codegen::choice::{Choice, Geometry};
use eightfold_codegen::compile::CompileError;
use eightfold_codegen::llvm::tune::{self as timing, Trials};
use eightfold_codegen::program::Program;
use eightfold_codegen::tuning::{Tuned, Tuning};
use serde::{Serialize, Serializer};

use crate::driver::{Optimized, Progress, Stage};
use crate::error::Error;
use crate::machine::cpu;

/// A product of a model, all calls of one geometry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Product {
    /// The geometry as text, by which tuning files know it.
    pub geometry: String,
    /// The ONNX nodes of the first call, joined by commas.
    pub layer: String,
    /// The first call's extents, `M x K x N`.
    pub shape: String,
    /// How often it is called in one inference.
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
    /// The least microseconds of one run.
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

impl Product {
    /// How much longer the model's choice takes than the best, as a part of the latter.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.model.us / self.best.us.max(f64::MIN_POSITIVE) - 1.0
    }
}

/// Microseconds of one inference in all `products`: of the best choices, and of the model's.
#[must_use]
pub fn totals(products: &[Product]) -> [f64; 2] {
    let sum = |us: fn(&Product) -> f64| products.iter().map(|product| product.calls as f64 * us(product)).sum();
    [sum(|product| product.best.us), sum(|product| product.model.us)]
}

/// A tuning file.
///
/// # Errors
/// It cannot be read, or does not parse.
pub fn read(path: &Path) -> Result<Tuning, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|source| Error::Tuning { path: path.to_owned(), source })
}

/// Times the choices for each distinct product of a graph that `known` has no choice for, and returns both together, and
/// what was timed.
///
/// # Errors
/// The target does not run here, an operator has no kernel, or `known` is of another target or CPU.
pub fn tune(
    optimized: &Optimized,
    known: Option<Tuning>,
    progress: &mut dyn Progress,
) -> Result<(Tuning, Vec<Product>), Error> {
    if !optimized.target.runs_here() {
        return Err(Error::TuneElsewhere { target: optimized.target.name });
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
    let program = optimized.whole_program()?;
    let mut products = distinct(&program);
    products.retain(|(key, ..)| !tuning.products.contains_key(key));
    let mut timed = Vec::new();
    let count = products.len();
    for (done, (geometry, index, calls)) in products.into_iter().enumerate() {
        progress.samples(done, count);
        let call = &program.calls[index];
        let trials = timing::tune(&program, call).map_err(|error| Error::Compile(CompileError::Machine(error)))?;
        let Some(Trials { model, best, tried }) = trials else { continue };
        let (model, best): (Timed, Timed) = (model.into(), best.into());
        tuning.products.insert(geometry.clone(), Tuned { choice: best.choice, times: Some([best.us, model.us]) });
        timed.push(Product {
            geometry,
            layer: call.origin.clone(),
            shape: call.shape(),
            calls,
            model,
            best,
            tried: tried.into_iter().map(Timed::from).collect(),
        });
    }
    if count > 0 {
        progress.samples(count, count);
    }
    Ok((tuning, timed))
}

/// How many of a graph's distinct products a tuning has a choice for, and how many there are.
///
/// # Errors
/// An operator has no kernel.
pub fn known(optimized: &Optimized, tuning: &Tuning) -> Result<[usize; 2], Error> {
    let products = distinct(&optimized.whole_program()?);
    let known = products.iter().filter(|(key, ..)| tuning.products.contains_key(key)).count();
    Ok([known, products.len()])
}

/// The distinct products of a program in the order of its calls: the geometry as text, the first call, how many calls.
fn distinct(program: &Program) -> Vec<(String, usize, usize)> {
    let mut products: Vec<(String, usize, usize)> = Vec::new();
    for (index, call) in program.calls.iter().enumerate() {
        let Some(key) = Geometry::of(call).map(|geometry| geometry.key()) else { continue };
        match products.iter_mut().find(|(known, ..)| *known == key) {
            Some((.., calls)) => *calls += 1,
            None => products.push((key, index, 1)),
        }
    }
    products
}

//! Decisions: the parts of a program that can run in several ways, with their candidates.
//!
//! Tuning measures the candidates. The key of a decision finds its measured choice in a tuning file.

pub(crate) mod key;

use crate::choice::{Blocking, Choice, Choices};
use crate::cpu::CpuModel;
use crate::kernel::gemm::candidates;
use crate::kernel::plain::as_if_packed;
use crate::kernel::{Call, Geometry};
use crate::program::Program;
use crate::target::Target;

/// How many tiles are measured: the best ones by the cost model.
const TILES: usize = 16;

/// A part of a program with several candidates.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The key in tuning files.
    pub key: String,
    /// The numbers of its calls in the program. For several equal parts, those of the first part.
    pub calls: Vec<usize>,
    /// How many parts of the program have this key.
    pub count: usize,
    /// The candidates. The cost model's candidate comes first.
    pub(crate) ways: Vec<Way>,
}

/// A candidate: a choice, and the calls that result from it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) choice: Choice,
    /// For each thread, calls that run before the timed ones.
    pub(crate) before: Vec<Vec<Call>>,
    /// For each thread, the calls that are timed. Threads run at the same time.
    pub(crate) threads: Vec<Vec<Call>>,
}

impl Decision {
    /// The cost model's choice.
    #[must_use]
    pub fn model(&self) -> Choice {
        self.ways[0].choice
    }

    /// Nanoseconds that the cost model predicts for its choice.
    #[must_use]
    pub fn cost(&self, cpu: &CpuModel) -> f64 {
        self.ways[0].cost(cpu)
    }

    /// More candidates, close to a choice that was measured to be fast. The choice itself is not among them.
    pub(crate) fn near(&self, choice: Choice, program: &Program, cpu: &CpuModel) -> Vec<Way> {
        let call = program.calls()[self.calls[0]];
        match (choice, Geometry::of(call)) {
            (Choice::Blocking(blocking), Some(geometry)) => {
                let bands = candidates::bands(blocking, &geometry, cpu).into_iter();
                bands.map(|blocking| Way::product(blocking, call, program)).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Way {
    pub(crate) fn of(choice: Choice, threads: Vec<Vec<Call>>) -> Way {
        Way { choice, before: Vec::new(), threads }
    }

    /// All calls of all threads.
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.before.iter().chain(&self.threads).flatten()
    }

    /// The same candidate with views of packed constants: see [`as_if_packed`].
    pub(crate) fn as_if_packed(&self, target: &Target) -> Way {
        let packed = |threads: &[Vec<Call>]| {
            let calls = |calls: &Vec<Call>| calls.iter().map(|call| as_if_packed(call, target)).collect();
            threads.iter().map(calls).collect()
        };
        Way { choice: self.choice, before: packed(&self.before), threads: packed(&self.threads) }
    }

    /// Nanoseconds that the cost model predicts for all threads together.
    fn cost(&self, cpu: &CpuModel) -> f64 {
        let thread = |calls: &Vec<Call>| calls.iter().map(|call| call.cost(cpu)).sum::<f64>();
        let barrier = if self.threads.len() > 1 { cpu.barrier } else { 0.0 };
        barrier + self.threads.iter().map(thread).fold(0.0, f64::max)
    }

    fn product(blocking: Blocking, call: &Call, program: &Program) -> Way {
        Way::of(Choice::Blocking(blocking), vec![vec![blocking.applied(call, program.target)]])
    }
}

/// The distinct products of a program, in the order of its calls. The candidates are the best tiles by the cost model,
/// each with its best loop order.
#[must_use]
pub fn products(program: &Program, choices: &Choices) -> Vec<Decision> {
    let cpu = choices.cpu(program.target);
    let product = |(at, call)| Geometry::of(call).map(|geometry| (call.key(), vec![at], (geometry, call)));
    distinct(program.calls().into_iter().enumerate().filter_map(product), |(geometry, call)| {
        let model = geometry.blocking(cpu);
        let others = candidates::tiles(&geometry, cpu, TILES).into_iter().filter(|tile| *tile != model);
        [model].into_iter().chain(others).map(|blocking| Way::product(blocking, call, program)).collect()
    })
}

/// The decisions about `pieces`, one for each distinct key, in order. A piece has a key, the numbers of its calls, and
/// the data from which `ways` makes the candidates. Pieces with a single candidate are left out.
pub(crate) fn distinct<P>(
    pieces: impl Iterator<Item = (String, Vec<usize>, P)>,
    ways: impl Fn(P) -> Vec<Way>,
) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::new();
    for (key, calls, piece) in pieces {
        match decisions.iter_mut().find(|decision| decision.key == key) {
            Some(decision) => decision.count += 1,
            None => decisions.push(Decision { ways: ways(piece), key, calls, count: 1 }),
        }
    }
    decisions.retain(|decision| decision.ways.len() > 1);
    decisions
}

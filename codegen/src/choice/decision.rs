//! Decisions: what of a program can be done in several ways, and which ways there are.

use super::{Blocking, Choice, Geometry, candidates};
use crate::program::{Call, Program};

/// Tiles that are tried: the best ones by the cost model.
const TILES: usize = 16;

/// A piece of a program that can be done in several ways.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What it is as text, by which tuning files know it.
    pub key: String,
    /// The positions of its calls in the program; of several such pieces, those of the first.
    pub calls: Vec<usize>,
    /// How many such pieces the program has.
    pub count: usize,
    /// The ways, the cost model's first.
    pub(crate) ways: Vec<Way>,
}

/// A way to do a piece of a program.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) choice: Choice,
    /// Calls of each thread that come before and are not timed.
    pub(crate) before: Vec<Vec<Call>>,
    /// The calls of each thread, which run at the same time.
    pub(crate) threads: Vec<Vec<Call>>,
}

impl Decision {
    /// What the cost model chooses.
    #[must_use]
    pub fn model(&self) -> Choice {
        self.ways[0].choice
    }

    /// The ways that are near one that has turned out well, itself left out.
    pub(crate) fn near(&self, choice: Choice, program: &Program) -> Vec<Way> {
        let call = program.calls()[self.calls[0]];
        match (choice, Geometry::of(call)) {
            (Choice::Blocking(blocking), Some(geometry)) => {
                let bands = candidates::bands(blocking, &geometry).into_iter();
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

    fn product(blocking: Blocking, call: &Call, program: &Program) -> Way {
        Way::of(Choice::Blocking(blocking), vec![vec![blocking.applied(call, program.target)]])
    }
}

/// The distinct products of a program, in the order of its calls: each with the tiles that the cost model holds best, in
/// the order of loops that it chooses.
#[must_use]
pub fn products(program: &Program) -> Vec<Decision> {
    let product = |(at, call)| Geometry::of(call).map(|geometry| (geometry.key(), vec![at], (geometry, call)));
    distinct(program.calls().into_iter().enumerate().filter_map(product), |(geometry, call)| {
        let model = geometry.blocking(program.target);
        let others = candidates::tiles(&geometry, program.target, TILES).into_iter().filter(|tile| *tile != model);
        [model].into_iter().chain(others).map(|blocking| Way::product(blocking, call, program)).collect()
    })
}

/// Pieces with their keys and calls, each key once, in order, with the `ways` to do it; none where there is but one way.
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

//! Scripts: candidates as compiled functions with addresses, ready to run.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::memory::{Memory, weights};
use crate::decision::Way;
use crate::kernel::Call;
use crate::llvm::jit::{Compiled, Entry};
use crate::program::Program;
use crate::view::{Storage, View};

/// The distinct functions of several candidates.
#[derive(Default)]
pub(super) struct Functions {
    /// A call for each function.
    pub(super) calls: Vec<Call>,
    /// The position of each function in `calls`. The key is the text of a geometry, as floats in it cannot be ordered.
    by_geometry: BTreeMap<String, usize>,
}

impl Functions {
    pub(super) fn of(ways: &[Way]) -> Functions {
        let mut functions = Functions::default();
        for call in ways.iter().flat_map(Way::calls) {
            let geometry = call.geometry();
            let next = functions.calls.len();
            let index = *functions.by_geometry.entry(geometry.to_string()).or_insert(next);
            if index == next {
                functions.calls.push(geometry);
            }
        }
        functions
    }

    fn entry<'c>(&self, call: &Call, compiled: &'c Compiled<'_>) -> Entry<'c> {
        compiled.entry(self.by_geometry[&call.geometry().to_string()])
    }
}

/// A candidate, ready to run.
pub(super) struct Script<'c> {
    /// For each thread, the steps that run before the timed ones.
    before: Vec<Vec<Step<'c>>>,
    /// For each thread, the timed steps.
    threads: Vec<Vec<Step<'c>>>,
    /// Bytes of weights that one run reads.
    pub(super) weights: usize,
}

/// A part of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Before,
    Timed,
}

/// One call.
struct Step<'c> {
    entry: Entry<'c>,
    places: Vec<Place>,
}

/// The place of an operand or of the result.
#[derive(Clone, Copy)]
enum Place {
    At(usize),
    /// A distance in bytes from the start of the run's weights.
    Weights(usize),
}

impl<'c> Script<'c> {
    /// The script of a candidate. Its `functions` have been compiled, and `memory` has room for its views.
    pub(super) fn of(way: &Way, functions: &Functions, compiled: &'c Compiled<'_>, memory: &mut Memory) -> Script<'c> {
        let layout = Weights::of(way);
        let mut step = |call: &Call| {
            let own = weights(call);
            let place = |view: &View| match own.is_some_and(|own| std::ptr::eq(own, view)) {
                true => Place::Weights(layout.offset(view)),
                false => Place::At(memory.address(view)),
            };
            let places = call.operands.iter().chain([&call.output]).map(place).collect();
            Step { entry: functions.entry(call, compiled), places }
        };
        let mut steps = |threads: &[Vec<Call>]| -> Vec<Vec<Step<'c>>> {
            threads.iter().map(|calls| calls.iter().map(&mut step).collect()).collect()
        };
        Script { before: steps(&way.before), threads: steps(&way.threads), weights: layout.bytes }
    }

    /// The steps of each thread in a part.
    fn steps(&self, part: Part) -> &[Vec<Step<'c>>] {
        match part {
            Part::Before => &self.before,
            Part::Timed => &self.threads,
        }
    }

    /// The number of threads that a part needs.
    pub(super) fn threads(&self, part: Part) -> usize {
        self.steps(part).len()
    }

    /// Runs the steps of a thread in a part. `weights` is the address of the run's weights.
    pub(super) fn run(&self, part: Part, thread: usize, weights: usize) {
        self.steps(part).get(thread).into_iter().flatten().for_each(|step| step.run(weights));
    }
}

impl Step<'_> {
    fn run(&self, weights: usize) {
        let address = |place: &Place| match place {
            Place::At(address) => *address as *mut u8,
            Place::Weights(offset) => (weights + offset) as *mut u8,
        };
        let pointers: SmallVec<[*mut u8; 16]> = self.places.iter().map(address).collect();
        // SAFETY: each pointer is the first element of its view, in a block of at least the program's size with slack
        // after it. The slack covers accumulators rounded up to whole tiles. The run's weights are as large as the run
        // reads.
        unsafe { self.entry.run(&pointers) };
    }
}

/// The layout of the weights of one run of a candidate.
pub(super) struct Weights {
    /// The first byte of each constant.
    first: BTreeMap<Storage, usize>,
    /// The bytes of all constants.
    pub(super) bytes: usize,
}

impl Weights {
    pub(super) fn of(way: &Way) -> Weights {
        let mut ends: BTreeMap<Storage, usize> = BTreeMap::new();
        for view in way.calls().filter_map(weights) {
            // The parts of a call read different parts of the same weights.
            let end = (view.offset + view.grid.elements()) * view.dtype.byte_size();
            let known = ends.entry(view.storage).or_default();
            *known = end.max(*known);
        }
        let mut bytes = 0;
        let mut place = |(storage, end): (Storage, usize)| {
            let first = bytes;
            bytes += end.next_multiple_of(Program::ARENA_ALIGN);
            (storage, first)
        };
        let first = ends.into_iter().map(&mut place).collect();
        Weights { first, bytes }
    }

    fn offset(&self, view: &View) -> usize {
        self.first[&view.storage] + view.offset * view.dtype.byte_size()
    }
}

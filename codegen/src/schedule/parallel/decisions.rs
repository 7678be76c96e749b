//! What to measure of calls that several threads may share: the whole call on the first thread, and all ways to cut it.
//!
//! Calls that the model holds for far too small to be shared are left out. Before each run, the threads write what the call
//! reads, each its part of the bytes: so what a thread reads comes from the other's cache where it would in the network.

use super::{WORTH_SHARING, cut, modelled};
use crate::choice::{Choice, Choices, Split};
use crate::cpu::{CpuModel, LINE};
use crate::decision::{Decision, Way, distinct, key};
use crate::kernel::{Call, Fill};
use crate::program::Program;
use crate::view::{Grid, Storage, View};

use eightfold_ir::DType;

/// The part of what is worth sharing by the model that is measured, too.
const SMALL: f64 = 0.5;

/// The distinct calls of a program of one thread without bands that `threads` threads may share.
#[must_use]
pub fn splits(program: &Program, threads: usize, choices: &Choices) -> Vec<Decision> {
    let cpu = choices.cpu(program.target);
    let is_large = |call: &Call| call.cost(cpu) >= SMALL * WORTH_SHARING * cpu.barrier;
    let calls = program.calls().into_iter().enumerate().filter(|(_, call)| is_large(call));
    let pieces = calls.map(|(at, call)| (key::of_split(call, threads), vec![at], call));
    distinct(pieces, |call| ways(call, program, threads, cpu))
}

/// The ways to share the call, that of the model first.
fn ways(call: &Call, program: &Program, threads: usize, cpu: &CpuModel) -> Vec<Way> {
    let cuts = cut::ways(call, threads, LINE);
    let model = match modelled(call, &cuts, cpu, false) {
        Some(best) => Choice::Split(Split::Axis(cuts[best].0)),
        None => Choice::Split(Split::Whole),
    };
    let before = inputs(call, program, threads);
    let whole = (Split::Whole, vec![vec![call.clone()]]);
    let parts = cuts.into_iter().map(|(axis, parts)| {
        let threads = parts.into_iter().map(|part| vec![part]).collect();
        (Split::Axis(axis), threads)
    });
    let way = |(split, threads)| Way { before: before.clone(), ..Way::of(Choice::Split(split), threads) };
    let mut ways: Vec<Way> = [whole].into_iter().chain(parts).map(way).collect();
    ways.sort_by_key(|way| way.choice != model);
    ways
}

/// What writes all buffers that the call reads, each thread its part.
fn inputs(call: &Call, program: &Program, threads: usize) -> Vec<Vec<Call>> {
    let mut parts = vec![Vec::new(); threads];
    for view in &call.operands {
        let Storage::Buffer(id) = view.storage else { continue };
        let grid = Grid::dense(&[program.buffers[id.0].byte_size]);
        let fill = Call {
            producer: Fill { element: [0; 8] }.into(),
            operands: vec![],
            steps: vec![],
            output: View::new(view.storage, DType::U8, 0, grid),
            origin: "input".to_owned(),
        };
        if let Some((_, fills)) = cut::ways(&fill, threads, LINE).into_iter().next() {
            parts.iter_mut().zip(fills).for_each(|(part, fill)| part.push(fill));
        }
    }
    parts
}

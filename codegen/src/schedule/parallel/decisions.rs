//! Lists the candidates to measure for calls that threads may share: the whole call on the first thread, and all cuts.
//!
//! Calls that are far too small according to the model are left out. Before each run, every thread writes its part of
//! the call's inputs, so that a thread finds inputs in another thread's cache as it does when the whole model runs.

use super::{WORTH_SHARING, cut, modelled};
use crate::choice::{Choice, Choices, Split};
use crate::cpu::{CpuModel, LINE};
use crate::decision::{Decision, Way, distinct, key};
use crate::kernel::{Call, Fill};
use crate::program::Program;
use crate::view::{Grid, Storage, View};

use eightfold_ir::DType;

/// Calls are measured from this fraction of the least time that the model shares.
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

/// The candidates for sharing the call. The model's choice comes first.
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

/// For each thread, calls that write its part of all buffers that the call reads.
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

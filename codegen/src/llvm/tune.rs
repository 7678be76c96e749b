//! Times the ways that there are to do a piece of a program, each compiled into this process.
//!
//! Ways take turns in short rounds, and each has its best turn, so that what else the machine does counts little; after
//! some rounds the slower half drops out. Those that are near the fastest are then timed with them once more.

mod memory;
mod script;

use std::time::Duration;

use super::jit::Jit;
use super::machine::MachineError;
use crate::choice::{Choice, Decision, Way};
use crate::program::Program;
use memory::Memory;
use script::{Functions, Script, Weights};

/// Ways whose neighbours are tried, too.
const FINALISTS: usize = 2;

/// Rounds until the slower half drops out.
const ROUNDS: usize = 8;

/// Rounds of those that are left at the end.
const LAST_ROUNDS: usize = 24;

/// A choice must be faster than the model's by this part to be preferred: less is noise.
const GAIN: f64 = 0.01;

/// The times of a decision's ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Trials {
    /// The cost model's choice.
    pub model: Timed,
    /// The best; the cost model's unless another is clearly faster.
    pub best: Timed,
    /// All that were tried, the cost model's among them. Those that dropped out early had fewer turns.
    pub tried: Vec<Timed>,
}

/// A choice with the least time that one run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// The choice.
    pub choice: Choice,
    /// Its least time.
    pub time: Duration,
}

/// Times the ways of a decision about `program`, whose target must run here.
///
/// # Errors
/// Of LLVM.
pub fn tune(program: &Program, decision: &Decision) -> Result<Trials, MachineError> {
    let mut memory = Memory::of(program);
    let mut tried = heat(program, &decision.ways, &mut memory)?;
    let ranked = by_time(&tried);
    let mut last: Vec<Way> = vec![decision.ways[0].clone()];
    let mut near = false;
    for Timed { choice, .. } in ranked.iter().take(FINALISTS) {
        let neighbours = decision.near(*choice, program);
        near |= !neighbours.is_empty();
        let finalist = decision.ways.iter().filter(|way| way.choice == *choice).cloned();
        let others = finalist.chain(neighbours).filter(|way| way.choice != decision.model());
        last.extend(others.collect::<Vec<_>>());
    }
    let mut finals = tried.clone();
    if near {
        finals = heat(program, &last, &mut memory)?;
        tried.retain(|timed| last.iter().all(|way| way.choice != timed.choice));
        tried.extend(finals.iter().copied());
    }
    let (model, best) = (finals[0], by_time(&finals)[0]);
    let worth_it = best.time.as_secs_f64() < (1.0 - GAIN) * model.time.as_secs_f64();
    Ok(Trials { model, best: if worth_it { best } else { model }, tried })
}

fn by_time(timed: &[Timed]) -> Vec<Timed> {
    let mut ranked = timed.to_vec();
    ranked.sort_by_key(|timed| timed.time);
    ranked
}

/// Times ways in rounds; all keep their best turn, the faster ones have more of them. The first never drops out.
fn heat(program: &Program, ways: &[Way], memory: &mut Memory) -> Result<Vec<Timed>, MachineError> {
    let weights = ways.iter().map(|way| Weights::of(way).bytes).max().unwrap_or(0);
    memory.make_room(program, ways.iter().flat_map(Way::calls), weights);
    let functions = Functions::of(ways);
    let jit = Jit::default();
    let compiled = jit.compile(&functions.calls, program.target, false, false)?;
    let scripts: Vec<Script<'_>> = ways.iter().map(|way| Script::of(way, &functions, &compiled, memory)).collect();
    let mut timed: Vec<Timed> = ways.iter().map(|way| Timed { choice: way.choice, time: Duration::MAX }).collect();
    let mut running: Vec<usize> = (0..ways.len()).collect();
    loop {
        let last = running.len() <= 4;
        for _ in 0..if last { LAST_ROUNDS } else { ROUNDS } {
            for &index in &running {
                timed[index].time = timed[index].time.min(scripts[index].turn(memory));
            }
        }
        if last {
            return Ok(timed);
        }
        running.sort_by_key(|index| timed[*index].time);
        let half = running.split_off(running.len().div_ceil(2));
        running.extend(half.into_iter().filter(|index| *index == 0));
    }
}

//! Times the candidates of a decision, each compiled into this process.
//!
//! Candidates take turns in short rounds. Each turn is divided by the turn of the cost model's candidate in the same
//! round. The median of these ratios over the quieter half of the rounds is the result, so that other work on the
//! machine counts little. After some rounds the slower half of the candidates drops out. At the end, the fastest
//! candidates are timed together with their neighbours: other heights of the band, for example.

mod memory;
mod script;
mod team;

use std::thread;
use std::time::Duration;

use crate::choice::Choice;
use crate::cpu::CpuModel;
use crate::decision::{Decision, Way};
use crate::llvm::jit::Jit;
use crate::llvm::machine::MachineError;
use crate::program::Program;
use memory::Memory;
use script::{Functions, Script, Weights};
use team::{Board, Team};

/// How many of the fastest candidates are timed together with their neighbours.
const FINALISTS: usize = 2;

/// How many candidates stay until the end.
const FEW: usize = 4;

/// Rounds before the slower half drops out.
const ROUNDS: usize = 9;

/// Rounds with only the candidates that stay until the end.
const LAST_ROUNDS: usize = 40;

/// A candidate is preferred to the model's only if it is faster by at least this fraction. A smaller difference is
/// noise.
const GAIN: f64 = 0.01;

/// The times of a decision's candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Trials {
    /// The cost model's choice.
    pub model: Timed,
    /// The best choice: the cost model's, unless another is clearly faster.
    pub best: Timed,
    /// All candidates that were timed, including the cost model's. Candidates that dropped out early had fewer turns.
    pub tried: Vec<Timed>,
}

/// A choice with the time of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// The choice.
    pub choice: Choice,
    /// The least time of the cost model's candidate, times the measured ratio of this candidate to the cost model's.
    pub time: Duration,
}

/// Times the candidates of a decision about `program`, whose target must run here. Its constants are plain; kernels
/// read arbitrary bytes of the size of the packed constants. `cpu` determines which neighbours to try.
///
/// # Errors
/// Fails if LLVM fails.
pub fn tune(program: &Program, decision: &Decision, cpu: &CpuModel) -> Result<Trials, MachineError> {
    let mut memory = Memory::of(program);
    let mut tried = heat(program, &decision.ways, &mut memory)?;
    let ranked = by_time(&tried);
    let mut last: Vec<Way> = vec![decision.ways[0].clone()];
    let mut near = false;
    for Timed { choice, .. } in ranked.iter().take(FINALISTS) {
        let neighbours = decision.near(*choice, program, cpu);
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

/// Times candidates in rounds, faster ones in more rounds. All are compared with the first candidate, which never drops
/// out.
fn heat(program: &Program, ways: &[Way], memory: &mut Memory) -> Result<Vec<Timed>, MachineError> {
    let ways: Vec<Way> = ways.iter().map(|way| way.as_if_packed(program.target)).collect();
    let weights = ways.iter().map(|way| Weights::of(way).bytes).max().unwrap_or(0);
    memory.make_room(program, ways.iter().flat_map(Way::calls), weights);
    let functions = Functions::of(&ways);
    let jit = Jit::default();
    let compiled = jit.compile(&functions.calls, program.target, false)?;
    let scripts: Vec<Script<'_>> = ways.iter().map(|way| Script::of(way, &functions, &compiled, memory)).collect();
    let threads = ways.iter().map(|way| way.threads.len().max(way.before.len())).max().unwrap_or(1);
    let board = Board::default();
    Ok(thread::scope(|scope| rounds(&ways, &Team::new(scope, &scripts, &board, threads), memory)))
}

/// Runs the rounds.
fn rounds(ways: &[Way], team: &Team<'_, '_>, memory: &mut Memory) -> Vec<Timed> {
    let mut least = Duration::MAX;
    // For each candidate and each of its rounds: the seconds of the first candidate's turn, and of its own turn.
    let mut turns: Vec<Vec<[f64; 2]>> = vec![Vec::new(); ways.len()];
    let mut running: Vec<usize> = (0..ways.len()).collect();
    loop {
        let last = running.len() <= FEW;
        for _ in 0..if last { LAST_ROUNDS } else { ROUNDS } {
            let first = team.turn(0, memory);
            least = least.min(first);
            let first = first.as_secs_f64();
            turns[0].push([first, first]);
            for &index in running.iter().filter(|index| **index > 0) {
                turns[index].push([first, team.turn(index, memory).as_secs_f64()]);
            }
        }
        let parts: Vec<f64> = turns.iter().map(|turns| part(turns)).collect();
        if last {
            let timed = |(way, part): (&Way, f64)| Timed { choice: way.choice, time: least.mul_f64(part) };
            return ways.iter().zip(parts).map(timed).collect();
        }
        running.sort_by(|a, b| parts[*a].total_cmp(&parts[*b]));
        let half = running.split_off(running.len().div_ceil(2));
        running.extend(half.into_iter().filter(|index| *index == 0));
    }
}

/// The time of a candidate divided by that of the first: the median over the quieter half of the rounds.
fn part(turns: &[[f64; 2]]) -> f64 {
    let mut rounds = turns.to_vec();
    rounds.sort_by(|a, b| a[0].total_cmp(&b[0]));
    rounds.truncate(turns.len().div_ceil(2));
    let mut parts: Vec<f64> = rounds.into_iter().map(|[first, own]| own / first).collect();
    parts.sort_by(f64::total_cmp);
    parts[parts.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disturbed_rounds_do_not_count() {
        // The first candidate was disturbed in three of seven rounds, the second in one of the others.
        let turns = [[10.0, 9.0], [10.2, 9.1], [70.0, 8.0], [10.1, 30.0], [90.0, 9.0], [10.0, 9.0], [80.0, 9.0]];
        assert_eq!(part(&turns), 0.9);
        assert_eq!(part(&turns[..1]), 0.9);
    }
}

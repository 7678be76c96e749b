//! Times the choices that there are for a product, each compiled into this process.
//!
//! Choices take turns in short rounds, and each has its best turn, so that what else the machine does counts little; after
//! some rounds the slower half drops out. Inputs and results lie where they did the time before, as what the layer before
//! has just written does. Weights come from as far away as in the network: each run reads others, until as many bytes as
//! all constants of the program have gone by. Numbers are zeros: what a kernel does depends on shapes.

use std::time::{Duration, Instant};

use super::jit::{Compiled, Jit};
use super::machine::MachineError;
use crate::choice::{Choice, Geometry, candidates};
use crate::program::{Call, Program, Storage, View};

/// Tiles that are tried: the best ones by the cost model.
const TILES: usize = 16;

/// Tiles that are tried with other bands.
const FINALISTS: usize = 2;

/// Rounds until the slower half drops out.
const ROUNDS: usize = 8;

/// Rounds of those that are left at the end.
const LAST_ROUNDS: usize = 24;

/// How long a turn is, at least.
const TURN: Duration = Duration::from_micros(400);

/// A choice must be faster than the model's by this part to be preferred: less is noise.
const GAIN: f64 = 0.01;

/// The times of a product's choices.
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

/// Times the choices for a call of `program`, whose target must run here; `None` if there is nothing to choose.
///
/// # Errors
/// Of LLVM.
pub fn tune(program: &Program, call: &Call) -> Result<Option<Trials>, MachineError> {
    let Some(geometry) = Geometry::of(call) else { return Ok(None) };
    let model = geometry.choice(program.target);
    let mut tiles = candidates::tiles(&geometry, program.target, TILES);
    tiles.retain(|choice| *choice != model);
    tiles.insert(0, model);
    let mut memory = Memory::of(program, call);
    let mut tried = heat(program, call, &tiles, &mut memory)?;
    let best = |tried: &[Timed]| {
        let mut ranked = tried.to_vec();
        ranked.sort_by_key(|timed| timed.time);
        ranked
    };
    let finalists = best(&tried);
    let mut last = vec![model];
    for Timed { choice, .. } in finalists.into_iter().take(FINALISTS) {
        last.extend([choice].into_iter().chain(candidates::bands(choice, &geometry)).filter(|choice| *choice != model));
    }
    let finals = heat(program, call, &last, &mut memory)?;
    let (model, best) = (finals[0], best(&finals)[0]);
    let worth_it = best.time.as_secs_f64() < (1.0 - GAIN) * model.time.as_secs_f64();
    tried.retain(|timed| !last.contains(&timed.choice));
    tried.extend(finals);
    Ok(Some(Trials { model, best: if worth_it { best } else { model }, tried }))
}

/// Times choices in rounds; all keep their best turn, the faster ones have more of them. The first never drops out.
fn heat(program: &Program, call: &Call, choices: &[Choice], memory: &mut Memory) -> Result<Vec<Timed>, MachineError> {
    let calls: Vec<Call> = choices.iter().map(|choice| choice.applied(call, program.target)).collect();
    memory.make_room(&calls);
    let jit = Jit::default();
    let compiled = jit.compile(&calls, program.target, false, false)?;
    let mut timed: Vec<Timed> = choices.iter().map(|choice| Timed { choice: *choice, time: Duration::MAX }).collect();
    let mut running: Vec<usize> = (0..choices.len()).collect();
    loop {
        let last = running.len() <= 4;
        for _ in 0..if last { LAST_ROUNDS } else { ROUNDS } {
            for &index in &running {
                let time = memory.turn(&compiled, index, &calls[index]);
                timed[index].time = timed[index].time.min(time);
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

/// What a call works on.
struct Memory {
    /// The operands, those of steps too, but for the weights.
    operands: Vec<Vec<u8>>,
    output: Vec<u8>,
    /// Weights of many runs, one after the other.
    weights: Vec<u8>,
    /// Bytes of all constants of the program.
    constants: usize,
    /// Where the next run's weights begin.
    next: usize,
}

/// More bytes of constants than caches of today hold.
const FAR: usize = 128 << 20;

impl Memory {
    fn of(program: &Program, call: &Call) -> Memory {
        let room = |view: &View| {
            let size = match view.storage {
                Storage::Buffer(id) => program.buffers[id.0].byte_size,
                Storage::Const(id) => program.consts[id.0].bytes.len(),
            };
            // Initial sums may be rounded up to wider tiles.
            vec![0; size + 4 * Program::SLACK + program.target.vector_bits]
        };
        let constants = program.consts.iter().map(|constant| constant.bytes.len()).sum::<usize>().min(FAR);
        Memory {
            operands: call.operands.iter().map(room).collect(),
            output: room(&call.output),
            weights: Vec::new(),
            constants,
            next: 0,
        }
    }

    /// Makes room for the weights of all these calls.
    fn make_room(&mut self, calls: &[Call]) {
        let largest = calls.iter().map(weight_bytes).max().unwrap_or(0);
        let room = self.constants + largest + Program::SLACK + Program::ARENA_ALIGN;
        // Written, or the system would show the same page everywhere.
        self.weights.resize(room.max(self.weights.len()), 1);
    }

    /// Runs call `index` for a turn; the time of one run.
    fn turn(&mut self, compiled: &Compiled<'_>, index: usize, call: &Call) -> Duration {
        let entry = compiled.entry(index);
        let start = |bytes: &mut Vec<u8>, view: &View| {
            let aligned = bytes.as_ptr().align_offset(Program::ARENA_ALIGN);
            let offset = if matches!(view.storage, Storage::Buffer(_)) { view.offset } else { 0 };
            bytes[aligned + offset * view.dtype.byte_size()..].as_mut_ptr()
        };
        let operands = self.operands.iter_mut().zip(&call.operands);
        let mut pointers: Vec<*mut u8> = operands.map(|(bytes, view)| start(bytes, view)).collect();
        pointers.push(start(&mut self.output, &call.output));
        let size = weight_bytes(call);
        let first = self.weights.as_ptr().align_offset(Program::ARENA_ALIGN);
        let begin = Instant::now();
        let mut runs = 0;
        loop {
            if self.next >= self.constants {
                self.next = 0;
            }
            pointers[1] = self.weights[first + self.next..][..size + Program::SLACK].as_mut_ptr();
            self.next += size;
            // SAFETY: each pointer is the first element of its view in a buffer as large as the program has it, with slack
            // behind; the weights have just been seen to be there, the sums are rounded up to whole tiles.
            unsafe { entry.run(&pointers) };
            runs += 1;
            let time = begin.elapsed();
            if time >= TURN {
                return time / runs;
            }
        }
    }
}

/// Bytes of a call's weights, up to the next cache line.
fn weight_bytes(call: &Call) -> usize {
    let view = &call.operands[1];
    (view.grid.elements() * view.dtype.byte_size()).next_multiple_of(Program::ARENA_ALIGN)
}

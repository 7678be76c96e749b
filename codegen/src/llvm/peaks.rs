//! Measures peak rates of one core: multiply-accumulates, other vector arithmetic, bytes read from each level of
//! memory.
//!
//! Each rate is that of a loop that does nothing else, in the target's own instructions. The loops take turns in short
//! rounds. Only the best round of each counts, so other work on the machine and changes of the clock matter little.
//! Writes are not measured.

use std::time::{Duration, Instant};

use eightfold_ir::{DType, Function};

use super::jit::{Compiled, Jit};
use super::machine::MachineError;
use crate::kernel::operations::step_operations;
use crate::step::{Arg, Step};
use crate::target::Target;
use crate::vector::{Emitter, Kind, Ptr, State};

/// The number of rounds, and the time that each loop runs in a round.
const ROUNDS: usize = 12;
const TURN: Duration = Duration::from_millis(10);

/// Iterations of the loops over products and other arithmetic, and how often these loops start again. One pass reads 8
/// to 40 KiB.
const TURNS: usize = 64;
const REPEATS: usize = 1 << 10;

/// Vectors that one iteration of the loop over requantization reads.
const REQUANTIZED: usize = 8;

/// Vectors that one iteration of the loop over memory reads, and the least number of bytes that one call reads.
const READ: usize = 8;
const READ_BYTES: usize = 1 << 20;

/// Rates of one core per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Peaks {
    /// Multiply-accumulates of bytes, by the target's instruction sequence, with weights from the first-level cache.
    pub int8: f64,
    /// Multiply-accumulates of f32.
    pub f32: f64,
    /// Multiply-accumulates of bf16; `None` if the target has no instruction for them.
    pub bf16: Option<f64>,
    /// Operations on lanes of 32 bits, as [`Work::operations`](crate::work::Work::operations) counts them, in the loop
    /// of a requantization, the epilogue of most integer layers.
    pub operations: f64,
    /// Bytes read, one rate for each working set.
    pub reads: Vec<f64>,
}

/// Measures the peaks of this machine in the instructions of `target`, which must run here. Read rates are measured by
/// repeated reads of working sets of these sizes in bytes.
///
/// # Errors
/// Fails if LLVM fails.
pub fn measure(target: &'static Target, working_sets: &[usize]) -> Result<Peaks, MachineError> {
    let jits: Vec<Jit> = (0..4 + working_sets.len()).map(|_| Jit::default()).collect();
    let mut loops = vec![
        Loop::products(&jits[0], target, DType::U8)?,
        Loop::products(&jits[1], target, DType::F32)?,
        Loop::requantization(&jits[2], target)?,
    ];
    for (bytes, jit) in working_sets.iter().zip(&jits[4..]) {
        loops.push(Loop::reads(jit, target, *bytes)?);
    }
    if target.bf16 {
        loops.push(Loop::products(&jits[3], target, DType::Bf16)?);
    }
    for _ in 0..ROUNDS {
        loops.iter_mut().for_each(|measured| measured.turn(TURN));
    }
    let mut rates = loops.iter().map(Loop::rate);
    let mut next = || rates.next().unwrap_or_else(|| unreachable!("as many as there are loops"));
    let (int8, f32, operations) = (next(), next(), next());
    let reads = working_sets.iter().map(|_| next()).collect();
    Ok(Peaks { int8, f32, bf16: target.bf16.then(next), operations, reads })
}

/// Measures only the multiply-accumulates per second for this type, in the target's instructions.
///
/// # Errors
/// Fails if LLVM fails.
pub fn products(target: &'static Target, input: DType) -> Result<f64, MachineError> {
    let jit = Jit::default();
    let mut products = Loop::products(&jit, target, input)?;
    (0..ROUNDS).for_each(|_| products.turn(TURN));
    Ok(products.rate())
}

/// A function that repeats one operation on bytes of its own.
pub(crate) struct Loop<'j> {
    compiled: Compiled<'j>,
    room: Vec<u8>,
    /// Operations of one call.
    count: f64,
    best: Duration,
}

impl<'j> Loop<'j> {
    const NAME: &'static str = "peak";

    /// A loop whose body `emit` writes. `emit` gets the address of `bytes` bytes that only this loop uses.
    fn new(
        jit: &'j Jit,
        target: &'static Target,
        bytes: usize,
        count: f64,
        emit: impl FnOnce(&Emitter<'_, 'j>, Ptr<'j>),
    ) -> Result<Self, MachineError> {
        let compiled = jit.compile_with(target, false, |e| {
            let pointers = e.function(Self::NAME, 1, 0);
            emit(e, pointers[0]);
            e.end();
            Ok(())
        })?;
        // Written with ones, as the system may map untouched zeros to a single page.
        Ok(Loop { compiled, room: vec![1; bytes], count, best: Duration::MAX })
    }

    /// Multiplies and accumulates. Accumulators and two inputs stay in registers; weights come from the first-level
    /// cache, as in kernels.
    pub(crate) fn products(jit: &'j Jit, target: &'static Target, input: DType) -> Result<Self, MachineError> {
        let weights = target.vector_registers * 5 / 16;
        let (kind, depth) = match input {
            DType::F32 => (Kind::F32, 1),
            DType::Bf16 => (Kind::F32, 2),
            _ => (Kind::I32, 4),
        };
        let register = target.vector_bits / 8;
        let bytes = register * (TURNS * weights).max(2 * weights);
        let count = REPEATS * TURNS * 2 * weights * target.lanes() * depth;
        let signed = target.dot.multiplies_signed(DType::U8);
        Loop::new(jit, target, bytes, count as f64, |e, room| {
            let (lanes, register) = (e.lanes(), register as isize);
            let x = [0, 1].map(|x| e.load(e.offset(room, x * register), kind, lanes));
            let sums = vec![e.zero(kind, lanes); 2 * weights];
            let state = State { pointers: vec![room], vectors: sums, ..State::default() };
            let state = e.carry(e.int(REPEATS), state, |_, state| {
                state.pointers[0] = room;
                *state = e.carry(e.int(TURNS), std::mem::take(state), |_, state| {
                    for (index, sums) in state.vectors.chunks_mut(2).enumerate() {
                        let w = e.load(e.offset(state.pointers[0], index as isize * register), kind, lanes);
                        for (sum, x) in sums.iter_mut().zip(x) {
                            *sum = match input {
                                DType::Bf16 => {
                                    e.dot_accumulate_bf16(*sum, e.bits_as(x, Kind::I32), e.bits_as(w, Kind::I32))
                                }
                                DType::F32 => e.accumulate(x, w, *sum),
                                _ => e.dot_accumulate(*sum, e.bits_as(x, Kind::I8), e.bits_as(w, Kind::I8), signed),
                            };
                        }
                    }
                    state.pointers[0] = e.offset(state.pointers[0], weights as isize * register);
                });
            });
            for (sum, vector) in state.vectors.iter().enumerate() {
                e.store(e.offset(room, sum as isize * register), *vector);
            }
        })
    }

    /// Requantizes accumulators to bytes: conversion, scale, clamp, rounding, packing, store.
    fn requantization(jit: &'j Jit, target: &'static Target) -> Result<Self, MachineError> {
        const ZERO_POINT: i32 = 3;
        let (lanes, register) = (target.lanes(), target.vector_bits as isize / 8);
        let quantize = Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point: ZERO_POINT, min: 0, max: 255 };
        let scaled = Step::Apply(Function::Mul, vec![Arg::Current, Arg::Operand(0)]);
        let steps = [Step::Cast(DType::F32), scaled, quantize];
        let operations = step_operations(target, &steps, DType::I32, &[DType::F32], DType::U8);
        let elements = REPEATS * TURNS * REQUANTIZED * lanes;
        let bytes = TURNS * REQUANTIZED * 5 * register as usize / 4;
        Loop::new(jit, target, bytes, elements as f64 * operations, |e, room| {
            let results = e.offset(room, (TURNS * REQUANTIZED) as isize * register);
            let scale = e.load(room, Kind::F32, lanes);
            e.repeat(e.int(REPEATS), |_| {
                e.repeat(e.int(TURNS), |turn| {
                    let at = e.offset_by(room, e.scale(turn, REQUANTIZED as isize * register));
                    let to = e.offset_by(results, e.scale(turn, REQUANTIZED as isize * register / 4));
                    for four in 0..REQUANTIZED as isize / 4 {
                        let numbers = [0, 1, 2, 3].map(|index| {
                            let sums = e.load(e.offset(at, (4 * four + index) * register), Kind::I32, lanes);
                            e.mul(e.to_float(sums, Kind::F32, true), scale)
                        });
                        let stored = e.quantize_bytes(e.concat(&numbers), ZERO_POINT, (0, 255), false);
                        e.store(e.offset(to, four * register), stored);
                    }
                });
            });
        })
    }

    /// Reads this many bytes, in order.
    fn reads(jit: &'j Jit, target: &'static Target, bytes: usize) -> Result<Self, MachineError> {
        let register = target.vector_bits / 8;
        let turns = (bytes / (READ * register)).max(1);
        let pass = turns * READ * register;
        let repeats = READ_BYTES.div_ceil(pass);
        Loop::new(jit, target, pass, (repeats * pass) as f64, |e, room| {
            let (lanes, register) = (e.lanes(), register as isize);
            let sums = vec![e.zero(Kind::I32, lanes); READ];
            let state = State { pointers: vec![room], vectors: sums, ..State::default() };
            let state = e.carry(e.int(repeats), state, |_, state| {
                state.pointers[0] = room;
                *state = e.carry(e.int(turns), std::mem::take(state), |_, state| {
                    for (index, sum) in state.vectors.iter_mut().enumerate() {
                        let at = e.offset(state.pointers[0], index as isize * register);
                        *sum = e.add(*sum, e.load(at, Kind::I32, lanes));
                    }
                    state.pointers[0] = e.offset(state.pointers[0], READ as isize * register);
                });
            });
            for (sum, vector) in state.vectors.iter().enumerate() {
                e.store(e.offset(room, sum as isize * register), *vector);
            }
        })
    }

    /// Runs the loop repeatedly for `time`, and keeps the shortest run.
    pub(crate) fn turn(&mut self, time: Duration) {
        let (room, entry) = (self.room.as_mut_ptr(), self.compiled.named(Self::NAME));
        // SAFETY: the function takes one pointer, to the bytes that `new` allocated for it.
        self.best = self.best.min(shortest(time, || unsafe { entry.run(&[room]) }));
    }

    /// Operations per second in the best run so far.
    pub(crate) fn rate(&self) -> f64 {
        self.count / self.best.as_secs_f64()
    }
}

/// Runs repeatedly for `time`; returns the time of the shortest run.
pub(crate) fn shortest(time: Duration, mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < time {
        let begin = Instant::now();
        run();
        best = best.min(begin.elapsed());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    #[test]
    fn every_target_that_runs_here_has_peaks() {
        for target in TARGETS.iter().filter(|target| target.runs_here()) {
            let jits = [(); 4].map(|()| Jit::default());
            let loops = [
                Loop::products(&jits[0], target, DType::U8),
                Loop::products(&jits[1], target, DType::F32),
                Loop::requantization(&jits[2], target),
                Loop::reads(&jits[3], target, 1000),
            ];
            for measured in loops {
                let mut measured = measured.expect("compiles");
                measured.turn(Duration::from_micros(1));
                assert!(measured.rate() > 0.0 && measured.rate().is_finite());
            }
        }
    }
}

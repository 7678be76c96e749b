//! Profiles of programs: the time of each call while the whole program runs.
//!
//! All calls run in order on one arena, so caches are in the state of a normal run. Rounds that time each call
//! alternate with rounds that time all calls together. The sum of the single times is a little more than the total:
//! reading the clock takes time, and calls cannot overlap across a reading.

use std::time::{Duration, Instant};

use super::jit::{Entry, Jit};
use super::machine::MachineError;
use crate::kernel::Call;
use crate::program::{BufferKind, Program};
use crate::view::{Storage, View};

/// The least number of rounds of each kind.
const LEAST: usize = 3;

/// The times of several runs of the same code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The median time.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// The shortest time.
    #[must_use]
    pub fn least(&self) -> Duration {
        self.0[0]
    }

    /// The number of runs, at least one.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.0.len()
    }
}

/// The times of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// For each of the program's [executions](Program::executions), its times.
    pub calls: Vec<Times>,
    /// Times of all calls together.
    pub whole: Times,
}

/// Times the calls of `program`, whose target must run here, for about `duration` after one run that is not timed.
/// Inputs are zeros.
///
/// # Errors
/// Fails if LLVM fails.
pub fn profile(program: &Program, duration: Duration) -> Result<Profile, MachineError> {
    let jit = Jit::default();
    let kernels: Vec<Call> = program.calls().into_iter().cloned().collect();
    let compiled = jit.compile(&kernels, program.target, false)?;
    let executions = program.executions();
    let entries: Vec<Entry<'_>> = executions.iter().map(|run| compiled.entry(run.number)).collect();
    let room = |size: usize| vec![0_u8; size + Program::SLACK + Program::ARENA_ALIGN];
    let mut arena = room(program.arena_size);
    let mut outside: Vec<Vec<u8>> = program.buffers.iter().map(|buffer| room(buffer.byte_size)).collect();
    let mut constants: Vec<Vec<u8>> = program.consts.iter().map(|constant| constant.bytes.to_vec()).collect();
    for bytes in &mut constants {
        bytes.resize(bytes.len() + Program::SLACK + Program::ARENA_ALIGN, 0);
        // As in an artifact, each constant begins at a cache line.
        let shift = bytes.as_ptr().align_offset(Program::ARENA_ALIGN);
        bytes.rotate_right(shift);
    }
    let mut address = |view: &View| {
        let (bytes, start) = match view.storage {
            Storage::Const(id) => (&mut constants[id.0], 0),
            Storage::Buffer(id) => match program.buffers[id.0].kind {
                BufferKind::Arena { offset } => (&mut arena, offset),
                BufferKind::Input(_) | BufferKind::Output(_) => (&mut outside[id.0], 0),
            },
        };
        let aligned = bytes.as_ptr().align_offset(Program::ARENA_ALIGN);
        bytes[aligned + start + view.offset * view.dtype.byte_size()..].as_mut_ptr()
    };
    let pointers: Vec<Vec<*mut u8>> =
        executions.iter().map(|run| run.call.views().map(&mut address).collect()).collect();
    let run = |index: usize| {
        // SAFETY: each pointer is the first element of its view, in a buffer of the program's size with slack after it;
        // lowering made the program, and keeps calls inside their buffers.
        unsafe { entries[index].run(&pointers[index]) };
    };
    let calls = 0..entries.len();
    let (mut times, mut whole) = (vec![Vec::new(); entries.len()], Vec::new());
    calls.clone().for_each(run);
    let begin = Instant::now();
    while whole.len() < LEAST || begin.elapsed() < duration {
        for index in calls.clone() {
            let start = Instant::now();
            run(index);
            times[index].push(start.elapsed());
        }
        let start = Instant::now();
        calls.clone().for_each(run);
        whole.push(start.elapsed());
    }
    let sorted = |mut times: Vec<Duration>| {
        times.sort_unstable();
        Times(times)
    };
    Ok(Profile { calls: times.into_iter().map(sorted).collect(), whole: sorted(whole) })
}

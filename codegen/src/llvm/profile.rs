//! Where a program's time goes: each call timed by itself, in its place among the others.
//!
//! All calls run in order on one arena, so that caches are as they are when the model runs; each has its shortest time.
//! Calls of few microseconds look a little slower than they are: the clock is read before and after each.

use std::time::{Duration, Instant};

use super::jit::Jit;
use super::machine::MachineError;
use crate::program::{BufferKind, Program, Storage, View};

/// How often each call runs, and for how long all do at most.
const ROUNDS: usize = 50;
const LIMIT: Duration = Duration::from_secs(10);

/// The shortest time of each call of `program`, whose target must run here; inputs are zeros.
///
/// # Errors
/// Of LLVM.
pub fn profile(program: &Program) -> Result<Vec<Duration>, MachineError> {
    let jit = Jit::default();
    let compiled = jit.compile(&program.calls, program.target, false, false)?;
    let room = |size: usize| vec![0_u8; size + Program::SLACK + Program::ARENA_ALIGN];
    let mut arena = room(program.arena_size);
    let mut outside: Vec<Vec<u8>> = program.buffers.iter().map(|buffer| room(buffer.byte_size)).collect();
    let mut constants: Vec<Vec<u8>> = program.consts.iter().map(|constant| constant.bytes.clone()).collect();
    for bytes in &mut constants {
        bytes.resize(bytes.len() + Program::SLACK + Program::ARENA_ALIGN, 0);
        // As in an artifact, each begins a cache line.
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
    let pointers: Vec<Vec<*mut u8>> = program
        .calls
        .iter()
        .map(|call| call.operands.iter().chain([&call.output]).map(&mut address).collect())
        .collect();
    let mut best = vec![Duration::MAX; program.calls.len()];
    let begin = Instant::now();
    for round in 0..ROUNDS {
        if round > 0 && begin.elapsed() > LIMIT {
            break;
        }
        for (index, (pointers, best)) in pointers.iter().zip(&mut best).enumerate() {
            let start = Instant::now();
            // SAFETY: each pointer is the first element of its view in a buffer as large as the program has it, with
            // slack behind; the program was made by lowering, which keeps calls inside their buffers.
            unsafe { compiled.run(index, pointers) };
            *best = (*best).min(start.elapsed());
        }
    }
    Ok(best)
}

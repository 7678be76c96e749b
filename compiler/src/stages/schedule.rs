//! Schedules a program: chains in bands, threads, and the memory plan.

use eightfold_codegen::program::Scheduled;
use eightfold_codegen::program::{BufferKind, Program};
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::schedule::{self, ScheduleContext};

use super::lower::lower;
use super::optimize::Optimized;
use super::progress::Progress;
use crate::error::Error;

/// Schedules a program for the requested number of threads.
///
/// # Errors
/// If the program needs more memory than the limit.
pub fn schedule(optimized: &Optimized, program: Program, progress: &mut dyn Progress) -> Result<Scheduled, Error> {
    optimized.scheduled(program, optimized.threads, progress)
}

impl Optimized {
    /// The program as tuning starts from it: see [`schedule::prepare`].
    pub(crate) fn prepared_program(&self) -> Result<Program, Error> {
        let mut program = lower(self)?;
        schedule::prepare(&mut program, &ScheduleContext::of(&self.choices));
        Ok(program)
    }

    /// Lowers and schedules the graph for `threads` threads.
    pub(crate) fn program(&self, threads: usize) -> Result<Scheduled, Error> {
        self.scheduled(lower(self)?, threads, &mut ())
    }

    /// Runs the schedule passes and checks the memory limit.
    fn scheduled(&self, program: Program, threads: usize, progress: &mut dyn Progress) -> Result<Scheduled, Error> {
        let cx = ScheduleContext { threads: Threads::new(threads), bands: self.bands, choices: &self.choices };
        let program =
            schedule::schedule(program, &cx, &mut |pass, program| progress.schedule_pass(pass.name(), program));
        let shown = program.buffers.iter().filter(|buffer| !matches!(buffer.kind, BufferKind::Arena { .. }));
        let shown: usize = shown.map(|buffer| buffer.byte_size).sum();
        let weights: usize = program.consts.iter().map(|constant| constant.bytes.len()).sum();
        let total = program.arena_size + shown + weights;
        self.memory
            .check(total as u64, || "the compiled model, with its arena, inputs, outputs and weights,".to_owned())?;
        Ok(program)
    }
}

//! From a graph to a program: which kernels run on which bytes, in which order.
//!
//! Lowering, sharing among threads, bands and the memory plan are one call into `codegen` here.

use eightfold_codegen::bands::Bands;
use eightfold_codegen::choice::Choices;
use eightfold_codegen::lower::lower_with;
use eightfold_codegen::program::{BufferKind, Program};
use eightfold_codegen::share::Threads;

use super::optimize::Optimized;
use crate::error::Error;

/// The program of an optimized graph, for as many threads as it asks for.
///
/// # Errors
/// An operator has no kernel, or the program takes more memory than it may.
pub fn lower(optimized: &Optimized) -> Result<Program, Error> {
    optimized.program(optimized.threads)
}

impl Optimized {
    /// The program by these choices for one thread without bands, as kernels are chosen for whole calls.
    pub(crate) fn whole_program(&self, choices: &Choices) -> Result<Program, Error> {
        self.lowered(1, choices, Bands::Never)
    }

    /// The program, for `threads` threads.
    pub(crate) fn program(&self, threads: usize) -> Result<Program, Error> {
        self.lowered(threads, &self.choices, self.bands)
    }

    /// A program that takes no more memory than it may.
    fn lowered(&self, threads: usize, choices: &Choices, bands: Bands) -> Result<Program, Error> {
        self.memory.check_tensors(&self.graph)?;
        let choices = choices.clone().preferring(self.prefer);
        let program = lower_with(&self.graph, self.target, Threads::new(threads), &choices, bands)?;
        let shown = program.buffers.iter().filter(|buffer| !matches!(buffer.kind, BufferKind::Arena { .. }));
        let shown: usize = shown.map(|buffer| buffer.byte_size).sum();
        let weights: usize = program.consts.iter().map(|constant| constant.bytes.len()).sum();
        let total = program.arena_size + shown + weights;
        self.memory
            .check(total as u64, || "the compiled model, with its arena, inputs, outputs and weights,".to_owned())?;
        Ok(program)
    }
}

//! Lowers a graph to a program: kernel calls in sequence.

use eightfold_codegen::choice::Choices;
use eightfold_codegen::lower;
use eightfold_codegen::program::Program;
use eightfold_ir::{VerifiedGraph, verify};

use super::optimize::Optimized;
use crate::error::Error;

/// Lowers an optimized graph. Schedule passes decide afterwards how the program runs.
///
/// # Errors
/// If an operator has no kernel, or a tensor needs more memory than the limit.
pub fn lower(optimized: &Optimized) -> Result<Program, Error> {
    optimized.lowered(&optimized.choices)
}

impl Optimized {
    /// The graph with the proof that it verifies, which lowering asks for.
    fn verified(&self) -> Result<VerifiedGraph<'_>, Error> {
        let place = || "the optimized graph".to_owned();
        verify(&self.graph).map_err(|source| Error::Verify { place: place(), ours: true, source })
    }

    /// Lowers the graph with these choices for its kernels.
    pub(crate) fn lowered(&self, choices: &Choices) -> Result<Program, Error> {
        self.memory.check_tensors(&self.graph)?;
        Ok(lower::lower(self.verified()?, self.target, choices)?)
    }
}

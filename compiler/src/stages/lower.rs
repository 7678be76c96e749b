//! From a graph to a program: which kernels run on which bytes, one call after the other.

use eightfold_codegen::choice::Choices;
use eightfold_codegen::lower;
use eightfold_codegen::program::Program;
use eightfold_ir::{VerifiedGraph, verify};

use super::optimize::Optimized;
use crate::error::Error;

/// The program of an optimized graph as lowering makes it; schedule passes decide how it runs.
///
/// # Errors
/// An operator has no kernel, or a tensor takes more memory than it may.
pub fn lower(optimized: &Optimized) -> Result<Program, Error> {
    optimized.lowered(&optimized.choices)
}

impl Optimized {
    /// The graph with the proof that it verifies, which lowering asks for.
    fn verified(&self) -> Result<VerifiedGraph<'_>, Error> {
        let place = || "the optimized graph".to_owned();
        verify(&self.graph).map_err(|source| Error::Verify { place: place(), ours: true, source })
    }

    /// The program whose kernels these choices decide about.
    pub(crate) fn lowered(&self, choices: &Choices) -> Result<Program, Error> {
        self.memory.check_tensors(&self.graph)?;
        let choices = choices.clone().preferring(self.prefer);
        Ok(lower::lower(self.verified()?, self.target, &choices)?)
    }
}

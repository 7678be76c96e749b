//! Lowers a graph to a program: kernel calls in sequence.

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
    optimized.memory.check_tensors(&optimized.graph)?;
    Ok(lower::lower(optimized.verified()?, optimized.target)?)
}

impl Optimized {
    /// The graph with the proof that it verifies, which lowering asks for.
    fn verified(&self) -> Result<VerifiedGraph<'_>, Error> {
        let place = || "the optimized graph".to_owned();
        verify(&self.graph).map_err(|source| Error::Verify { place: place(), ours: true, source })
    }
}

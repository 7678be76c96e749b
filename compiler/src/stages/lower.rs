//! From a graph to a program: which kernels run on which bytes, one call after the other.

use eightfold_codegen::choice::Choices;
use eightfold_codegen::lower;
use eightfold_codegen::program::Program;

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
    /// The program whose kernels these choices decide about.
    pub(crate) fn lowered(&self, choices: &Choices) -> Result<Program, Error> {
        self.memory.check_tensors(&self.graph)?;
        let choices = choices.clone().preferring(self.prefer);
        Ok(lower::lower(&self.graph, self.target, &choices)?)
    }
}

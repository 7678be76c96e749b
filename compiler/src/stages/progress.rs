//! Progress of a compilation, for whoever displays it.

use eightfold_codegen::program::Program;
use eightfold_ir::Graph;
use eightfold_passes::PassReport;

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the model.
    Import,
    /// Running the float build on samples.
    Calibrate,
    /// Passes.
    Optimize,
    /// Timing kernels.
    Tune,
    /// Lowering, scheduling and code generation.
    Compile,
    /// From the object file to the shared library.
    Link,
    /// Running the compiled model on samples.
    Evaluate,
}

impl Stage {
    /// The stage as text for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Import => "importing",
            Stage::Calibrate => "calibrating",
            Stage::Optimize => "optimizing",
            Stage::Tune => "tuning",
            Stage::Compile => "compiling",
            Stage::Link => "linking",
            Stage::Evaluate => "running",
        }
    }
}

/// Receives progress; `()` ignores it.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}

    /// A pass has produced this graph.
    fn pass(&mut self, _report: &PassReport, _graph: &Graph) {}

    /// The schedule pass `name` has produced this program.
    fn schedule_pass(&mut self, _name: &str, _program: &Program) {}

    /// A message for the user.
    fn note(&mut self, _message: &str) {}

    /// `done` of `of` samples have run, or choices been timed.
    fn samples(&mut self, _done: usize, _of: usize) {}
}

impl Progress for () {}

//! What goes on while a model is compiled, for whoever shows it.

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
    /// From the graph to machine code.
    Compile,
    /// From the object file to the shared library.
    Link,
    /// Running what was compiled on samples.
    Evaluate,
}

impl Stage {
    /// What goes on, for people.
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

/// Hears what goes on; `()` does not listen.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}

    /// A pass has run and left this graph.
    fn pass(&mut self, _report: &PassReport, _graph: &Graph) {}

    /// A schedule pass of this name has run and left this program.
    fn schedule_pass(&mut self, _name: &str, _program: &Program) {}

    /// Something that the user may want to know.
    fn note(&mut self, _message: &str) {}

    /// Samples are being run or choices timed, and so many are done.
    fn samples(&mut self, _done: usize, _of: usize) {}
}

impl Progress for () {}

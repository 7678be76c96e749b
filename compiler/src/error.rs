//! Every way in which a command can fail, as the stages pass it on.
//!
//! What stands below the stages (`onnx`, `dataset`, `artifact`, `host`) has errors of its own, which are variants here.

use std::path::PathBuf;

use eightfold_codegen::compile::CompileError;
use eightfold_codegen::interface::InterfaceError;
use eightfold_codegen::lower::LowerError;
use eightfold_codegen::object::ObjectError;
use eightfold_codegen::tuning::TuningError;
use eightfold_ir::EvalError;
use eightfold_ir::Precision;
use eightfold_ir::parse::ParseError;
use eightfold_ir::verify::VerifyErrors;
use eightfold_passes::PassError;
use eightfold_passes::calibrate::{CalibrateError, TableError};

use crate::artifact::{ArtifactError, RunError};
use crate::dataset::{DatasetError, PreprocessError};
use crate::host::memory_limit::TooLarge;
use crate::host::output_file::WriteError;
use crate::onnx::OnnxError;
use crate::report::coverage::{self, FloatNode};
use crate::report::nodes;

mod fault;
mod hint;

pub use self::fault::Fault;

/// An error of any stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The import of an ONNX model.
    #[error("cannot import {}", path.display())]
    Import {
        /// The model.
        path: PathBuf,
        /// What is wrong with it.
        source: OnnxError,
    },
    /// Usage: a file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Usage: an output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Broken: a graph in text form that does not parse.
    #[error("cannot parse {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ParseError,
    },
    /// A graph that breaks the rules. After a pass the fault is ours.
    #[error("{place} does not verify")]
    Verify {
        /// The file, or the pass that left the graph.
        place: String,
        /// Whether a pass made the graph.
        ours: bool,
        /// The rules that it breaks.
        source: VerifyErrors,
    },
    /// A pass that cannot go on.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Usage: int8 was asked for, and nothing says which range a tensor has.
    #[error(
        "int8 needs the ranges of the tensors: the model has no QuantizeLinear and there is neither --calibration-data nor --calibration-table"
    )]
    NoRanges,
    /// Usage: nothing says which ranges to quantize with.
    #[error("quantizing needs the ranges of the tensors: give --calibration-data or --calibration-table")]
    NothingToQuantizeBy,
    /// Unsupported: a graph that has no form in ONNX.
    #[error("cannot write the graph as an ONNX model")]
    Export(#[source] OnnxError),
    /// Usage: ranges were given for a precision that has no use for them.
    #[error("calibration is for int8, the precision is {precision}")]
    UnusedCalibration {
        /// The precision asked for.
        precision: Precision,
    },
    /// Usage: no tensor of the model wants a range.
    #[error("nothing to calibrate: no tensor of the model would be quantized that is not quantized already")]
    NothingToCalibrate,
    /// Calibration.
    #[error("cannot calibrate")]
    Calibrate(#[from] CalibrateError),
    /// Broken: a calibration table that does not parse.
    #[error("cannot parse {}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TableError,
    },
    /// Broken: a calibration table that names tensors that the model does not have.
    #[error("{} was made of another model ({model}): the model has no tensor {}", path.display(), first(unknown))]
    ForeignTable {
        /// The file.
        path: PathBuf,
        /// The model that the table names.
        model: String,
        /// The tensors.
        unknown: Vec<String>,
    },
    /// Broken: a calibration table with too many or too few means of a tensor.
    #[error("{}: expected {expected} means for tensor {tensor:?}, one for each channel, got {got}", path.display())]
    TableMeans {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its channels.
        expected: usize,
        /// The means there are.
        got: usize,
    },
    /// Broken: data to calibrate on whose numbers are all the same.
    #[error("calibration data holds one number only: {value} throughout for input {input:?}")]
    ConstantData {
        /// The first input.
        input: String,
        /// The number.
        value: f32,
    },
    /// Broken: a label that is none of the model's classes.
    #[error("{}: label {label} of row {row} is none of the {classes} classes of output {output:?}, 0 to {}", path.display(), classes - 1)]
    Label {
        /// The data.
        path: PathBuf,
        /// The label, offset included.
        label: i64,
        /// The row of the data, from 0.
        row: u64,
        /// Classes that the output has.
        classes: usize,
        /// The output.
        output: String,
    },
    /// Broken: a tuning file that does not parse.
    #[error("cannot parse {}", path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TuningError,
    },
    /// Usage: kernels of another target were measured.
    #[error("the tuning is of {got}, the target is {expected}")]
    TuningTarget {
        /// The target.
        expected: &'static str,
        /// The target that was measured.
        got: &'static str,
    },
    /// Usage: kernels that are to be timed do not run here.
    #[error("this cpu does not run {target}, so its kernels cannot be timed here")]
    TuneElsewhere {
        /// The target's name.
        target: &'static str,
    },
    /// Usage: threads that are to be timed have no CPUs of their own here.
    #[error("there are {cpus} cpus for {threads} threads, so they cannot be timed here")]
    TuneThreads {
        /// Threads of one inference.
        threads: usize,
        /// CPUs that this process may use.
        cpus: usize,
    },
    /// Usage: what is added to a tuning file must be measured on the same CPU.
    #[error("the tuning file holds measurements of {got:?}, this cpu is {expected:?}")]
    TuningCpu {
        /// This machine's CPU.
        expected: String,
        /// The CPU that was measured.
        got: String,
    },
    /// Unsupported: an operator without a kernel.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The back end refuses.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Usage: a name that C cannot hold.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Usage: there is no linker, or it fails.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Usage: no target of this name.
    #[error("no target is called {got:?}, expected native or one of {expected}")]
    UnknownTarget {
        /// The name given.
        got: String,
        /// The names there are.
        expected: String,
    },
    /// Unsupported: this machine is older than the oldest target.
    #[error("this cpu runs none of the targets ({expected}): name one with --target")]
    NoNativeTarget {
        /// The names there are.
        expected: String,
    },
    /// Usage: what is to be measured does not run here.
    #[error("this cpu does not run {target}, so nothing of it can be measured here")]
    TargetNotHere {
        /// The target's name.
        target: &'static str,
    },
    /// Usage: a compiled model where its calls are wanted.
    #[error("{} is compiled, and does not say which calls it is made of", path.display())]
    NoCalls {
        /// The compiled model.
        path: PathBuf,
    },
    /// Broken: peaks of a machine that do not parse.
    #[error("{} does not hold the peaks of a machine", path.display())]
    Peaks {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Broken: peaks that no machine has.
    #[error("{}: expected rates above zero, and memory as the last level", path.display())]
    ImpossiblePeaks {
        /// The file.
        path: PathBuf,
    },
    /// Usage: peaks in other instructions than those of the target.
    #[error("the peaks are those of {got}, the target is {expected}")]
    PeaksTarget {
        /// The target.
        expected: &'static str,
        /// The target that was measured.
        got: String,
    },
    /// Unsupported: a tensor, or the model as a whole, takes more memory than it may.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Broken: a line that says what to run on a graph, and has no meaning.
    #[error("{}: nothing can be run by the line `; {line}`", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// Broken: a text that is no program, or a program that breaks a rule.
    #[error("{}: {reason}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A requirement is not met: the graph or program is not the one expected.
    #[error("what came out is not that of {}: line {line} is {got:?}, expected {expected:?}", path.display())]
    OtherGraph {
        /// The file with the graph expected.
        path: PathBuf,
        /// The first line that differs, from 1.
        line: usize,
        /// That line in the file; empty behind its end.
        expected: String,
        /// The line there is.
        got: String,
    },
    /// A compiled model that cannot be loaded.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A compiled model that cannot be run on these tensors.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The reference evaluator cannot run on these tensors.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Usage: this program has no oracle.
    #[error("this eightfold was built without tract")]
    NoOracle,
    /// Unsupported: the oracle does not run the model.
    #[error("tract does not run {}", path.display())]
    Oracle {
        /// The model.
        path: PathBuf,
        /// What tract says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Data that cannot be read, or does not fit the model.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Usage: a preprocessing line without a meaning.
    #[error("--preprocess")]
    Preprocess(#[from] PreprocessError),
    /// Broken: the data has no labels to compare with.
    #[error("{} has no labels: expected an array `labels`, or a labels.csv with images", path.display())]
    NoLabels {
        /// The data.
        path: PathBuf,
    },
    /// Usage: an output was named that the model does not have.
    #[error("the model has no output {got:?}; it has: {expected}")]
    UnknownOutput {
        /// The name given.
        got: String,
        /// The names there are.
        expected: String,
    },
    /// Usage: a node was named that the model does not have.
    #[error(
        "the model has no node or tensor {got:?}; {}",
        if similar.is_empty() {
            "eightfold opt MODEL prints their names".to_owned()
        } else {
            format!("the most similar names are {}", quoted(similar))
        }
    )]
    UnknownNode {
        /// The name or pattern given.
        got: String,
        /// Names that are like it.
        similar: Vec<String>,
    },
    /// Usage: two models have nothing to compare.
    #[error("the two models cannot be compared: {reason}")]
    Incomparable {
        /// What differs.
        reason: String,
    },
    /// Usage: arguments that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// A requirement is not met: too little is computed in integers.
    #[error(
        "{:.2}% of the multiply-accumulates are in int8, {:.2}% are required; in float:{}",
        100.0 * share, 100.0 * required, nodes::below(&coverage::grouped(float_nodes))
    )]
    Int8Share {
        /// The share in int8, 0 to 1.
        share: f64,
        /// The share required.
        required: f64,
        /// What is in float, and why.
        float_nodes: Vec<FloatNode>,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The first names of a list, and how many more there are.
fn first(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(shown.len());
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

impl Error {
    /// A line for each node that the error is about, where the message leaves some out.
    #[must_use]
    pub fn details(&self) -> Option<Vec<String>> {
        match self {
            Error::Int8Share { float_nodes, .. } => nodes::leaves_out(&coverage::groups(float_nodes))
                .then(|| float_nodes.iter().map(ToString::to_string).collect()),
            Error::Import { source: OnnxError::Unsupported(unsupported), .. } => {
                nodes::leaves_out(&unsupported.groups())
                    .then(|| unsupported.0.iter().map(ToString::to_string).collect())
            }
            _ => None,
        }
    }
}

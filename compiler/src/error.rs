//! The errors of all stages, which commands return.
//!
//! Modules below the stages (`onnx`, `dataset`, `artifact`, `host`) have their own error types, which are variants
//! here.

use std::path::PathBuf;

use eightfold_codegen::interface::InterfaceError;
use eightfold_codegen::llvm::artifact::CompileError;
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
    /// An ONNX model cannot be imported.
    #[error("cannot import {}", path.display())]
    Import {
        /// The model.
        path: PathBuf,
        /// Why not.
        source: OnnxError,
    },
    /// Usage: a file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Usage: an output cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Broken: a graph in text form does not parse.
    #[error("cannot parse {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: ParseError,
    },
    /// A graph violates the rules. After a pass, this is a bug in Eightfold.
    #[error("{place} does not verify")]
    Verify {
        /// The file, or the pass that made the graph.
        place: String,
        /// Whether a pass made the graph.
        ours: bool,
        /// The violated rules.
        source: VerifyErrors,
    },
    /// A pass fails.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// Usage: int8 is requested and there are no ranges.
    #[error(
        "int8 needs the ranges of the tensors: the model has no QuantizeLinear and there is neither --calibration-data nor --calibration-table"
    )]
    NoRanges,
    /// Usage: there are no ranges to quantize with.
    #[error("quantizing needs the ranges of the tensors: give --calibration-data or --calibration-table")]
    NothingToQuantizeBy,
    /// Unsupported: the graph cannot be expressed in ONNX.
    #[error("cannot write the graph as an ONNX model")]
    Export(#[source] OnnxError),
    /// Usage: ranges are given for a precision that does not use them.
    #[error("calibration is for int8, the precision is {precision}")]
    UnusedCalibration {
        /// The requested precision.
        precision: Precision,
    },
    /// Usage: no tensor of the model needs a range.
    #[error("nothing to calibrate: int8 would quantize no further tensor of the model")]
    NothingToCalibrate,
    /// Calibration fails.
    #[error("cannot calibrate")]
    Calibrate(#[from] CalibrateError),
    /// Broken: a calibration table does not parse.
    #[error("cannot parse {}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: TableError,
    },
    /// Broken: a calibration table names tensors that the model does not have.
    #[error("{} was made of another model ({model}): the model has no tensor {}", path.display(), first(unknown))]
    ForeignTable {
        /// The file.
        path: PathBuf,
        /// The model that the table names.
        model: String,
        /// The tensors.
        unknown: Vec<String>,
    },
    /// Broken: a calibration table has the wrong number of channel means for a tensor.
    #[error("{}: expected {expected} means for tensor {tensor:?}, one for each channel, got {got}", path.display())]
    TableMeans {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The number of channels.
        expected: usize,
        /// The number of means.
        got: usize,
    },
    /// Broken: all calibration data is the same number.
    #[error("calibration data is constant: all elements of input {input:?} are {value}")]
    ConstantData {
        /// The first input.
        input: String,
        /// The number.
        value: f32,
    },
    /// Broken: a label is not among the model's classes.
    #[error("{}: label {label} of row {row} is none of the {classes} classes of output {output:?}, 0 to {}", path.display(), classes - 1)]
    Label {
        /// The data.
        path: PathBuf,
        /// The label, including the offset.
        label: i64,
        /// The row, from 0.
        row: u64,
        /// The number of classes.
        classes: usize,
        /// The output.
        output: String,
    },
    /// Broken: a tuning file does not parse.
    #[error("cannot parse {}", path.display())]
    Tuning {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: TuningError,
    },
    /// Usage: the tuning file is for another target.
    #[error("the tuning file is for {got}, the target is {expected}")]
    TuningTarget {
        /// The target.
        expected: &'static str,
        /// The target of the tuning file.
        got: &'static str,
    },
    /// Usage: this CPU cannot run the kernels to be timed.
    #[error("this cpu does not run {target}, so its kernels cannot be timed here")]
    TuneElsewhere {
        /// The target's name.
        target: &'static str,
    },
    /// Usage: this machine has too few CPUs to time that many threads.
    #[error("{threads} threads cannot be timed on {cpus} cpus")]
    TuneThreads {
        /// Threads of one inference.
        threads: usize,
        /// The number of CPUs that this process may use.
        cpus: usize,
    },
    /// Usage: new measurements for a tuning file must come from the same CPU.
    #[error("the tuning file holds measurements of {got:?}, this cpu is {expected:?}")]
    TuningCpu {
        /// This machine's CPU.
        expected: String,
        /// The CPU of the tuning file.
        got: String,
    },
    /// Unsupported: an operator has no kernel.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The back end fails.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Usage: a name cannot be expressed in C.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Usage: there is no linker, or it fails.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Usage: there is no target of this name.
    #[error("no target is called {got:?}, expected native or one of {expected}")]
    UnknownTarget {
        /// The name given.
        got: String,
        /// The names of the targets.
        expected: String,
    },
    /// Unsupported: this machine supports none of the targets.
    #[error("this cpu runs none of the targets ({expected}): name one with --target")]
    NoNativeTarget {
        /// The names of the targets.
        expected: String,
    },
    /// Usage: this CPU cannot run the target whose code is to run.
    #[error("this cpu does not run {target}")]
    CannotRun {
        /// The target's name.
        target: &'static str,
    },
    /// Usage: this CPU cannot run the target to be measured.
    #[error("this cpu does not run {target}, so it cannot be measured here")]
    TargetNotHere {
        /// The target's name.
        target: &'static str,
    },
    /// Usage: the calls of a compiled model are requested, which it does not contain.
    #[error("{} is a compiled model, which does not record its calls", path.display())]
    NoCalls {
        /// The compiled model.
        path: PathBuf,
    },
    /// Broken: a file of peaks does not parse.
    #[error("{} does not hold the peaks of a machine", path.display())]
    Peaks {
        /// The file.
        path: PathBuf,
        /// The parse error.
        source: serde_json::Error,
    },
    /// Broken: impossible peaks.
    #[error("{}: expected rates above zero, and memory as the last level", path.display())]
    ImpossiblePeaks {
        /// The file.
        path: PathBuf,
    },
    /// Usage: the peaks are for another target.
    #[error("the peaks are for {got}, the target is {expected}")]
    PeaksTarget {
        /// The target.
        expected: &'static str,
        /// The target of the peaks.
        got: String,
    },
    /// Unsupported: a tensor or the whole model needs more memory than the limit.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Broken: a line of a graph's text that names passes or options is invalid.
    #[error("{}: invalid line `; {line}`", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// Broken: a text is not a valid program.
    #[error("{}: {reason}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A requirement is not met: `opt --check` found a different graph or program.
    #[error("the result differs from {}: line {line} is {got:?}, expected {expected:?}", path.display())]
    OtherGraph {
        /// The file with the expected graph.
        path: PathBuf,
        /// The first line that differs, from 1.
        line: usize,
        /// That line in the file; empty after its end.
        expected: String,
        /// The actual line.
        got: String,
    },
    /// A compiled model cannot be loaded.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A compiled model cannot run on these tensors.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The reference evaluator cannot run on these tensors.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Usage: this program was built without an oracle.
    #[error("this eightfold was built without tract")]
    NoOracle,
    /// Unsupported: the oracle cannot run the model.
    #[error("tract does not run {}", path.display())]
    Oracle {
        /// The model.
        path: PathBuf,
        /// tract's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Data cannot be read, or does not fit the model.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Usage: a preprocessing recipe is invalid.
    #[error("--preprocess")]
    Preprocess(#[from] PreprocessError),
    /// Broken: the data has no labels.
    #[error("{} has no labels: expected an array `labels`, or a labels.csv with images", path.display())]
    NoLabels {
        /// The data.
        path: PathBuf,
    },
    /// Usage: the model has no output of this name.
    #[error("the model has no output {got:?}; it has: {expected}")]
    UnknownOutput {
        /// The name given.
        got: String,
        /// The names of the outputs.
        expected: String,
    },
    /// Usage: the model has no node of this name.
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
        /// Similar names.
        similar: Vec<String>,
    },
    /// Usage: two models cannot be compared.
    #[error("the two models cannot be compared: {reason}")]
    Incomparable {
        /// Why not.
        reason: String,
    },
    /// Usage: contradictory arguments.
    #[error("{0}")]
    Usage(String),
    /// A requirement is not met: too little arithmetic is in int8.
    #[error(
        "{:.2}% of the multiply-accumulates are in int8, {:.2}% are required; in float:{}",
        100.0 * share, 100.0 * required, nodes::below(&coverage::grouped(float_nodes))
    )]
    Int8Share {
        /// The share in int8, 0 to 1.
        share: f64,
        /// The required share.
        required: f64,
        /// The nodes in float with the reason.
        float_nodes: Vec<FloatNode>,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The first names of a list, and the number of the others.
fn first(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(shown.len());
    shown.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}

impl Error {
    /// A line for each node that the error is about, if the message omits some.
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

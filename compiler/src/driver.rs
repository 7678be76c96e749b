//! THE pipeline: from a model file to a shared library, one call per stage. [`build`] is the picture in ARCHITECTURE.md
//! as code.
//!
//! Invariant: the result depends only on the model's bytes, the calibration table, the tuning file and the options, all
//! of which are in the artifact's provenance. Nothing here prints: a [`Progress`] is told what happens.

use std::path::PathBuf;

use eightfold_codegen::interface::c_identifier;
use eightfold_codegen::llvm::artifact::Listings;
use eightfold_codegen::object::Linker;
use eightfold_ir::Graph;

use crate::calibrate::Ranges;
use crate::error::Error;
use crate::measure::machine::MachinePeaks;
use crate::measure::tuning_file::{Tuned, TuningFile};
use crate::onnx::ImportOptions;
use crate::options::{OptimizeOptions, PrecisionRequest};
use crate::report::coverage::Coverage;
use crate::stages::emit::{Compiled, emit};
use crate::stages::load::import;
use crate::stages::lower::lower;
use crate::stages::optimize::{Optimized, optimize_owned};
use crate::stages::progress::{Progress, Stage};
use crate::stages::schedule::schedule;

/// What to build.
#[derive(Clone, Debug)]
pub struct Request {
    /// An ONNX model, or a graph in text form.
    pub model: PathBuf,
    /// Import options.
    pub import: ImportOptions,
    /// Options that influence the code.
    pub options: OptimizeOptions,
    /// Names and patterns of nodes to keep in float, in addition to those in the options.
    pub keep_float: Vec<String>,
    /// Source of the tensor ranges.
    pub ranges: Ranges,
    /// Minimum share of multiply-accumulates in int8, 0 to 1.
    pub required_int8: Option<f64>,
    /// The peaks that the cost models go by; `None` for those of the target.
    pub peaks: Option<MachinePeaks>,
    /// The tuning file.
    pub tuning: Option<TuningFile>,
    /// Prefix of the exported C symbol; derived from the model's name by default.
    pub symbol: Option<String>,
    /// Listings of the machine code to make.
    pub listings: Listings,
    /// The shared library to link.
    pub library: Option<PathBuf>,
    /// Whether to keep the graph afterwards. If not, its memory is freed before linking.
    pub keep_graph: bool,
}

/// The result of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The optimized graph.
    pub optimized: Optimized,
    /// The tuning measurements and their use.
    pub tuned: Option<Tuned>,
    /// The code.
    pub compiled: Compiled,
}

/// Builds what `request` asks for.
///
/// # Errors
/// The error of the first stage that fails; then nothing is linked.
pub fn build(request: &Request, progress: &mut dyn Progress) -> Result<Built, Error> {
    let model = import(&request.model, &request.import, progress)?;
    let options = request.options.clone().keeping_float(&model.graph, &request.keep_float)?;
    let table = request.ranges.calibrate(&model, &options, progress)?;
    if request.required_int8.is_some() && options.precision == PrecisionRequest::WeightInt8 {
        let contradiction = "--require-int8 is for arithmetic in int8, and weight-int8 computes in f32";
        return Err(Error::Usage(contradiction.to_owned()));
    }

    let mut optimized = optimize_owned(model, table, &options, progress)?;
    require_int8(&optimized.coverage, request.required_int8)?;
    request.peaks.as_ref().map(|peaks| peaks.choose(&mut optimized)).transpose()?;
    let tuning = request.tuning.as_ref();
    let tuned = tuning.map(|file| file.choose(&mut optimized, progress)).transpose()?;

    progress.stage(Stage::Compile);
    let program = lower(&optimized)?;
    let program = schedule(&optimized, program, progress)?;
    let symbol = request.symbol.clone().unwrap_or_else(|| c_identifier(&optimized.name));
    let compiled = emit(&optimized, program, &symbol, request.listings)?;
    if !request.keep_graph {
        optimized.graph = Graph::new("");
    }

    progress.stage(Stage::Link);
    if let Some(path) = &request.library {
        compiled.link(&Linker::from_env(optimized.target.arch), path)?;
    }
    Ok(Built { optimized, tuned, compiled })
}

/// Fails if the share of multiply-accumulates in int8 is too small.
fn require_int8(coverage: &Coverage, required: Option<f64>) -> Result<(), Error> {
    let share = coverage.int8_share();
    match required {
        Some(required) if share < required => {
            Err(Error::Int8Share { share, required, float_nodes: coverage.float_nodes.clone() })
        }
        _ => Ok(()),
    }
}

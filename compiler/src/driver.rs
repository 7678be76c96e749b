//! THE pipeline: from a model's file to a shared library, one visible call a stage. [`build`] is the picture in
//! ARCHITECTURE.md as code.
//!
//! Invariant: what comes out depends on the model's bytes, the calibration table, the tuning file and the options alone,
//! and all of them are in the artifact's provenance. Nothing here prints; a [`Progress`] hears what goes on.

use std::path::PathBuf;

use eightfold_codegen::compile::Listings;
use eightfold_codegen::interface::c_identifier;
use eightfold_codegen::object::Linker;
use eightfold_ir::Graph;

use crate::calibrate::Ranges;
use crate::error::Error;
use crate::measure::tuning_file::{Tuned, TuningFile};
use crate::onnx::ImportOptions;
use crate::options::OptimizeOptions;
use crate::report::coverage::Coverage;
use crate::stages::emit::{Compiled, emit};
use crate::stages::load::import;
use crate::stages::lower::lower;
use crate::stages::optimize::{Optimized, optimize_owned};
use crate::stages::progress::{Progress, Stage};
use crate::stages::schedule::schedule;

/// What is to be built, and of what.
#[derive(Clone, Debug)]
pub struct Request {
    /// An ONNX model, or a graph in text form.
    pub model: PathBuf,
    /// How it is imported.
    pub import: ImportOptions,
    /// Whatever decides about the code.
    pub options: OptimizeOptions,
    /// Names and patterns of nodes that are kept in float, beside those in the options.
    pub keep_float: Vec<String>,
    /// Where the ranges of its tensors come from.
    pub ranges: Ranges,
    /// The share of multiply-accumulates, 0 to 1, that must be in int8.
    pub required_int8: Option<f64>,
    /// The measurements to choose by.
    pub tuning: Option<TuningFile>,
    /// The C identifier that the exported symbol starts with; by default made of the model's name.
    pub symbol: Option<String>,
    /// Texts of the machine code that are wanted.
    pub listings: Listings,
    /// The shared library to link.
    pub library: Option<PathBuf>,
    /// Whether the graph is wanted afterwards. Else its memory is free before the linker wants some.
    pub keep_graph: bool,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The graph that code was made of.
    pub optimized: Optimized,
    /// What was measured, and what of it is used.
    pub tuned: Option<Tuned>,
    /// The code.
    pub compiled: Compiled,
}

/// Builds what is requested.
///
/// # Errors
/// That of the first stage that fails; nothing is linked then.
pub fn build(request: &Request, progress: &mut dyn Progress) -> Result<Built, Error> {
    let model = import(&request.model, &request.import, progress)?;
    let options = request.options.clone().keeping_float(&model.graph, &request.keep_float)?;
    let table = request.ranges.calibrate(&model, &options, progress)?;

    let mut optimized = optimize_owned(model, table, &options, progress)?;
    require_int8(&optimized.coverage, request.required_int8)?;
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
        compiled.link(&Linker::from_env(), path)?;
    }
    Ok(Built { optimized, tuned, compiled })
}

/// Whether the share of products in int8 is large enough.
fn require_int8(coverage: &Coverage, required: Option<f64>) -> Result<(), Error> {
    let share = coverage.int8_share();
    match required {
        Some(required) if share < required => {
            Err(Error::Int8Share { share, required, float_nodes: coverage.float_nodes.clone() })
        }
        _ => Ok(()),
    }
}

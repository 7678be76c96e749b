//! ONNX in and out: models become [`Graph`]s, graphs become models.
//!
//! `proto` decodes the file into plain structs and is the only place that names protobuf types; `import` walks
//! those structs in topological order and hands each node to the adapter of its operator (`adapt/`), which adds
//! operators of ours. Shapes are numbers when the import is done, and what can be computed from constants alone and
//! decides about a shape has been computed. [`export`] goes the other way, operator by operator. Nothing is optimised
//! here: that is for the passes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use eightfold_ir::Graph;

use self::proto::Source;
use crate::host::memory_limit::MemoryLimit;

mod adapt;
mod computed;
mod constants;
mod dims;
mod emit;
mod error;
mod export;
mod import;
mod model;
mod names;
mod order;
mod proto;
mod support;

pub use adapt::operators;
pub use constants::Constant;
pub use error::{ErrorKind, ExternalFault, OnnxError, UnboundDim, Unsupported, UnsupportedNodes};
pub use export::export;
pub use support::{Support, support};

/// What the user says about a model before it is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Numbers for dimensions that the model leaves open, by symbol (`batch`) or by input and axis (`image.0`).
    pub dims: BTreeMap<String, usize>,
    /// Inputs that are constants, by name: the graph does not have them as inputs.
    pub constants: BTreeMap<String, Constant>,
    /// The most bytes that the model, or a tensor of it, may take.
    pub memory: MemoryLimit,
}

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    /// What the model computes.
    pub graph: Graph,
    /// What the user may want to know.
    pub remarks: Vec<ImportRemark>,
    /// Version of the default operator set; `None` if all operators are of other sets.
    pub opset: Option<i64>,
    /// The program that wrote the model, with its version; empty if it does not say.
    pub producer: String,
    /// SHA-256 of the model's bytes, external data behind the file's, in hexadecimal.
    pub sha256: String,
    /// The files with external data.
    pub external: Vec<PathBuf>,
}

/// Something that the import decided or noticed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportRemark {
    /// A leading dimension that nobody bound became 1.
    #[error("axis 0 of input {input:?} ({symbol}) is taken as 1; --dim {key}=N sets another number")]
    DefaultedDim {
        /// The input.
        input: String,
        /// The symbol, or `?` for a dimension without a name.
        symbol: String,
        /// What `--dim` calls it.
        key: String,
    },
    /// The model lists an output more than once.
    #[error("output {output:?} is listed again: the copy is called {copy:?}")]
    RepeatedOutput {
        /// The output.
        output: String,
        /// The name of the copy, which shows the same tensor.
        copy: String,
    },
    /// The model declares another shape for an output than its operators yield.
    #[error("output {output:?} is declared {declared}, but its shape is {inferred}")]
    OutputShape {
        /// The output.
        output: String,
        /// The shape in the model.
        declared: String,
        /// The shape it has.
        inferred: String,
    },
    /// The model declares another element type for an output than its operators yield.
    #[error("output {output:?} is declared {declared}, but its type is {inferred}")]
    OutputType {
        /// The output.
        output: String,
        /// The type in the model.
        declared: String,
        /// The type it has.
        inferred: String,
    },
}

/// Imports the model in a file; external data is looked for in the file's folder.
///
/// # Errors
/// See [`OnnxError`].
pub fn load(path: &Path, options: &ImportOptions) -> Result<Imported, OnnxError> {
    let error = |source| OnnxError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(error)?;
    // A pipe can be read once only.
    let source = if file.metadata().map_err(error)?.is_file() {
        Source::new(file, Some(path))
    } else {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        Source::new(Cursor::new(bytes), Some(path))
    };
    import::import(&proto::decode(source?, options.memory)?, options)
}

/// Imports a model from its bytes; it can have no external data.
///
/// # Errors
/// See [`OnnxError`].
pub fn from_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Imported, OnnxError> {
    let source = Source::new(Cursor::new(bytes), None)?;
    import::import(&proto::decode(source, options.memory)?, options)
}

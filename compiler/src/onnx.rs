//! ONNX import and export: models become [`Graph`](eightfold_ir::Graph)s, graphs become models.
//!
//! `proto` decodes the file into plain structs; no other module names protobuf types. `import` walks these structs in
//! topological order and passes each node to its operator's adapter (`adapt/`), which adds IR operators. After the
//! import all shapes are numbers, and constant subgraphs that determine shapes are computed. [`export()`] converts back,
//! operator by operator. No optimization happens here: that is the passes' task.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use self::proto::Source;

mod adapt;
mod computed;
mod constants;
mod dims;
mod emit;
mod error;
mod export;
mod import;
mod imported;
mod importer;
mod model;
mod names;
mod order;
mod proto;
mod support;

pub use adapt::operators;
pub use constants::Constant;
pub use error::{ErrorKind, ExternalFault, OnnxError, UnboundDim, UnsupportedNode, UnsupportedNodes};
pub use export::export;
pub use imported::{ImportOptions, ImportRemark, Imported};
pub use support::{Support, support};

/// Imports the model in a file; external data is read from the file's folder.
///
/// # Errors
/// See [`OnnxError`].
pub fn load(path: &Path, options: &ImportOptions) -> Result<Imported, OnnxError> {
    let error = |source| OnnxError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(error)?;
    // A pipe can be read only once.
    let source = if file.metadata().map_err(error)?.is_file() {
        Source::new(file, Some(path))
    } else {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        Source::new(Cursor::new(bytes), Some(path))
    };
    import::import(&proto::decode(source?, options.memory)?, options)
}

/// Imports a model from its bytes; external data is not supported.
///
/// # Errors
/// See [`OnnxError`].
pub fn from_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Imported, OnnxError> {
    let source = Source::new(Cursor::new(bytes), None)?;
    import::import(&proto::decode(source, options.memory)?, options)
}

//! Imports a model: an ONNX file or a graph in text form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eightfold_ir::{Graph, Op};
use sha2::{Digest, Sha256};

use super::progress::{Progress, Stage};
use crate::dataset::InputSpec;
use crate::error::Error;
use crate::host::memory_limit::MemoryLimit;
use crate::host::output_file::declare_input;
use crate::onnx::{self, Constant, ImportOptions, OnnxError};
use crate::report::numbers::hex;

/// An imported model.
#[derive(Clone, Debug)]
pub struct Model {
    /// The file's name without folder and extension.
    pub name: String,
    /// The model as a graph.
    pub graph: Graph,
    /// SHA-256 of the model's bytes including external data, in hexadecimal.
    pub sha256: String,
    /// Version of the ONNX operator set; `None` for a graph in text form.
    pub opset: Option<i64>,
    /// The program that wrote the model; may be empty.
    pub producer: String,
    /// The inputs that the import made constants.
    pub constants: BTreeMap<String, Constant>,
    /// Remarks of the import.
    pub remarks: Vec<String>,
    /// Files with external data.
    pub external: Vec<PathBuf>,
    /// The memory limit for the model, compiled or not.
    pub memory: MemoryLimit,
}

/// Loads a model for a command: no output of the command may overwrite the model's files, and remarks of the import go
/// to `progress`.
///
/// # Errors
/// Those of [`load`]; [`Error::Write`] if an output is one of these files.
pub fn import(path: &Path, options: &ImportOptions, progress: &mut dyn Progress) -> Result<Model, Error> {
    progress.stage(Stage::Import);
    declare_input(path)?;
    let model = load(path, options)?;
    model.external.iter().try_for_each(|file| declare_input(file))?;
    for remark in &model.remarks {
        progress.note(&format!("{}: {remark}", path.display()));
    }
    Ok(model)
}

/// Imports a model: a graph in text form if the name ends in `.ir`, otherwise ONNX.
///
/// # Errors
/// If the file cannot be read, is broken, or needs something that is not supported.
pub fn load(path: &Path, options: &ImportOptions) -> Result<Model, Error> {
    let name = path.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned());
    if path.extension().is_some_and(|extension| extension == "ir") {
        if let Some(dim) = options.dims.keys().next() {
            return Err(Error::Usage(format!("--dim {dim}: only ONNX models leave dimensions open")));
        }
        if let Some(input) = options.constants.keys().next() {
            return Err(Error::Usage(format!("--constant {input}: only inputs of ONNX models can be made constants")));
        }
        if let Some(node) = options.max_trip.keys().next() {
            return Err(Error::Usage(format!("--max-trip {node}: a loop of a graph in text form has its bound")));
        }
        return load_text(path, name, options.memory);
    }
    let imported = onnx::load(path, options).map_err(|error| match error {
        OnnxError::Read { path, source } => Error::Read { path, source },
        source => Error::Import { path: path.to_owned(), source },
    })?;
    options.memory.check_tensors(&imported.graph)?;
    let onnx::Imported { graph, remarks, opset, producer, sha256, external } = imported;
    let remarks = remarks.iter().map(ToString::to_string).collect();
    let constants = options.constants.clone();
    Ok(Model { name, graph, sha256, opset, producer, constants, remarks, external, memory: options.memory })
}

fn load_text(path: &Path, name: String, memory: MemoryLimit) -> Result<Model, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes);
    let graph = eightfold_ir::parse(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })?;
    eightfold_ir::verify(&graph).map_err(|source| Error::Verify {
        place: path.display().to_string(),
        ours: false,
        source,
    })?;
    memory.check_tensors(&graph)?;
    let sha256 = hex(&Sha256::digest(&bytes));
    let (producer, constants) = (String::new(), BTreeMap::new());
    let (remarks, external) = (Vec::new(), Vec::new());
    Ok(Model { name, graph, sha256, opset: None, producer, constants, remarks, external, memory })
}

impl Model {
    /// The inputs, as specifications for data.
    #[must_use]
    pub fn inputs(&self) -> Vec<InputSpec> {
        let input = |id| {
            let value = self.graph.value(id);
            InputSpec::new(value.name.as_deref().unwrap_or_default(), value.ty.dtype, &value.ty.shape)
        };
        self.graph.inputs().iter().copied().map(input).collect()
    }

    /// Whether the model itself specifies its quantization.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        self.graph.nodes().any(|node| matches!(node.op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_)))
    }
}

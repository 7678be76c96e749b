//! What the user says about a model before it is imported, and what the import has to show for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eightfold_ir::Graph;

use super::constants::Constant;
use crate::host::memory_limit::MemoryLimit;

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

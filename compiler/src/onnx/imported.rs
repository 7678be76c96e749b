//! Options and result of an import.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eightfold_ir::Graph;

use super::constants::Constant;
use crate::host::memory_limit::MemoryLimit;

/// Options of an import.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Values of symbolic dimensions, by symbol (`batch`) or by input and axis (`image.0`).
    pub dims: BTreeMap<String, usize>,
    /// Inputs that become constants, by name: the graph does not have them as inputs.
    pub constants: BTreeMap<String, Constant>,
    /// The greatest numbers of turns of loops that nothing else bounds, by name of the node.
    pub max_trip: BTreeMap<String, usize>,
    /// The memory limit for the model and for each tensor.
    pub memory: MemoryLimit,
}

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model as a graph.
    pub graph: Graph,
    /// Remarks for the user.
    pub remarks: Vec<ImportRemark>,
    /// Version of the default operator set; `None` if the model does not use it.
    pub opset: Option<i64>,
    /// The program that wrote the model, with its version; may be empty.
    pub producer: String,
    /// SHA-256 of the model's bytes followed by its external data, in hexadecimal.
    pub sha256: String,
    /// The files with external data.
    pub external: Vec<PathBuf>,
}

/// A remark about a decision or an observation of the import.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportRemark {
    /// An unspecified leading dimension was set to 1.
    #[error("axis 0 of input {input:?} ({symbol}) is taken as 1; --dim {key}=N sets another number")]
    DefaultedDim {
        /// The input.
        input: String,
        /// The symbol, or `?` for an unnamed dimension.
        symbol: String,
        /// Its name for `--dim`.
        key: String,
    },
    /// The model lists an output more than once.
    #[error("output {output:?} is listed again: the copy is called {copy:?}")]
    RepeatedOutput {
        /// The output.
        output: String,
        /// The name of the copy, which is the same tensor.
        copy: String,
    },
    /// A loop may end before its bound, which is the extent of its scan outputs.
    #[error(
        "scan outputs of loop {node:?} have {rows} rows, one for each turn that it may have; rows without a turn are 0"
    )]
    LoopRows {
        /// The node.
        node: String,
        /// The bound of the loop.
        rows: usize,
    },
    /// The declared shape of an output differs from the inferred one.
    #[error("output {output:?} is declared {declared}, but its shape is {inferred}")]
    OutputShape {
        /// The output.
        output: String,
        /// The declared shape.
        declared: String,
        /// The inferred shape.
        inferred: String,
    },
    /// The declared element type of an output differs from the inferred one.
    #[error("output {output:?} is declared {declared}, but its type is {inferred}")]
    OutputType {
        /// The output.
        output: String,
        /// The declared type.
        declared: String,
        /// The inferred type.
        inferred: String,
    },
}

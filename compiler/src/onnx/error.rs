//! Import and export errors, and whose fault each is.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::report::nodes;

/// Whose fault an error is; decides the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line's: a missing `--dim`, a missing file.
    Usage,
    /// Ours: the model is valid, but needs something that is not supported.
    Unsupported,
    /// The model's: it violates ONNX's rules.
    Broken,
}

/// Why a model cannot be imported or exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// Usage: the file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Broken: the file has no bytes.
    #[error("the model is empty: 0 bytes")]
    Empty,
    /// Broken: the file ends in the middle of a field, so it is incomplete.
    #[error("the model is truncated: it ends after {size} bytes, in the middle of a field")]
    Truncated {
        /// The number of bytes.
        size: usize,
    },
    /// Broken: the bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    NotOnnx {
        /// The reason.
        reason: String,
    },
    /// Broken: the version of the file format is missing, or older than ONNX 1.0.
    #[error("the model's ir_version is {version}, expected 3 or newer")]
    IrVersion {
        /// The version in the model, 0 if there is none.
        version: i64,
    },
    /// Broken: the model uses the default operator set without naming its version.
    #[error("opset_import names no version of the default operator set, and node {node:?} ({op_type}) is of that set")]
    NoOpset {
        /// A node of the default set.
        node: String,
        /// Its operator.
        op_type: String,
    },
    /// Broken: the model has no outputs.
    #[error("the model has no outputs, expected at least one")]
    NoOutputs,
    /// Unsupported: the model's operator set is too old or too new.
    #[error("the model's opset is {version}, supported are {oldest} to {newest}")]
    Opset {
        /// Version in the model.
        version: i64,
        /// Oldest version supported.
        oldest: i64,
        /// Newest version supported.
        newest: i64,
    },
    /// Broken: external data of a tensor cannot be read.
    #[error("external data of tensor {tensor:?} at {location:?}: {fault}")]
    External {
        /// The tensor.
        tensor: String,
        /// The file as the model names it.
        location: String,
        /// The problem.
        fault: ExternalFault,
    },
    /// Broken: a constant is inconsistent.
    #[error("tensor {tensor:?}: {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// The problem.
        reason: String,
    },
    /// Broken: a name is defined twice.
    #[error("{name:?} is defined more than once")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Broken: a name is used but not defined.
    #[error("{user} reads {name:?}, which nothing defines")]
    Undefined {
        /// The name.
        name: String,
        /// The node that reads it, or the graph as its output.
        user: String,
    },
    /// Broken: the graph has a cycle.
    #[error("the graph is cyclic: {}", nodes.join(" -> "))]
    Cycle {
        /// The nodes along the cycle, the first repeated at the end.
        nodes: Vec<String>,
    },
    /// Broken: functions or subgraphs are nested infinitely, or expand to too many nodes.
    #[error("{name:?} expands without end")]
    Expansion {
        /// The function or node where the import stopped.
        name: String,
    },
    /// Broken: node names become too long when functions are expanded.
    #[error("the names of nodes take more than {} once all functions are expanded", crate::report::numbers::bytes(*limit as u64))]
    Names {
        /// The limit in bytes.
        limit: usize,
    },
    /// Broken: a node violates the operator's definition.
    #[error("node {node:?} ({op_type}): {reason}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        op_type: String,
        /// The problem.
        reason: String,
    },
    /// Usage: symbolic dimensions need values.
    #[error("dimensions without a number: {}", list(.0))]
    UnboundDims(Vec<UnboundDim>),
    /// Usage: `--dim` names a dimension that the model does not have.
    #[error("the model has no open dimension {name:?}; it has: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownDim {
        /// The name given.
        name: String,
        /// The names of the dimensions.
        known: Vec<String>,
    },
    /// Usage: `--constant` names an input that the model does not have.
    #[error("the model has no input {name:?}; it has: {}", known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The names of the inputs.
        known: Vec<String>,
    },
    /// Usage: the value of `--constant` does not fit the input.
    #[error("the constant for input {input:?} must be {expected}, got {got}")]
    Constant {
        /// The input.
        input: String,
        /// Its shape and element type.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Unsupported: an input or output is not a tensor, or has an unsupported element type.
    #[error("{name:?} is {got}, expected a tensor of numbers")]
    NotNumbers {
        /// The input or output.
        name: String,
        /// Its kind or type.
        got: String,
    },
    /// Unsupported: a node cannot be exported, because ONNX cannot express it.
    #[error("node {node:?} ({op}) cannot be written as ONNX: {reason}")]
    Inexpressible {
        /// The node.
        node: String,
        /// The operator's text name.
        op: &'static str,
        /// What ONNX cannot express.
        reason: String,
    },
    /// Unsupported: the exported model would exceed the size limit of protobuf messages.
    #[error("the model takes {size} bytes, expected less than {limit}")]
    TooLarge {
        /// Bytes it takes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Unsupported: the model needs more memory than the limit.
    #[error(transparent)]
    Memory(#[from] crate::host::memory_limit::TooLarge),
    /// Unsupported: all uses of operators that cannot be imported, in order of appearance.
    #[error("unsupported operators:{}", nodes::below(&.0.lines()))]
    Unsupported(UnsupportedNodes),
}

impl OnnxError {
    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            OnnxError::Read { .. }
            | OnnxError::UnboundDims(_)
            | OnnxError::UnknownDim { .. }
            | OnnxError::UnknownInput { .. }
            | OnnxError::Constant { .. } => ErrorKind::Usage,
            OnnxError::Opset { .. }
            | OnnxError::NotNumbers { .. }
            | OnnxError::Inexpressible { .. }
            | OnnxError::TooLarge { .. }
            | OnnxError::Memory(_)
            | OnnxError::Unsupported(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Broken,
        }
    }
}

/// Why external data cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalFault {
    /// The model was given as bytes, so there is no folder.
    #[error("a model given as bytes has no folder")]
    NoFolder,
    /// The path leaves the model's folder, or the folder that a link to the model leads to.
    #[error("the path leaves the model's folder")]
    Escapes,
    /// The file is missing or unreadable.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Offset or length is not a number.
    #[error("{key} is {value:?}, expected a number")]
    Number {
        /// `offset` or `length`.
        key: String,
        /// Its text.
        value: String,
    },
    /// The range exceeds the file.
    #[error("bytes {offset}..{end} of a file of {size} bytes")]
    Range {
        /// First byte.
        offset: u64,
        /// Byte after the last.
        end: u64,
        /// Size of the file in bytes.
        size: u64,
    },
}

/// A dimension that needs a value from the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundDim {
    /// The input.
    pub input: String,
    /// The axis; `None` if the rank is unknown.
    pub axis: Option<usize>,
    /// Its name for `--dim`.
    pub key: String,
}

impl fmt::Display for UnboundDim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.axis {
            Some(axis) => write!(f, "axis {axis} of input {:?}: give --dim {}=N", self.input, self.key),
            None => write!(f, "input {:?} has no shape: give --dim {}=N for each axis", self.input, self.key),
        }
    }
}

/// All nodes that cannot be imported, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNodes(pub Vec<UnsupportedNode>);

impl UnsupportedNodes {
    /// The nodes grouped by operator and reason.
    pub(crate) fn groups(&self) -> Vec<Vec<&UnsupportedNode>> {
        nodes::groups(&self.0, |node| (node.operator(), node.reason.clone()))
    }

    /// A line for each group.
    fn lines(&self) -> Vec<String> {
        let line = |group: &Vec<&UnsupportedNode>| {
            let names: Vec<&str> = group.iter().map(|node| node.node.as_str()).collect();
            group[0].at(&nodes::names(&names))
        };
        self.groups().iter().map(line).collect()
    }
}

/// A node that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedNode {
    /// The operator.
    pub op_type: String,
    /// Its domain; empty for the default one.
    pub domain: String,
    /// Version of the operator set it belongs to.
    pub version: i64,
    /// The node's name.
    pub node: String,
    /// What is not supported; empty if the operator as a whole is not.
    pub reason: String,
}

impl UnsupportedNode {
    /// The operator with its domain and opset version.
    fn operator(&self) -> String {
        let domain = if self.domain.is_empty() { String::new() } else { format!("{}::", self.domain) };
        format!("{domain}{} (opset {})", self.op_type, self.version)
    }

    /// The operator, these nodes, and the reason.
    fn at(&self, nodes: &str) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{} at {nodes}{reason}", self.operator())
    }
}

impl fmt::Display for UnsupportedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(&nodes::names(&[&self.node])))
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

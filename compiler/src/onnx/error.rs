//! What can be wrong with a model, and whose fault it is.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::report::nodes;

/// Whose fault an error is; decides the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line: a missing `--dim`, a file that is not there.
    Usage,
    /// Ours: the model is fine, but asks for something that is not supported.
    Unsupported,
    /// The model's: it breaks ONNX's rules.
    Broken,
}

/// A model that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// Usage: the file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Broken: the file has no bytes.
    #[error("the model is empty: 0 bytes")]
    Empty,
    /// Broken: the bytes end within the model; the file was cut off.
    #[error("the model is truncated: it ends after {size} bytes, in the middle of a field")]
    Truncated {
        /// Bytes there are.
        size: usize,
    },
    /// Broken: the bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    NotOnnx {
        /// What does not fit.
        reason: String,
    },
    /// Broken: the version of the file format is missing, or older than ONNX 1.0.
    #[error("the model's ir_version is {version}, expected 3 or newer")]
    IrVersion {
        /// The version in the model, 0 if there is none.
        version: i64,
    },
    /// Broken: operators of the default set are used, and no version of it is named.
    #[error("opset_import names no version of the default operator set, and node {node:?} ({op_type}) is of that set")]
    NoOpset {
        /// A node of the default set.
        node: String,
        /// Its operator.
        op_type: String,
    },
    /// Broken: there is nothing to compute.
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
    /// Broken: data that a tensor keeps in another file cannot be had.
    #[error("external data of tensor {tensor:?} at {location:?}: {fault}")]
    External {
        /// The tensor.
        tensor: String,
        /// The file as the model names it.
        location: String,
        /// What is wrong.
        fault: ExternalFault,
    },
    /// Broken: a constant contradicts itself.
    #[error("tensor {tensor:?}: {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What is wrong with it.
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
    /// Broken: nodes depend on themselves.
    #[error("the graph is cyclic: {}", nodes.join(" -> "))]
    Cycle {
        /// The nodes along the cycle, the first repeated at the end.
        nodes: Vec<String>,
    },
    /// Broken: functions or subgraphs are nested without end, or multiply beyond reason.
    #[error("{name:?} expands without end")]
    Expansion {
        /// The function or node at which the import gave up.
        name: String,
    },
    /// Broken: the names of nodes are long, and multiply with the functions that they lie in.
    #[error("the names of nodes take more than {} once all functions are expanded", crate::report::numbers::bytes(*limit as u64))]
    Names {
        /// Bytes that they may take.
        limit: usize,
    },
    /// Broken: a node contradicts the operator's definition or its operands.
    #[error("node {node:?} ({op_type}): {reason}")]
    Node {
        /// The node.
        node: String,
        /// Its operator.
        op_type: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Usage: dimensions are symbols and nobody gave them numbers.
    #[error("dimensions without a number: {}", list(.0))]
    UnboundDims(Vec<UnboundDim>),
    /// Usage: `--dim` names a dimension that the model does not have.
    #[error("the model has no open dimension {name:?}; it has: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    UnknownDim {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Usage: `--constant` names an input that the model does not have.
    #[error("the model has no input {name:?}; it has: {}", known.join(", "))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Usage: what `--constant` gives does not fit the input.
    #[error("the constant for input {input:?} must be {expected}, got {got}")]
    Constant {
        /// The input.
        input: String,
        /// Its shape and element type.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Unsupported: an input or output is no tensor, or of an element type that is not supported.
    #[error("{name:?} is {got}, expected a tensor of numbers")]
    NotNumbers {
        /// The input or output.
        name: String,
        /// What it is.
        got: String,
    },
    /// Unsupported: a node has no form in ONNX, so that the graph cannot be exported.
    #[error("node {node:?} ({op}) cannot be written as ONNX: {reason}")]
    Inexpressible {
        /// The node.
        node: String,
        /// The operator's text name.
        op: &'static str,
        /// What ONNX lacks.
        reason: String,
    },
    /// Unsupported: the exported model would be larger than a protobuf message can be.
    #[error("the model takes {size} bytes, expected less than {limit}")]
    TooLarge {
        /// Bytes it takes.
        size: usize,
        /// The bound.
        limit: usize,
    },
    /// Unsupported: the model takes more memory than it may.
    #[error(transparent)]
    Memory(#[from] crate::host::memory_limit::TooLarge),
    /// Unsupported: every use of an operator that cannot be imported, by first appearance.
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

/// What keeps external data from being read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalFault {
    /// The model came as bytes, so there is no folder to look in.
    #[error("a model given as bytes has no folder")]
    NoFolder,
    /// The path leaves the model's folder, and the folder that a link to the model leads to.
    #[error("the path leaves the model's folder")]
    Escapes,
    /// The file is missing or unreadable.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Offset or length is no number.
    #[error("{key} is {value:?}, expected a number")]
    Number {
        /// `offset` or `length`.
        key: String,
        /// Its text.
        value: String,
    },
    /// The range does not lie within the file.
    #[error("bytes {offset}..{end} of a file of {size} bytes")]
    Range {
        /// First byte.
        offset: u64,
        /// Byte after the last.
        end: u64,
        /// Bytes there are.
        size: u64,
    },
}

/// A dimension that needs a number from the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundDim {
    /// The input.
    pub input: String,
    /// The axis; `None` if not even the rank is known.
    pub axis: Option<usize>,
    /// What `--dim` calls it.
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
pub struct UnsupportedNodes(pub Vec<Unsupported>);

impl UnsupportedNodes {
    /// Nodes that have operator and reason in common.
    pub(crate) fn groups(&self) -> Vec<Vec<&Unsupported>> {
        nodes::groups(&self.0, |node| (node.operator(), node.reason.clone()))
    }

    /// A line for each group.
    fn lines(&self) -> Vec<String> {
        let line = |group: &Vec<&Unsupported>| {
            let names: Vec<&str> = group.iter().map(|node| node.node.as_str()).collect();
            group[0].at(&nodes::names(&names))
        };
        self.groups().iter().map(line).collect()
    }
}

/// A node that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The operator.
    pub op_type: String,
    /// Its domain; empty for ONNX's own.
    pub domain: String,
    /// Version of the operator set it belongs to.
    pub version: i64,
    /// The node's name.
    pub node: String,
    /// What about it is not supported; empty where the operator as a whole is not.
    pub reason: String,
}

impl Unsupported {
    /// The operator with its domain and the version of its set.
    fn operator(&self) -> String {
        let domain = if self.domain.is_empty() { String::new() } else { format!("{}::", self.domain) };
        format!("{domain}{} (opset {})", self.op_type, self.version)
    }

    /// The operator at these nodes, and why it is not supported there.
    fn at(&self, nodes: &str) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        format!("{} at {nodes}{reason}", self.operator())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at(&nodes::names(&[&self.node])))
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

//! Errors of the parser, with their position.

use crate::declare::AttrError;
use crate::epilogue::StepError;
use crate::op::InferError;
use crate::types::{DType, TensorType};

/// Why a text is not a graph, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    /// The line of the error, from 1.
    pub line: usize,
    /// The column of the error in characters, from 1.
    pub column: usize,
    /// The error.
    #[source]
    pub reason: Box<Reason>,
}

/// The kinds of errors.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A syntax error: something else is expected here.
    #[error("expected {expected}, got {got}")]
    Expected {
        /// The expected text.
        expected: String,
        /// The text found.
        got: String,
    },
    /// A string has no closing quote on its line.
    #[error("the string does not end on this line")]
    Unterminated,
    /// A backslash is followed by a character that it does not escape.
    #[error(r#"unknown escape; the escapes are \" \\ \n \r \t \u{{…}}"#)]
    Escape,
    /// No earlier line defines the value.
    #[error("no line above defines {name}")]
    UnknownValue {
        /// The value, as written.
        name: String,
    },
    /// A value, parameter set or attribute is defined twice.
    #[error("{name} is defined twice")]
    Redefined {
        /// Its name, as written.
        name: String,
    },
    /// No earlier line defines the quantization parameters.
    #[error("no qparams line above defines #{label}")]
    UnknownQuant {
        /// The label without `#`.
        label: String,
    },
    /// The operator does not exist.
    #[error("no operator is called {name:?}; the operators are {}", crate::op::Op::NAMES.join(", "))]
    UnknownOp {
        /// The name, as written.
        name: String,
    },
    /// The step does not exist.
    #[error("no step or scalar function is called {name:?}")]
    UnknownStep {
        /// The name, as written.
        name: String,
    },
    /// An attribute does not fit its operator.
    #[error(transparent)]
    Attr(#[from] AttrError),
    /// The operator is not defined for its operands.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The step is not defined for its operands.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The type in the text is not the inferred type.
    #[error("the result is {expected}, but the text says {got}")]
    Type {
        /// The inferred type.
        expected: Box<TensorType>,
        /// The type in the text.
        got: Box<TensorType>,
    },
    /// The number of items is wrong.
    #[error("expected {expected} {of}, got {got}")]
    Count {
        /// What is counted.
        of: &'static str,
        /// The expected number.
        expected: usize,
        /// The number found.
        got: usize,
    },
    /// The constant's type cannot hold an element.
    #[error("{text} is not a valid {dtype}")]
    Element {
        /// The element type of the constant.
        dtype: DType,
        /// The element, as written.
        text: String,
    },
    /// The tensor exceeds the address space, or the constants that the text describes by a few characters exceed 2^30
    /// bytes.
    #[error("{ty} is too large")]
    TooLarge {
        /// The type of the tensor.
        ty: Box<TensorType>,
    },
    /// Bodies are nested too deep.
    #[error("bodies are nested deeper than {limit} levels")]
    Depth {
        /// The limit.
        limit: usize,
    },
    /// The text has only a hash of the constant.
    #[error("the text has only a hash of this constant; print the graph in full")]
    Blob,
}

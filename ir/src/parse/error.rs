//! What is wrong with a text that is no graph, and where.

use crate::epilogue::StepError;
use crate::op::{AttrError, InferError};
use crate::types::{DType, TensorType};

/// A text that is no graph, and where it goes wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}, column {column}: {reason}")]
pub struct ParseError {
    /// Line of the mistake, from 1.
    pub line: usize,
    /// Column of the mistake in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    #[source]
    pub reason: Box<Reason>,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The grammar wants something else here.
    #[error("expected {expected}, got {got}")]
    Expected {
        /// What may come here.
        expected: String,
        /// What comes.
        got: String,
    },
    /// A string without a closing quote on its line.
    #[error("the string does not end on this line")]
    Unterminated,
    /// A backslash before something that it does not escape.
    #[error(r#"unknown escape; there are \" \\ \n \r \t \u{{…}}"#)]
    Escape,
    /// A value that no line above defines.
    #[error("no line above defines {name}")]
    UnknownValue {
        /// The value as written.
        name: String,
    },
    /// Something that is already there.
    #[error("{name} is defined twice")]
    Redefined {
        /// The value, parameter set or attribute as written.
        name: String,
    },
    /// Quantization parameters that no line above defines.
    #[error("no qparams line above defines #{label}")]
    UnknownQuant {
        /// The label without its `#`.
        label: String,
    },
    /// An operator that does not exist.
    #[error("no operator is called {name:?}; there are {}", crate::op::Op::NAMES.join(", "))]
    UnknownOp {
        /// The name as written.
        name: String,
    },
    /// A step that does not exist.
    #[error("no step or scalar function is called {name:?}")]
    UnknownStep {
        /// The name as written.
        name: String,
    },
    /// An attribute that does not fit its operator.
    #[error(transparent)]
    Attr(#[from] AttrError),
    /// The operator has no meaning on its operands.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// The step has no meaning on what reaches it.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The type written is not the one inferred.
    #[error("the result is {expected}, but {got} is written")]
    Type {
        /// The type inferred.
        expected: Box<TensorType>,
        /// The type written.
        got: Box<TensorType>,
    },
    /// Another number of things than fits.
    #[error("expected {expected} {of}, got {got}")]
    Count {
        /// What is counted.
        of: &'static str,
        /// How many there must be.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// An element that the constant's type cannot hold.
    #[error("{text} is no {dtype}")]
    Element {
        /// The constant's element type.
        dtype: DType,
        /// The element as written.
        text: String,
    },
    /// A tensor beyond all memory, or one with which the constants that the text asks to make up are more than 2^30 bytes.
    #[error("{ty} is too large")]
    TooLarge {
        /// The tensor's type.
        ty: Box<TensorType>,
    },
    /// A constant of which the text has only a hash.
    #[error("the data of this constant are not in the text, only their hash; print the graph in full")]
    Blob,
}

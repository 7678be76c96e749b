//! Why an evaluation failed.

use std::sync::Arc;

use crate::epilogue::StepError;
use crate::types::TensorType;

/// Why an evaluation failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The caller passed the wrong number of inputs.
    #[error("the graph takes {expected} inputs, got {got}")]
    InputCount {
        /// The number of inputs of the graph.
        expected: usize,
        /// The number of inputs given.
        got: usize,
    },
    /// The caller passed an input of another type or shape.
    #[error("input {name:?} is {expected}, got {got}")]
    InputType {
        /// The input's name.
        name: Arc<str>,
        /// The type of the input in the graph.
        expected: Box<TensorType>,
        /// The given type.
        got: Box<TensorType>,
    },
    /// The data contains an index outside its axis.
    #[error("{node}: index {index} is outside an axis of extent {extent}")]
    Index {
        /// The node that uses the index.
        node: String,
        /// The index.
        index: i64,
        /// The extent of the axis.
        extent: usize,
    },
    /// The graph is invalid. Verification reports this error with its place in the graph.
    #[error(transparent)]
    Step(#[from] StepError),
}

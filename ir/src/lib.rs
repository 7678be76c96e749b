//! The intermediate representation of Eightfold: a dataflow graph that says what to compute.
//!
//! A [`Graph`] consists of typed values and [`Node`]s. A node is an operator with an [`Epilogue`] of pointwise steps.
//! This crate contains the operators and their meaning ([`mod@eval`]), the text form ([`mod@print`], [`mod@parse`]),
//! the verifier ([`mod@verify`]) and the only way to change a graph ([`Rewrite`]). It performs no input or output and
//! knows neither ONNX nor machine code.

pub mod array;
pub mod attr;
mod body;
pub mod bytes;
pub mod channel_order;
#[macro_use]
mod declare;
pub mod epilogue;
pub mod eval;
mod eval_error;
pub mod graph;
mod id;
mod literal;
mod nested;
pub mod numbering;
pub mod op;
pub mod origin;
pub mod parse;
pub mod precision;
pub mod print;
pub mod quant;
mod random;
pub mod rewrite;
pub mod scalar;
pub mod tensor;
pub mod types;
mod uses;
pub mod verify;

pub use array::Array;
pub use body::Body;
pub use bytes::Bytes;
pub use channel_order::ChannelOrder;
pub use declare::{AttrError, Attributes};
pub use epilogue::{Arg, Epilogue, Step};
pub use eval::eval;
pub use eval_error::EvalError;
pub use graph::{Def, Graph, Node, Output, Value};
pub use id::{NodeId, QuantId, ValueId};
pub use literal::misleads;
pub use numbering::Numbering;
pub use op::{InferError, Op, OpDef, QuantRule};
pub use origin::Origin;
pub use parse::{ParseError, parse};
pub use precision::Precision;
pub use print::{PrintOptions, print, print_full, print_with};
pub use quant::{Granularity, QuantParams, Symmetry};
pub use random::random_elements;
pub use rewrite::Rewrite;
pub use scalar::Function;
pub use tensor::{Data, Elements, Tensor};
pub use types::{DType, Layout, Shape, TensorType};
pub use verify::{VerifiedGraph, VerifyError, VerifyErrors, verify};

//! The user's options for code generation: their values, their names in provenance, the target, nodes kept in float,
//! and options in a graph's text.

mod keep_float;
mod optimize;
mod provenance_names;
pub mod recipe;
pub mod target;

pub use optimize::{OptimizeOptions, PrecisionRequest, ReduceRange};
pub(crate) use provenance_names::CONSTANT;

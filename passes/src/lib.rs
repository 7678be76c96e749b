//! Graph passes: what happens between the imported model and lowering to kernels.
//!
//! A [`Pass`] changes a graph and leaves remarks about it; [`PASSES`] lists those that exist, and [`F32`]
//! says which run, in which order, for which precision. Calibration, which chooses the ranges that quantization works
//! with, stands beside them in [`calibrate`].
//!
//! Invariants: a pass changes a graph through [`Rewrite`](eightfold_ir::Rewrite) alone; its output verifies; it keeps
//! the graph's meaning bit for bit unless its documentation says `Exact: no`. There is no lowering to kernels here.

pub mod calibrate;
mod canonicalize;
mod channel;
mod common_subexpressions;
mod eliminate_dead;
mod fold_constants;
pub mod fuse;
mod pass;

pub use pass::{
    Outcome, Pass, PassContext, PassError, PassOptions, PassReport, Pipeline, Precision, Remark, RemarkKind,
    WeightScales,
};

/// The passes there are, by name.
pub const PASSES: &[&dyn Pass] = &[
    &canonicalize::Canonicalize,
    &common_subexpressions::CommonSubexpressions,
    &eliminate_dead::EliminateDead,
    &fold_constants::FoldConstants,
    &fuse::Fuse,
];

/// What happens to a graph before its tensors are observed on calibration data: the float graph that quantization
/// starts from, so that the names in a calibration table are those that the passes look up.
pub const SIMPLIFY: &[&str] =
    &["fold_constants", "canonicalize", "common_subexpressions", "fuse", "canonicalize", "eliminate_dead"];

/// The passes that make a float graph ready for code generation.
pub const F32: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "eliminate_dead",
];

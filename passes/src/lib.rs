//! Graph passes: they turn the imported model into a graph that is ready to be lowered to kernels.
//!
//! A [`Pass`] changes a graph and leaves remarks about its changes. [`PASSES`] lists all passes. [`F32`], [`BF16`],
//! [`WEIGHT_INT8`] and [`INT8`] list the passes for each precision, in the order in which they run. [`calibrate`] computes
//! the value ranges that quantization needs.
//!
//! Invariants: a pass changes the computation only through [`Rewrite`](eightfold_ir::Rewrite). Its output verifies. It
//! keeps the graph's results bit for bit unless its documentation says `Exact: no`. Everything that one pass must tell
//! a later pass (the precision of a node, the order of channels) is in the graph, so each pass runs alone on a graph's
//! text. Passes do not lower to kernels.

mod assign_precision;
pub mod calibrate;
mod canonicalize;
mod channel;
mod choose_layout;
mod common_subexpressions;
mod eliminate_dead;
mod fold_constants;
mod functions;
pub mod fuse;
mod insert_qdq;
mod lower_bf16;
mod lower_qdq;
mod order;
mod pair_channels;
mod pass;
mod quant;
mod quantize_tables;
mod quantize_weights;
mod separate_activations;
mod spread_channels;

pub use insert_qdq::{channel_axes, quantized_tensors};
pub use pass::{
    Outcome, PairSums, Pass, PassContext, PassError, PassOptions, PassReport, Pipeline, Remark, RemarkKind,
    WeightScales, WeightType,
};
pub use quant::tensor_name;

/// All passes, in alphabetical order.
pub const PASSES: &[&dyn Pass] = &[
    &assign_precision::AssignPrecision,
    &canonicalize::Canonicalize,
    &choose_layout::ChooseLayout,
    &common_subexpressions::CommonSubexpressions,
    &eliminate_dead::EliminateDead,
    &fold_constants::FoldConstants,
    &fuse::Fuse,
    &insert_qdq::InsertQdq,
    &lower_bf16::LowerBf16,
    &lower_qdq::LowerQdq,
    &pair_channels::PairChannels,
    &quantize_tables::QuantizeTables,
    &quantize_weights::QuantizeWeights,
    &separate_activations::SeparateActivations,
    &spread_channels::SpreadChannels,
];

/// The passes that run before calibration observes the tensors of the graph. [`INT8`] starts with the same passes, so
/// it finds the same tensor names in the calibration table.
pub const SIMPLIFY: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "separate_activations",
    "eliminate_dead",
];

/// The passes for f32.
pub const F32: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "eliminate_dead",
    "assign_precision",
    "lower_qdq",
    "fuse",
    "choose_layout",
    "eliminate_dead",
];

/// The passes for bf16: convolutions and matrix products read bf16, everything else is f32.
pub const BF16: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "eliminate_dead",
    "assign_precision",
    "lower_qdq",
    "lower_bf16",
    "fuse",
    "choose_layout",
    "eliminate_dead",
];

/// The passes for f32 with weights of 8 bits.
pub const WEIGHT_INT8: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "eliminate_dead",
    "quantize_tables",
    // Frees the float tables.
    "eliminate_dead",
    "assign_precision",
    "quantize_weights",
    "lower_qdq",
    "fuse",
    "choose_layout",
    "eliminate_dead",
];

/// The passes for int8, from a calibration table or from the model's own `quantize_linear` and `dequantize_linear`.
pub const INT8: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "separate_activations",
    "eliminate_dead",
    "spread_channels",
    "insert_qdq",
    "quantize_tables",
    // Frees the float tensors whose quantized form replaced them.
    "eliminate_dead",
    "assign_precision",
    "lower_qdq",
    "fuse",
    "canonicalize",
    "pair_channels",
    "choose_layout",
    "eliminate_dead",
];

#[cfg(test)]
mod tests {
    use super::{BF16, F32, INT8, SIMPLIFY, WEIGHT_INT8};

    /// Calibration observes tensors of the graph as [`SIMPLIFY`] leaves it, and `insert_qdq` looks them up by name.
    /// Float graphs need no tensor before an activation.
    #[test]
    fn all_precisions_start_from_the_graph_that_is_calibrated() {
        let floats: Vec<_> = SIMPLIFY.iter().copied().filter(|pass| *pass != "separate_activations").collect();
        assert!(F32.starts_with(&floats), "{F32:?}");
        let wide: Vec<_> = BF16.iter().copied().filter(|pass| *pass != "lower_bf16").collect();
        assert_eq!(wide, F32);
        assert!(WEIGHT_INT8.starts_with(&floats), "{WEIGHT_INT8:?}");
        assert!(INT8.starts_with(SIMPLIFY), "{INT8:?}");
        assert_eq!(INT8[SIMPLIFY.len()..][..2], ["spread_channels", "insert_qdq"]);
    }
}

//! Graph passes: what happens between the imported model and lowering to kernels.
//!
//! A [`Pass`] changes a graph and leaves remarks about it; [`PASSES`] lists those that exist, and [`F32`], [`BF16`] and
//! [`INT8`] say which run, in which order, for which precision. Calibration, which chooses the ranges that quantization works
//! with, stands beside them in [`calibrate`].
//!
//! Invariants: a pass changes what a graph computes through [`Rewrite`](eightfold_ir::Rewrite) alone; its output verifies;
//! it keeps the graph's meaning bit for bit unless its documentation says `Exact: no`. What a pass has to know of one before
//! it stands in the graph (the precision of a node, the order of channels), so that each runs alone on a text. There is no
//! lowering to kernels here.

mod assign_precision;
pub mod calibrate;
mod canonicalize;
mod channel;
mod choose_layout;
mod common_subexpressions;
mod eliminate_dead;
mod fold_constants;
pub mod fuse;
mod insert_qdq;
mod lower_bf16;
mod lower_qdq;
mod order;
mod pair_channels;
mod pass;
mod quant;
mod quantize_tables;
mod separate_activations;
mod spread_channels;

pub use insert_qdq::{channel_axes, quantized_tensors};
pub use pass::{
    Outcome, PairSums, Pass, PassContext, PassError, PassOptions, PassReport, Pipeline, Remark, RemarkKind,
    WeightScales, WeightType,
};
pub use quant::tensor_name;

/// The passes there are, by name.
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
    &separate_activations::SeparateActivations,
    &spread_channels::SpreadChannels,
];

/// What happens to a graph before its tensors are observed on calibration data: the float graph that quantization
/// starts from, so that the names in a calibration table are those that [`INT8`] looks up.
pub const SIMPLIFY: &[&str] = &[
    "fold_constants",
    "canonicalize",
    "common_subexpressions",
    "fuse",
    "canonicalize",
    "separate_activations",
    "eliminate_dead",
];

/// The passes that make a float graph ready for code generation.
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

/// The passes that make a float graph ready whose sums of products read bf16.
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

/// The passes that make an 8-bit graph ready for code generation, from a calibration table or from the `quantize_linear`
/// and `dequantize_linear` that the model brings along.
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
    // What has become integers takes no more memory.
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
    use super::{BF16, F32, INT8, SIMPLIFY};

    /// Calibration observes tensors of the graph as [`SIMPLIFY`] leaves it, and `insert_qdq` looks them up by name. Floats
    /// need no tensor before an activation.
    #[test]
    fn all_precisions_start_from_the_graph_that_is_calibrated() {
        let floats: Vec<_> = SIMPLIFY.iter().copied().filter(|pass| *pass != "separate_activations").collect();
        assert!(F32.starts_with(&floats), "{F32:?}");
        let wide: Vec<_> = BF16.iter().copied().filter(|pass| *pass != "lower_bf16").collect();
        assert_eq!(wide, F32);
        assert!(INT8.starts_with(SIMPLIFY), "{INT8:?}");
        assert_eq!(INT8[SIMPLIFY.len()..][..2], ["spread_channels", "insert_qdq"]);
    }
}

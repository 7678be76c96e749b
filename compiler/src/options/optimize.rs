//! The user's options for optimization, and the pass options that follow from them.

use std::collections::BTreeSet;

use eightfold_codegen::choice::Prefer;
use eightfold_codegen::target::Target;
use eightfold_ir::Precision;
use eightfold_ir::{DType, Symmetry};
use eightfold_passes::calibrate::CalibrationTable;
use eightfold_passes::{PassOptions, WeightScales, WeightType};

use super::target::pair_sums;

/// The requested precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrecisionRequest {
    /// int8 if there are ranges or the model is quantized; otherwise f32.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// Convolutions and matrix products of bf16, accumulated in f32.
    Bf16,
    /// 8-bit integers.
    Int8,
    /// 32-bit floats, with weights of 8 bits.
    WeightInt8,
}

impl PrecisionRequest {
    /// The requested precision if it needs no ranges of tensors.
    #[must_use]
    pub fn without_ranges(self) -> Option<Precision> {
        match self {
            PrecisionRequest::F32 => Some(Precision::F32),
            PrecisionRequest::Bf16 => Some(Precision::Bf16),
            PrecisionRequest::WeightInt8 => Some(Precision::WeightInt8),
            PrecisionRequest::Auto | PrecisionRequest::Int8 => None,
        }
    }
}

/// Whether weights are limited such that the sum of four 8-bit products fits 16 bits. Targets without VNNI add products
/// in 16 bits; weights beyond the limit need extra products there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReduceRange {
    /// For targets without VNNI.
    #[default]
    Auto,
    /// For every target.
    Always,
    /// Never.
    Never,
}

/// All options that influence the code, other than the model and its ranges.
#[derive(Clone, Debug)]
pub struct OptimizeOptions {
    /// The target.
    pub target: &'static Target,
    /// The requested precision.
    pub precision: PrecisionRequest,
    /// Granularity of weight scales.
    pub weight_scales: WeightScales,
    /// The integer type of weights.
    pub weight_type: WeightType,
    /// The integer type of activations, `u8` or `i8`.
    pub activation_storage: DType,
    /// Symmetry of activations.
    pub activation_symmetry: Symmetry,
    /// Names of ONNX nodes that compute in float, found by [`Self::keeping_float`].
    pub keep_float: BTreeSet<String>,
    /// Whether biases are corrected for the mean error of rounding the weights.
    pub bias_correction: bool,
    /// Whether the range of weights is reduced.
    pub reduce_range: ReduceRange,
    /// Whether channels are reordered for the target's products. This changes no result, but tensors inside the graph
    /// are then not in the model's order.
    pub order_channels: bool,
    /// Threads per inference, at least one.
    pub threads: usize,
    /// Whether chains of calls run in bands where that saves memory traffic.
    pub bands: bool,
    /// Whether larger weights are allowed where they save time.
    pub prefer: Prefer,
    /// The maximum number of rewrites of all passes together.
    pub pass_limit: Option<usize>,
}

impl OptimizeOptions {
    /// The defaults: precision `Auto`, weights per channel, activations affine u8, biases corrected, one thread.
    #[must_use]
    pub fn new(target: &'static Target) -> Self {
        let defaults = PassOptions::default();
        OptimizeOptions {
            target,
            precision: PrecisionRequest::Auto,
            weight_scales: defaults.weight_scales,
            weight_type: defaults.weight_type,
            activation_storage: defaults.activation_storage,
            activation_symmetry: defaults.activation_symmetry,
            keep_float: defaults.keep_float,
            bias_correction: defaults.bias_correction,
            reduce_range: ReduceRange::default(),
            order_channels: true,
            threads: 1,
            bands: true,
            prefer: Prefer::default(),
            pass_limit: None,
        }
    }

    /// Whether the range of weights is reduced for this target.
    #[must_use]
    pub fn reduces_range(&self) -> bool {
        match self.reduce_range {
            ReduceRange::Auto => pair_sums(self.target).is_some(),
            ReduceRange::Always => true,
            ReduceRange::Never => false,
        }
    }

    /// The options for the passes.
    #[must_use]
    pub fn for_passes(&self, precision: Precision, calibration: Option<CalibrationTable>) -> PassOptions {
        PassOptions {
            precision,
            calibration,
            weight_scales: self.weight_scales,
            weight_type: self.weight_type,
            activation_storage: self.activation_storage,
            activation_symmetry: self.activation_symmetry,
            keep_float: self.keep_float.clone(),
            bias_correction: self.bias_correction,
            reduce_range: self.reduces_range(),
            pair_sums: pair_sums(self.target).filter(|_| self.order_channels),
            target_features: self.target.features.iter().map(|&feature| feature.to_owned()).collect(),
            limit: self.pass_limit,
        }
    }
}

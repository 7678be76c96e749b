//! Whatever the user decides about the code, and what the passes are told of it.

use std::collections::BTreeSet;

use eightfold_codegen::choice::Prefer;
use eightfold_codegen::target::Target;
use eightfold_ir::Precision;
use eightfold_ir::{DType, Symmetry};
use eightfold_passes::calibrate::CalibrationTable;
use eightfold_passes::{PassOptions, WeightScales, WeightType};

use super::target::pair_sums;

/// The precision that the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrecisionRequest {
    /// int8 if there are ranges or the model is quantized already, else f32.
    #[default]
    Auto,
    /// Single-precision floats.
    F32,
    /// Products of bf16 numbers, summed in single precision.
    Bf16,
    /// 8-bit integers.
    Int8,
}

/// Whether weights become so small that four of their products fit 16 bits, in which a target without products of four
/// bytes adds them: what does not fit takes extra products there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReduceRange {
    /// For such a target.
    #[default]
    Auto,
    /// For any target.
    Always,
    /// For none.
    Never,
}

/// Whatever decides about the code, the model and its ranges apart.
#[derive(Clone, Debug)]
pub struct OptimizeOptions {
    /// What machine code is made for.
    pub target: &'static Target,
    /// The precision asked for.
    pub precision: PrecisionRequest,
    /// Over which elements of a weight one scale holds.
    pub weight_scales: WeightScales,
    /// The integers that weights become.
    pub weight_type: WeightType,
    /// The integer type of activations, `u8` or `i8`.
    pub activation_storage: DType,
    /// Whether the zero point of an activation is fixed.
    pub activation_symmetry: Symmetry,
    /// Names of ONNX nodes that compute in float, as [`Self::keeping_float`] finds them.
    pub keep_float: BTreeSet<String>,
    /// Whether biases take up what rounding the weights shifts.
    pub bias_correction: bool,
    /// Whether weights become small enough for four products to fit 16 bits.
    pub reduce_range: ReduceRange,
    /// Whether channels are put in the order that the target's sums of products want, which changes no result; tensors
    /// inside the graph are in the model's order otherwise.
    pub order_channels: bool,
    /// Threads that one inference runs on, at least one.
    pub threads: usize,
    /// Whether chains of calls run band by band where that saves traffic.
    pub bands: bool,
    /// Whether weights may take more bytes than they have where that saves time.
    pub prefer: Prefer,
    /// The number of rewrites after which all passes stop.
    pub pass_limit: Option<usize>,
}

impl OptimizeOptions {
    /// The defaults: precision by what is there, weights per channel, activations affine u8, biases corrected, one thread.
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

    /// Whether weights become small enough for four products to fit 16 bits, on this target.
    #[must_use]
    pub fn reduces_range(&self) -> bool {
        match self.reduce_range {
            ReduceRange::Auto => pair_sums(self.target).is_some(),
            ReduceRange::Always => true,
            ReduceRange::Never => false,
        }
    }

    /// What the passes are told.
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

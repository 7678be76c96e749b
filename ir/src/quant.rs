//! Quantization parameters: the mapping from stored integers to real numbers, and from ranges to parameters.

use crate::types::DType;

/// The elements that share a scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// All elements of the tensor.
    PerTensor,
    /// The elements with the same index along `axis`.
    PerChannel {
        /// The axis of the channels.
        axis: usize,
    },
    /// Each run of `block` elements along `axis`.
    Blocked {
        /// The axis that is divided into blocks.
        axis: usize,
        /// The number of elements in a block.
        block: usize,
    },
}

/// `real = (stored - zero_point) * scale`, computed in f32 (ONNX DequantizeLinear).
#[derive(Clone, Debug, PartialEq)]
pub struct QuantParams {
    /// The integer type of the stored elements.
    pub storage: DType,
    /// The elements that share an entry of `scale` and `zero_point`.
    pub granularity: Granularity,
    /// The scales, positive and finite. One entry for [`Granularity::PerTensor`].
    pub scale: Box<[f32]>,
    /// The stored integers that represent zero; as many entries as `scale`.
    pub zero_point: Box<[i32]>,
}

/// Whether the zero point is fixed or follows the range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symmetry {
    /// The zero point is fixed: 0 for signed types, the middle (128 for u8) for unsigned types.
    Symmetric,
    /// The zero point is chosen so that the range is covered tightly.
    Affine,
}

impl QuantParams {
    /// Creates one scale and zero point for a whole tensor.
    #[must_use]
    pub fn per_tensor(storage: DType, scale: f32, zero_point: i32) -> Self {
        QuantParams {
            storage,
            granularity: Granularity::PerTensor,
            scale: [scale].into(),
            zero_point: [zero_point].into(),
        }
    }

    /// Creates one scale per index of `axis`, with all zero points 0.
    #[must_use]
    pub fn per_channel_symmetric(storage: DType, axis: usize, scale: Vec<f32>) -> Self {
        let zero_point = vec![0; scale.len()].into();
        QuantParams { storage, granularity: Granularity::PerChannel { axis }, scale: scale.into(), zero_point }
    }

    /// Returns true if one scale and zero point hold for the whole tensor.
    #[must_use]
    pub fn is_per_tensor(&self) -> bool {
        self.granularity == Granularity::PerTensor
    }

    /// Returns the scale and zero point of a per-tensor quantization.
    #[must_use]
    pub fn as_per_tensor(&self) -> Option<(f32, i32)> {
        self.is_per_tensor().then(|| (self.scale[0], self.zero_point[0]))
    }

    /// Returns true if a `quantize` step with this scale and zero point produces integers of these parameters.
    ///
    /// A step with a scale of 1 also fits: its number is already in units of the tensor's scale, with or without the
    /// zero point added.
    #[must_use]
    pub fn fits_step(&self, scale: f32, zero_point: i32) -> bool {
        let counts_steps = scale == 1.0;
        let fits_scale = counts_steps || self.as_per_tensor().is_some_and(|(own, _)| own == scale);
        fits_scale && (counts_steps && zero_point == 0 || self.zero_point.iter().all(|own| *own == zero_point))
    }

    /// Returns the parameters for the range `[min, max]`, extended to contain zero so that zero is exact, with all
    /// codes of `storage`.
    ///
    /// An empty range gets the scale 1. `narrow` excludes the least value of a signed symmetric type (-128), so that
    /// negated weights stay in range.
    #[must_use]
    pub fn from_range(min: f32, max: f32, storage: DType, symmetry: Symmetry, narrow: bool) -> Self {
        let (qmin, qmax) = storage.integer_range().expect("quantized storage is an integer of at most 32 bits");
        let (min, max) = (min.min(0.0), max.max(0.0));
        let (scale, zero_point) = match symmetry {
            Symmetry::Symmetric => {
                let middle = if qmin < 0 { 0 } else { (qmax + 1) / 2 };
                let below = middle - qmin - i64::from(narrow);
                let above = qmax - middle;
                // Both ends must fit, so the greater scale is used.
                let scale = (-min / below as f32).max(max / above as f32);
                (scale, middle)
            }
            Symmetry::Affine => {
                let steps = (qmax - qmin) as f32;
                // The width of the range of all floats is not a finite float.
                let scale = if (max - min).is_finite() { (max - min) / steps } else { max / steps - min / steps };
                let zero_point = if scale > 0.0 { (qmin as f32 - min / scale).round_ties_even() as i64 } else { qmin };
                (scale, zero_point.clamp(qmin, qmax))
            }
        };
        // A subnormal scale would make later quotients imprecise.
        let scale = if scale.is_finite() && scale >= f32::MIN_POSITIVE { scale } else { 1.0 };
        QuantParams::per_tensor(storage, scale, zero_point as i32)
    }
}

/// Quantizes one number like ONNX QuantizeLinear: divides, clamps in f32, rounds half to even, adds the zero point.
///
/// The clamp before rounding avoids overflow in the conversion. NaN becomes `min`.
#[must_use]
pub fn quantize(x: f32, scale: f32, zero_point: i32, min: i32, max: i32) -> i32 {
    let (low, high) = (i64::from(min) - i64::from(zero_point), i64::from(max) - i64::from(zero_point));
    let r = x / scale;
    let clamped = if r.is_nan() { low as f32 } else { r.clamp(low as f32, high as f32) };
    // Needed only for 32-bit types, whose bounds are not exact in f32.
    ((clamped.round_ties_even() as i64).clamp(low, high) + i64::from(zero_point)) as i32
}

//! Quantization parameters: what stored integers mean as real numbers, and how ranges become parameters.

use crate::types::DType;

/// Over which elements a scale and zero point hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// One pair for the whole tensor.
    PerTensor,
    /// One pair for each index along `axis`.
    PerChannel {
        /// The axis of the channels.
        axis: usize,
    },
    /// One pair for each run of `block` elements along `axis`.
    Blocked {
        /// The axis along which runs are cut.
        axis: usize,
        /// Elements in a run.
        block: usize,
    },
}

/// `real = (stored - zero_point) * scale`, computed in f32 (ONNX DequantizeLinear).
#[derive(Clone, Debug, PartialEq)]
pub struct QuantParams {
    /// The integer type of the stored elements.
    pub storage: DType,
    /// Over which elements each entry of `scale` and `zero_point` holds.
    pub granularity: Granularity,
    /// Real numbers per step, positive and finite; one entry for [`Granularity::PerTensor`].
    pub scale: Box<[f32]>,
    /// The stored integer that means zero; as many entries as `scale`.
    pub zero_point: Box<[i32]>,
}

/// Whether zero sits in the middle of the stored range or wherever the data put it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Symmetry {
    /// The zero point is fixed: 0 for signed storage, the middle (128 for u8) for unsigned storage.
    Symmetric,
    /// The zero point is chosen so that the range is covered tightly.
    Affine,
}

impl QuantParams {
    /// One scale and zero point for a whole tensor.
    #[must_use]
    pub fn per_tensor(storage: DType, scale: f32, zero_point: i32) -> Self {
        QuantParams {
            storage,
            granularity: Granularity::PerTensor,
            scale: [scale].into(),
            zero_point: [zero_point].into(),
        }
    }

    /// One symmetric scale for each index of `axis`, all zero points 0.
    #[must_use]
    pub fn per_channel_symmetric(storage: DType, axis: usize, scale: Vec<f32>) -> Self {
        let zero_point = vec![0; scale.len()].into();
        QuantParams { storage, granularity: Granularity::PerChannel { axis }, scale: scale.into(), zero_point }
    }

    /// Whether one scale and zero point hold for the whole tensor.
    #[must_use]
    pub fn is_per_tensor(&self) -> bool {
        self.granularity == Granularity::PerTensor
    }

    /// The one scale and zero point of a per-tensor quantization.
    #[must_use]
    pub fn as_per_tensor(&self) -> Option<(f32, i32)> {
        self.is_per_tensor().then(|| (self.scale[0], self.zero_point[0]))
    }

    /// Whether a `quantize` step with this scale and zero point yields integers of these parameters.
    ///
    /// With a scale of 1, the step's number already counts steps: from the zero point, or from 0 if that is in it.
    #[must_use]
    pub fn fits_step(&self, scale: f32, zero_point: i32) -> bool {
        let counts_steps = scale == 1.0;
        let fits_scale = counts_steps || self.as_per_tensor().is_some_and(|(own, _)| own == scale);
        fits_scale && (counts_steps && zero_point == 0 || self.zero_point.iter().all(|own| *own == zero_point))
    }

    /// The parameters that cover `[min, max]` (widened to hold zero, so that zero is exact) with all steps of `storage`.
    ///
    /// A range without extent gets scale 1. `narrow` leaves out the least value of a signed symmetric type (-128), as
    /// weights want it so that negation stays in range.
    #[must_use]
    pub fn from_range(min: f32, max: f32, storage: DType, symmetry: Symmetry, narrow: bool) -> Self {
        let (qmin, qmax) = storage.integer_range().expect("quantized storage is an integer of at most 32 bits");
        let (min, max) = (min.min(0.0), max.max(0.0));
        let (scale, zero_point) = match symmetry {
            Symmetry::Symmetric => {
                let middle = if qmin < 0 { 0 } else { (qmax + 1) / 2 };
                let below = middle - qmin - i64::from(narrow);
                let above = qmax - middle;
                // The end that needs the larger step decides.
                let scale = (-min / below as f32).max(max / above as f32);
                (scale, middle)
            }
            Symmetry::Affine => {
                let steps = (qmax - qmin) as f32;
                // The extent of the range of all floats is itself no float.
                let scale = if (max - min).is_finite() { (max - min) / steps } else { max / steps - min / steps };
                let zero_point = if scale > 0.0 { (qmin as f32 - min / scale).round_ties_even() as i64 } else { qmin };
                (scale, zero_point.clamp(qmin, qmax))
            }
        };
        // A subnormal scale would lose its precision in the quotients that follow.
        let scale = if scale.is_finite() && scale >= f32::MIN_POSITIVE { scale } else { 1.0 };
        QuantParams::per_tensor(storage, scale, zero_point as i32)
    }
}

/// Quantizes one number as ONNX QuantizeLinear does: divide, clamp in f32, round half to even, shift.
///
/// The clamp comes before the rounding so that no conversion overflows; NaN goes to `min`.
#[must_use]
pub fn quantize(x: f32, scale: f32, zero_point: i32, min: i32, max: i32) -> i32 {
    let (low, high) = (i64::from(min) - i64::from(zero_point), i64::from(max) - i64::from(zero_point));
    let r = x / scale;
    let clamped = if r.is_nan() { low as f32 } else { r.clamp(low as f32, high as f32) };
    // The second clamp matters for 32-bit storage alone, whose bounds singles do not hold.
    ((clamped.round_ties_even() as i64).clamp(low, high) + i64::from(zero_point)) as i32
}

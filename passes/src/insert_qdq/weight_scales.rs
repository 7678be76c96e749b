//! The scales of weights: symmetric, per channel or per tensor, from the greatest magnitude.
//!
//! With a reduced range, each scale also bounds the sum of certain four weights of the same sign by 128. The reason is
//! `vpmaddubsw` (x86 without VNNI), which adds the products of two neighbouring u8/i8 pairs in 16 bits: at most `255 *
//! 128` fits. Generated code adds two such results, of inputs four apart, before it widens them to 32 bits. Generated
//! code is exact for any weights; if products do not fit, it multiplies in extra instructions. A reduced range makes
//! these rare.
//!
//! Weights with fewer than eight input channels keep the full range. Their neighbours in memory are not neighbouring
//! channels, so little would be gained. They are usually the first layer, whose rounding error passes through the whole
//! network.

use eightfold_ir::{DType, Granularity, QuantParams, Shape, Symmetry, Tensor};

use crate::pass::WeightType;

/// The greatest magnitude of a quantized bias. It leaves half the range of i32 to the products.
const BIAS_LIMIT: f32 = (1 << 30) as f32;

/// The number of inputs that one vector instruction multiplies for an output.
pub(crate) const INPUTS_PER_VECTOR: usize = 8;

/// The bound for the sum of four weights, in steps. Rounding adds at most 2, so the integers sum to at most 128.
pub(crate) const SUM_STEPS: f32 = 126.0;

/// Returns the number of 16-bit sums of four products for this number of inputs. The last ones may have fewer than
/// four.
pub(crate) fn sums(inputs: usize) -> usize {
    inputs.div_ceil(INPUTS_PER_VECTOR) * 2
}

/// Returns the index of the 16-bit sum that includes the input at this position.
pub(crate) fn sum_of(place: usize) -> usize {
    place / INPUTS_PER_VECTOR * 2 + place / 2 % 2
}

/// Returns the positions of the inputs that a 16-bit sum includes.
pub(crate) fn places(sum: usize) -> [usize; 4] {
    [0, 1, 4, 5].map(|step| sum / 2 * INPUTS_PER_VECTOR + sum % 2 * 2 + step)
}

/// Returns the greater magnitude of two sums: that of the positive weights and that of the negative weights.
#[inline]
pub(crate) fn of_one_sign(weights: [f32; 4]) -> f32 {
    let above: f32 = weights.iter().map(|w| w.max(0.0)).sum();
    let below: f32 = weights.iter().map(|w| (-w).max(0.0)).sum();
    above.max(below)
}

/// Returns symmetric parameters for weights: one entry per index of `axis`, or one for the tensor. If `inputs` is
/// given, it is the axis of the input channels, and the range is reduced.
///
/// If a channel's bias does not fit i32 at the scale of its weights, the scale grows until it does. The weights are
/// negligible beside such a bias.
pub(crate) fn weight_params(
    tensor: &Tensor,
    weights: WeightType,
    axis: Option<usize>,
    inputs: Option<usize>,
    biases: &[f32],
    x_scale: f32,
) -> QuantParams {
    let (numbers, count) = (tensor.elements(), tensor.shape().elements());
    let channels = axis.map_or(1, |axis| tensor.shape()[axis]);
    let mut params = QuantParams::per_tensor(DType::I8, 1.0, 0);
    if let Some(axis) = axis {
        params.granularity = Granularity::PerChannel { axis };
    }
    let channel = entries(tensor.shape(), &params);
    let mut greatest = vec![0.0_f32; channels];
    for i in 0..count {
        greatest[channel(i)] = greatest[channel(i)].max(numbers.float(i).abs());
    }
    if let Some(inputs) =
        inputs.filter(|axis| tensor.shape().get(*axis).is_some_and(|extent| *extent >= INPUTS_PER_VECTOR))
    {
        let (stride, extent) = (tensor.shape().strides()[inputs], tensor.shape()[inputs]);
        let input = |i: usize| i / stride % extent;
        for column in (0..count).filter(|i| input(*i) == 0) {
            for sum in 0..sums(extent) {
                let at = |place: usize| if place < extent { numbers.float(column + place * stride) } else { 0.0 };
                let summed = of_one_sign(places(sum).map(at)) * 127.0 / SUM_STEPS;
                greatest[channel(column)] = greatest[channel(column)].max(summed);
            }
        }
    }
    let scale = |(channel, greatest): (usize, &f32)| {
        let params = QuantParams::from_range(-greatest, *greatest, DType::I8, Symmetry::Symmetric, true);
        let bias = match channels {
            1 => biases.iter().fold(0.0_f32, |a, b| a.max(b.abs())),
            _ => biases.get(channel).map_or(0.0, |b| b.abs()),
        };
        let wider = 127.0 / weights.limit() as f32;
        (params.scale[0] * wider).max(bias / (x_scale * BIAS_LIMIT))
    };
    let scale: Box<[f32]> = greatest.iter().enumerate().map(scale).collect();
    let zero_point = vec![weights.zero_point(); scale.len()].into();
    QuantParams { storage: weights.storage(), granularity: params.granularity, scale, zero_point }
}

/// Returns a function from a row-major position to the index of its scale and zero point.
pub(super) fn entries(shape: &Shape, params: &QuantParams) -> impl Fn(usize) -> usize + use<> {
    let (stride, extent) = match params.granularity {
        Granularity::PerChannel { axis } => (shape.strides()[axis], shape[axis]),
        _ => (1, 1),
    };
    move |i| i / stride % extent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_range_holds_sums_of_one_sign() {
        let scales = |weights: &Tensor, axis, inputs| {
            weight_params(weights, WeightType::I8, Some(axis), inputs, &[], 1.0).scale.to_vec()
        };
        // Inputs 0, 1, 4, 5 and inputs 2, 3, 6, 7 share a 16-bit sum. The ninth input is alone.
        let weights =
            [[3.0, 4.0, 1.0, -1.0, 5.0, -2.0, 1.0, -1.0, 9.0], [4.0, -3.0, 2.0, 1.0, -0.5, -3.0, 1.0, 0.5, 4.0]];
        let weights = Tensor::f32(&[2, 9, 1, 1], weights.as_flattened());
        assert_eq!(scales(&weights, 0, None), [9.0 / 127.0, 4.0 / 127.0]);
        assert_near(&scales(&weights, 0, Some(1)), [12.0 / 126.0, 6.5 / 126.0]);
        // A matrix product, whose inputs are rows.
        let weights = [[3.0, 1.0], [4.0, -1.0], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]];
        let weights = Tensor::f32(&[8, 2], weights.as_flattened());
        assert_near(&scales(&weights, 1, Some(0)), [7.0 / 126.0, 1.0 / 126.0]);
        // Fewer than eight inputs.
        let weights = Tensor::f32(&[2, 2], &[3.0, 1.0, 4.0, -1.0]);
        assert_eq!(scales(&weights, 1, Some(0)), [4.0 / 127.0, 1.0 / 127.0]);
    }

    fn assert_near(scales: &[f32], expected: [f32; 2]) {
        assert_eq!(scales.len(), 2);
        let near = |(a, b): (&f32, f32)| (a - b).abs() <= 2.0 * f32::EPSILON * b;
        assert!(scales.iter().zip(expected).all(near), "{scales:?} for {expected:?}");
    }
}

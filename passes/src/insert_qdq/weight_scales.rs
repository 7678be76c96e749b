//! The scales of weights: symmetric, per channel or per tensor, by the greatest magnitude.
//!
//! With a reduced range, the scale also holds certain sums of four inputs' weights of one sign to 128. `vpmaddubsw` (x86
//! without VNNI) adds the products of two neighbouring u8 with i8 in 16 bits; 255 * 128 is the most that fits, and code
//! generation adds two such sums, of inputs four apart, before it widens them. It keeps its sums exact in any case, by
//! extra products for what does not fit, of which this leaves next to none.
//!
//! Weights of fewer than eight input channels keep the whole range: neighbours in memory are not neighbouring channels
//! there, so little would be saved, and the first layer of a network, which has three, makes noise that all others pass on.

use eightfold_ir::{DType, Granularity, QuantParams, Symmetry, Tensor};

use super::{BIAS_LIMIT, entries};
use crate::pass::WeightType;

/// What a vector takes of the inputs at once.
pub(crate) const TAKEN: usize = 8;

/// Four weights that 126 steps hold round up by two at most.
pub(crate) const MOST: f32 = 126.0;

/// Sums of weights whose products meet in 16 bits, of so many inputs: the last may lack some.
pub(crate) fn sums(inputs: usize) -> usize {
    inputs.div_ceil(TAKEN) * 2
}

/// The sum that an input at this place is part of.
pub(crate) fn sum_of(place: usize) -> usize {
    place / TAKEN * 2 + place / 2 % 2
}

/// The places of a sum's inputs.
pub(crate) fn places(sum: usize) -> [usize; 4] {
    [0, 1, 4, 5].map(|step| sum / 2 * TAKEN + sum % 2 * 2 + step)
}

/// The greatest that a sum's inputs make of these weights, in magnitude: those of one sign.
#[inline]
pub(crate) fn of_one_sign(weights: [f32; 4]) -> f32 {
    let above: f32 = weights.iter().map(|w| w.max(0.0)).sum();
    let below: f32 = weights.iter().map(|w| (-w).max(0.0)).sum();
    above.max(below)
}

/// Symmetric parameters for weights, one entry for each index of `axis`, or one for all; of a reduced range if `inputs`
/// says on which axis the input channels lie.
///
/// A channel whose bias would not fit into i32 gets a scale at which it does: its weights are next to nothing then.
pub(super) fn weight_params(
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
    if let Some(inputs) = inputs.filter(|axis| tensor.shape().get(*axis).is_some_and(|extent| *extent >= TAKEN)) {
        let (stride, extent) = (tensor.shape().strides()[inputs], tensor.shape()[inputs]);
        let input = |i: usize| i / stride % extent;
        for column in (0..count).filter(|i| input(*i) == 0) {
            for sum in 0..sums(extent) {
                let at = |place: usize| if place < extent { numbers.float(column + place * stride) } else { 0.0 };
                let summed = of_one_sign(places(sum).map(at)) * 127.0 / MOST;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_range_holds_sums_of_one_sign() {
        let scales = |weights: &Tensor, axis, inputs| {
            weight_params(weights, WeightType::I8, Some(axis), inputs, &[], 1.0).scale.to_vec()
        };
        // Inputs 0, 1, 4 and 5 meet, and 2, 3, 6 and 7; the ninth has no partner.
        let weights =
            [[3.0, 4.0, 1.0, -1.0, 5.0, -2.0, 1.0, -1.0, 9.0], [4.0, -3.0, 2.0, 1.0, -0.5, -3.0, 1.0, 0.5, 4.0]];
        let weights = Tensor::f32(&[2, 9, 1, 1], weights.as_flattened());
        assert_eq!(scales(&weights, 0, None), [9.0 / 127.0, 4.0 / 127.0]);
        assert_near(&scales(&weights, 0, Some(1)), [12.0 / 126.0, 6.5 / 126.0]);
        // A matrix product: inputs are rows.
        let weights = [[3.0, 1.0], [4.0, -1.0], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]];
        let weights = Tensor::f32(&[8, 2], weights.as_flattened());
        assert_near(&scales(&weights, 1, Some(0)), [7.0 / 126.0, 1.0 / 126.0]);
        // Too few inputs.
        let weights = Tensor::f32(&[2, 2], &[3.0, 1.0, 4.0, -1.0]);
        assert_eq!(scales(&weights, 1, Some(0)), [4.0 / 127.0, 1.0 / 127.0]);
    }

    fn assert_near(scales: &[f32], expected: [f32; 2]) {
        assert_eq!(scales.len(), 2);
        let near = |(a, b): (&f32, f32)| (a - b).abs() <= 2.0 * f32::EPSILON * b;
        assert!(scales.iter().zip(expected).all(near), "{scales:?} for {expected:?}");
    }
}

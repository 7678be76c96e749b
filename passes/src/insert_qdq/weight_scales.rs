//! The scales of weights: symmetric i8 without -128, per channel or per tensor, by the greatest magnitude.
//!
//! With a reduced range, the scale also holds the sum of two neighbouring inputs' weights to 128 where both have one sign.
//! `vpmaddubsw` (x86 without VNNI) adds the products of two neighbouring u8 with i8 in 16 bits; 255 * 128 is the most that
//! fits. Code generation keeps its sums exact in any case, by extra products for pairs that do not fit, of which this
//! leaves next to none: only where neighbours in memory are not neighbouring input channels, as under 3 channels.

use eightfold_ir::{DType, Granularity, QuantParams, Symmetry, Tensor};

use super::{BIAS_LIMIT, entries};

/// Symmetric i8 parameters for weights, one entry for each index of `axis`, or one for all; of a reduced range if `inputs`
/// says on which axis the input channels lie.
///
/// A channel whose bias would not fit into i32 gets a scale at which it does: its weights are next to nothing then.
pub(super) fn weight_params(
    tensor: &Tensor,
    axis: Option<usize>,
    inputs: Option<usize>,
    biases: &[f32],
    x_scale: f32,
) -> QuantParams {
    let numbers = tensor.to_f32s().expect("an f32 constant");
    let channels = axis.map_or(1, |axis| tensor.shape()[axis]);
    let mut params = QuantParams::per_tensor(DType::I8, 1.0, 0);
    if let Some(axis) = axis {
        params.granularity = Granularity::PerChannel { axis };
    }
    let channel = entries(tensor.shape(), &params);
    let mut greatest = vec![0.0_f32; channels];
    for (i, w) in numbers.iter().enumerate() {
        greatest[channel(i)] = greatest[channel(i)].max(w.abs());
    }
    if let Some(inputs) = inputs.filter(|axis| *axis < tensor.shape().rank()) {
        let (stride, extent) = (tensor.shape().strides()[inputs], tensor.shape()[inputs]);
        let input = |i: usize| i / stride % extent;
        let even = |i: usize| input(i).is_multiple_of(2) && input(i) + 1 < extent;
        for i in (0..numbers.len()).filter(|i| even(*i)) {
            let [a, b] = [numbers[i], numbers[i + stride]];
            // Each rounds up by half a step at most, so 127 steps hold to 128.
            if a * b > 0.0 {
                greatest[channel(i)] = greatest[channel(i)].max((a + b).abs());
            }
        }
    }
    let scale = |(channel, greatest): (usize, &f32)| {
        let params = QuantParams::from_range(-greatest, *greatest, DType::I8, Symmetry::Symmetric, true);
        let bias = match channels {
            1 => biases.iter().fold(0.0_f32, |a, b| a.max(b.abs())),
            _ => biases.get(channel).map_or(0.0, |b| b.abs()),
        };
        params.scale[0].max(bias / (x_scale * BIAS_LIMIT))
    };
    let scales: Vec<f32> = greatest.iter().enumerate().map(scale).collect();
    match axis {
        Some(axis) => QuantParams::per_channel_symmetric(DType::I8, axis, scales),
        None => QuantParams::per_tensor(DType::I8, scales[0], 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reduced_range_holds_pairs_of_one_sign() {
        // Two channels of four inputs: pairs (3, 4), (1, -1) and (4, -3), (2, 1), then a fifth without a partner.
        let weights = Tensor::f32(&[2, 5, 1, 1], &[3.0, 4.0, 1.0, -1.0, 5.0, 4.0, -3.0, 2.0, 1.0, 0.5]);
        let scales = |inputs| weight_params(&weights, Some(0), inputs, &[], 1.0).scale.to_vec();
        assert_eq!(scales(None), [5.0 / 127.0, 4.0 / 127.0]);
        assert_eq!(scales(Some(1)), [7.0 / 127.0, 4.0 / 127.0]);
        // A matrix product: inputs are rows.
        let weights = Tensor::f32(&[2, 2], &[3.0, 1.0, 4.0, -1.0]);
        let scales = weight_params(&weights, Some(1), Some(0), &[], 1.0).scale;
        assert_eq!(scales.to_vec(), [7.0 / 127.0, 1.0 / 127.0]);
    }
}

//! Depthwise convolutions that stay in floats because one scale does not hold the channels that they read.
//!
//! A depthwise convolution does not mix channels: each output channel is as exact as its one input channel. Trained networks
//! often scale faint channels up here, by large weights. The rounding error of the input is the same for all channels, so
//! it grows with the weights. The *noise gain* says how much of it arrives at the result:
//!
//! `gain = input step * rms over channels of |weights of the channel| / result step`
//!
//! A gain of one is the error that the result's own rounding adds anyway. A convolution whose gain reaches
//! [`GREATEST_GAIN`] reads and computes floats, which costs little, as it has few products. The rule is for depthwise
//! convolutions only: other sums of products average the errors of many inputs, and their products are what int8 is for.

use eightfold_ir::{Graph, Node, QuantParams, QuantRule, Tensor, ValueId};

use crate::channel::f32_constant;
use crate::quant::tensor_name;

/// The noise gain at which a depthwise convolution stays in floats.
///
/// Above it are, of real models, one convolution of yolox_nano (24) and five of openseeface (7 to 26), which gain 6 and
/// 9 dB. Next are convolutions of yolox_nano, ultraface, mobilenetv2_1.0 and a MobileNet of MLPerf Tiny from 4 to 5.5, which
/// change little. Most are near 1 (benches/README.md).
const GREATEST_GAIN: f64 = 6.0;

/// Why the node stays in floats, given the parameters that tensors would have.
pub(super) fn reason(graph: &Graph, node: &Node, params: impl Fn(ValueId) -> Option<QuantParams>) -> Option<String> {
    let weights = depthwise_weights(graph, node)?;
    let x = node.operand(0)?;
    let step = |value| params(value).and_then(|params| params.as_per_tensor()).map(|(scale, _)| f64::from(scale));
    let gain = step(x)? * norm(weights)? / step(node.output())?;
    (gain >= GREATEST_GAIN).then(|| {
        format!(
            "one scale does not hold the channels of {}: rounding it costs {gain:.1} times what rounding the result does",
            tensor_name(graph, x)
        )
    })
}

/// The weights of a convolution each of whose outputs reads one of several channels.
fn depthwise_weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Tensor> {
    let QuantRule::Affine { weight, axis: 0, .. } = node.op.quant_rule() else { return None };
    let weights = f32_constant(graph, node.operand(weight)?)?;
    let channels = *graph.ty(node.operand(0)?).shape.get(1)?;
    (weights.shape().get(1) == Some(&1) && channels > 1).then_some(weights)
}

/// The root mean square, over output channels, of the norm of a channel's weights.
fn norm(weights: &Tensor) -> Option<f64> {
    let squares: f64 = weights.to_f32s()?.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
    Some((squares / weights.shape()[0] as f64).sqrt())
}

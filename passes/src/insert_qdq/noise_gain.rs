//! Keeps a depthwise convolution in float if one scale cannot represent all channels of its input.
//!
//! A depthwise convolution does not mix channels. Trained networks often amplify small channels in it, with large
//! weights. The rounding error of the input is the same for all channels, so large weights amplify it. The *noise gain*
//! measures the error that reaches the result:
//!
//! `gain = step(input) * rms over channels of norm(weights of the channel) / step(result)`
//!
//! A gain of 1 is the error that rounding the result adds anyway. A convolution whose gain is at least
//! [`GREATEST_GAIN`] stays in float, which costs little time because it has few products. Other convolutions and matrix
//! products average the errors of many inputs and carry most of the work, so this rule does not apply to them.

use eightfold_ir::{Graph, Node, QuantParams, QuantRule, Tensor, ValueId};

use crate::channel::f32_constant;
use crate::quant::tensor_name;

/// The noise gain from which a depthwise convolution stays in float.
///
/// In the models that we measured, one convolution of yolox_nano (24) and five of openseeface (7 to 26) exceed it;
/// keeping them in float gains 6 and 9 dB. The next ones, in yolox_nano, ultraface, mobilenetv2_1.0 and a MobileNet of
/// MLPerf Tiny, have gains of 4 to 5.5 and change little. Most gains are close to 1. See benches/README.md.
const GREATEST_GAIN: f64 = 6.0;

/// Returns why the node stays in float. `params` are the quantization parameters that a tensor would get.
pub(super) fn reason(graph: &Graph, node: &Node, params: impl Fn(ValueId) -> Option<QuantParams>) -> Option<String> {
    let weights = depthwise_weights(graph, node)?;
    let x = node.operand(0)?;
    let step = |value| params(value).and_then(|params| params.as_per_tensor()).map(|(scale, _)| f64::from(scale));
    let gain = step(x)? * norm(weights)? / step(node.output())?;
    (gain >= GREATEST_GAIN).then(|| {
        format!(
            "one scale does not fit all channels of {}: its rounding error is {gain:.1} times that of the result",
            tensor_name(graph, x)
        )
    })
}

/// Returns the weights of a depthwise convolution: each of its outputs reads one of several channels.
fn depthwise_weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Tensor> {
    let QuantRule::Affine { weight, axis: 0, .. } = node.op.quant_rule() else { return None };
    let weights = f32_constant(graph, node.operand(weight)?)?;
    let channels = *graph.ty(node.operand(0)?).shape.get(1)?;
    (weights.shape().get(1) == Some(&1) && channels > 1).then_some(weights)
}

/// Returns the root mean square over output channels of the norm of the channel's weights.
fn norm(weights: &Tensor) -> Option<f64> {
    let squares: f64 = weights.to_f32s()?.iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
    Some((squares / weights.shape()[0] as f64).sqrt())
}

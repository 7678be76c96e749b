//! Constants that vary along one axis only: batch normalization, biases and per-channel scales.

use eightfold_ir::array::index_map;
use eightfold_ir::{Arg, DType, Function, Graph, QuantRule, Shape, Step, Tensor, ValueId};

/// Returns the axis of the output channels in a result of this rank. `weight_axis` is the axis of the output channels
/// in the weights.
///
/// A convolution has its output channels on axis 0 of the weights and axis 1 of the result. A matrix product has them
/// on the last axis of both.
pub(crate) fn output_axis(weight_axis: usize, rank: usize) -> usize {
    if weight_axis == 0 { 1 } else { rank - 1 }
}

/// Returns the axis of the weights that the operator sums over. `weight_axis` is the axis of their output channels.
pub(crate) fn summed_axis(weight_axis: usize) -> usize {
    if weight_axis == 0 { 1 } else { weight_axis - 1 }
}

/// Returns the axis of the output channels in the weights of a convolution or matrix product; `None` for other ranks.
pub(crate) fn weight_axis(rule: QuantRule, weights: &Shape) -> Option<usize> {
    match rule {
        // In weights with batch axes, the output channels lie on a later axis.
        QuantRule::Affine { axis, .. } if axis > 0 => (weights.rank() == axis + 1).then_some(axis),
        QuantRule::Affine { axis, .. } => Some(axis),
        _ => None,
    }
}

/// If a constant f32 argument varies only along `axis` of `shape`, returns its numbers, one for each index of `axis`.
pub(crate) fn along_axis(graph: &Graph, arg: &Arg, shape: &Shape, axis: usize) -> Option<Vec<f32>> {
    match arg {
        Arg::Float(x) => Some(vec![*x; shape[axis]]),
        Arg::Value(id) => tensor_along_axis(graph.constant(*id)?, shape, axis),
        _ => None,
    }
}

fn tensor_along_axis(tensor: &Tensor, shape: &Shape, axis: usize) -> Option<Vec<f32>> {
    if tensor.dtype() != DType::F32 || tensor.shape().rank() > shape.rank() {
        return None;
    }
    // A shape with the extent of `shape` on `axis`, and 1 on all other axes.
    let line: Shape = (0..shape.rank()).map(|a| if a == axis { shape[a] } else { 1 }).collect();
    if tensor.shape().broadcast(&line)? != line {
        return None;
    }
    let numbers = tensor.to_f32s()?;
    Some(index_map(tensor.shape(), &line).map(|i| numbers[i]).collect())
}

/// Returns a constant that broadcasts `numbers` along `axis` of a tensor of rank `rank`.
pub(crate) fn line(numbers: &[f32], axis: usize, rank: usize) -> Tensor {
    let shape: Vec<usize> = (axis..rank).map(|a| if a == axis { numbers.len() } else { 1 }).collect();
    Tensor::f32(&shape, numbers)
}

/// Returns the number that all elements of `numbers` equal, bit for bit.
pub(crate) fn uniform(numbers: &[f32]) -> Option<f32> {
    let first = *numbers.first()?;
    numbers.iter().all(|x| x.to_bits() == first.to_bits()).then_some(first)
}

/// Returns the number that all elements of a constant f32 argument equal.
pub(crate) fn literal(graph: &Graph, arg: &Arg) -> Option<f32> {
    match arg {
        Arg::Float(x) => Some(*x),
        Arg::Value(id) => {
            let tensor = graph.constant(*id)?;
            let bytes = tensor.splat().filter(|_| tensor.dtype() == DType::F32)?;
            Some(f32::from_le_bytes(bytes[..].try_into().expect("four bytes of an f32")))
        }
        _ => None,
    }
}

/// A step that multiplies each channel by a constant, or adds a constant to each channel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AffineStep {
    /// One factor per channel.
    Scale(Vec<f32>),
    /// One summand per channel.
    Shift(Vec<f32>),
}

/// Reads a step on a tensor of shape `shape` as a scale or shift along `axis`; `None` if it is neither.
pub(crate) fn affine_step(graph: &Graph, step: &Step, shape: &Shape, axis: usize) -> Option<AffineStep> {
    let Step::Apply(function, args) = step else { return None };
    let numbers = |arg: &Arg| along_axis(graph, arg, shape, axis).filter(|v| v.iter().all(|x| x.is_finite()));
    match (function, args.as_slice()) {
        (Function::Mul, [Arg::Current, other] | [other, Arg::Current]) => numbers(other).map(AffineStep::Scale),
        (Function::Add, [Arg::Current, other] | [other, Arg::Current]) => numbers(other).map(AffineStep::Shift),
        (Function::Sub, [Arg::Current, other]) => {
            numbers(other).map(|v| AffineStep::Shift(v.into_iter().map(|x| -x).collect()))
        }
        (Function::Div, [Arg::Current, other]) => {
            let inverse = numbers(other)?.into_iter().map(|x| 1.0 / x).collect::<Vec<f32>>();
            inverse.iter().all(|x| x.is_finite()).then_some(AffineStep::Scale(inverse))
        }
        _ => None,
    }
}

/// Returns the tensor if the value is an f32 constant.
pub(crate) fn f32_constant(graph: &Graph, id: ValueId) -> Option<&Tensor> {
    graph.constant(id).filter(|t| t.dtype() == DType::F32)
}

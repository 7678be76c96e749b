//! Constants as numbers along one axis: what batch normalization, biases and per-channel scales are made of.

use eightfold_ir::array::index_map;
use eightfold_ir::{Arg, DType, Function, Graph, QuantRule, Shape, Step, Tensor, ValueId};

/// The axis of the output channels in an output of this rank, for an operator whose weights have them on `weight_axis`.
///
/// ONNX's two kinds of sums of products: a convolution has them first in the weights and second in the output, a matrix
/// product last in both.
pub(crate) fn output_axis(weight_axis: usize, rank: usize) -> usize {
    if weight_axis == 0 { 1 } else { rank - 1 }
}

/// The axis of the weights that is summed over, for an operator whose weights have their output channels on `weight_axis`.
pub(crate) fn summed_axis(weight_axis: usize) -> usize {
    if weight_axis == 0 { 1 } else { weight_axis - 1 }
}

/// The axis of the weights' output channels under a rule for sums of products, if the weights' rank is one it knows.
pub(crate) fn weight_axis(rule: QuantRule, weights: &Shape) -> Option<usize> {
    match rule {
        // Weights of a matrix product that carry batch axes have their columns further back.
        QuantRule::Affine { axis, .. } if axis > 0 => (weights.rank() == axis + 1).then_some(axis),
        QuantRule::Affine { axis, .. } => Some(axis),
        _ => None,
    }
}

/// The numbers of a constant f32 argument, one for each index of `axis` of `shape`, if it varies along no other axis.
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
    // The shape that has `shape`'s extent on the one axis and 1 elsewhere.
    let line: Shape = (0..shape.rank()).map(|a| if a == axis { shape[a] } else { 1 }).collect();
    if tensor.shape().broadcast(&line)? != line {
        return None;
    }
    let numbers = tensor.to_f32s()?;
    Some(index_map(tensor.shape(), &line).map(|i| numbers[i]).collect())
}

/// A constant that broadcasts `numbers` along `axis` of a tensor of rank `rank`.
pub(crate) fn line(numbers: &[f32], axis: usize, rank: usize) -> Tensor {
    let shape: Vec<usize> = (axis..rank).map(|a| if a == axis { numbers.len() } else { 1 }).collect();
    Tensor::f32(&shape, numbers)
}

/// The one number that all of `numbers` are, bit for bit.
pub(crate) fn uniform(numbers: &[f32]) -> Option<f32> {
    let first = *numbers.first()?;
    numbers.iter().all(|x| x.to_bits() == first.to_bits()).then_some(first)
}

/// The number that a constant f32 argument is everywhere.
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

/// A step `current * scale` or `current + shift` with constants, read as either.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AffineStep {
    /// Each channel times its number.
    Scale(Vec<f32>),
    /// Each channel plus its number.
    Shift(Vec<f32>),
}

/// What `step` does to a tensor of shape `shape`, if that is a scale or a shift that varies along `axis` alone.
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

/// The f32 constant that a value is, if it is one.
pub(crate) fn f32_constant(graph: &Graph, id: ValueId) -> Option<&Tensor> {
    graph.constant(id).filter(|t| t.dtype() == DType::F32)
}

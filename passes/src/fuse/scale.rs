//! `scale`: folds a constant factor per output channel into the weights and bias of a convolution or matrix product.
//!
//! ## What it does
//! Takes the first step of a float convolution or matrix product, if it multiplies or divides by a constant that varies
//! only along the output channels. Batch normalization is such a factor followed by a `bias`.
//!
//! ## Before, after
//! `conv(%x, %w, %b) |> mul %s` becomes `conv(%x, %w', %b')` with `w'[o] = w[o] s[o]` and `b'[o] = b[o] s[o]`.
//!
//! ## Exact?
//! No: the weights are rounded instead of the results.
//!
//! ## Known problems
//! Weights that several nodes share are copied for each node.

use eightfold_ir::{DType, Epilogue, Graph, Node, QuantRule, Rewrite, Tensor};

use super::{Fusion, Miss, require};
use crate::channel::{AffineStep, affine_step, f32_constant, output_axis, weight_axis};

pub(super) const SCALE: Fusion = Fusion {
    name: "scale",
    summary: "a per-channel factor after a convolution or matrix product moves into its weights",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let rule = root.op.quant_rule();
    let QuantRule::Affine { weight, axis, bias } = rule else { return Err(Miss::Unrelated) };
    let step = root.epilogue.steps.first().ok_or(Miss::Unrelated)?;
    let sum = &graph.infer(&root.op, &root.operands, &Epilogue::none())?[0];
    require(sum.dtype == DType::F32 && sum.shape == graph.ty(root.output()).shape)?;
    let channels = output_axis(axis, sum.shape.rank());
    let Some(AffineStep::Scale(scale)) = affine_step(graph, step, &sum.shape, channels) else {
        return Err(Miss::Unrelated);
    };
    let constant = |slot: usize, what: &str| match root.operand(slot) {
        Some(id) => {
            f32_constant(graph, id).map(Some).ok_or_else(|| Miss::Near(format!("the {what} are not a float constant")))
        }
        None => Ok(None),
    };
    let weights = constant(weight, "weights")?.ok_or(Miss::Unrelated)?;
    let along = weight_axis(rule, weights.shape()).ok_or(Miss::Unrelated)?;
    let mut rewrite = Rewrite::new(graph, SCALE.name);
    let mut operands = root.operands.clone();
    operands[weight] = Some(rewrite.constant("", scaled(weights, along, &scale), None));
    if let Some(old) = constant(bias, "biases")? {
        operands[bias] = Some(rewrite.constant("", scaled(old, 0, &scale), None));
    }
    let epilogue = Epilogue::new(root.epilogue.steps[1..].to_vec());
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &[root.id], root.op.clone(), &operands, epilogue, quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// Multiplies each element of the tensor by the factor at its index along `axis`.
pub(super) fn scaled(tensor: &Tensor, axis: usize, factors: &[f32]) -> Tensor {
    let stride = tensor.shape().strides()[axis];
    let numbers = tensor.to_f32s().expect("an f32 constant");
    let product = |(i, x): (usize, &f32)| x * factors[i / stride % factors.len()];
    Tensor::f32(tensor.shape(), &numbers.iter().enumerate().map(product).collect::<Vec<_>>())
}

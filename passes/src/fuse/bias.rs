//! `bias`: turns a constant that is added per output channel into the bias of a convolution or matrix product.
//!
//! ## What it does
//! Takes the first step of a float convolution or matrix product, if it adds or subtracts a constant that varies only
//! along the output channels. Adds the constant to the bias operand, or creates the bias if there is none.
//!
//! ## Before, after
//! `matmul(%x, %w) |> add %c |> relu` becomes `matmul(%x, %w, %c) |> relu`.
//!
//! ## Exact?
//! No: the result is rounded once instead of twice.
//!
//! ## Known problems
//! None.

use eightfold_ir::{Epilogue, Graph, Node, QuantRule, Rewrite, Tensor};

use super::{Fusion, Miss, require};
use crate::channel::{AffineStep, affine_step, f32_constant, output_axis};

pub(super) const BIAS: Fusion = Fusion {
    name: "bias",
    summary: "a per-channel summand after a convolution or matrix product becomes its bias",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let QuantRule::Affine { axis, bias, .. } = root.op.quant_rule() else { return Err(Miss::Unrelated) };
    let step = root.epilogue.steps.first().ok_or(Miss::Unrelated)?;
    let sum = &graph.infer(&root.op, &root.operands, &Epilogue::none())?[0];
    require(sum.dtype == eightfold_ir::DType::F32 && sum.shape == graph.ty(root.output()).shape)?;
    let channels = output_axis(axis, sum.shape.rank());
    let Some(AffineStep::Shift(shift)) = affine_step(graph, step, &sum.shape, channels) else {
        return Err(Miss::Unrelated);
    };
    let old = match root.operand(bias) {
        Some(id) => Some(f32_constant(graph, id).ok_or_else(|| Miss::Near("the bias is not constant".to_owned()))?),
        None => None,
    };
    let numbers: Vec<f32> = match old.and_then(Tensor::to_f32s) {
        Some(old) => old.iter().zip(&shift).map(|(b, c)| b + c).collect(),
        None => shift,
    };
    let mut rewrite = Rewrite::new(graph, BIAS.name);
    let new = rewrite.constant("", Tensor::f32(&[numbers.len()], &numbers), None);
    let mut operands = root.operands.clone();
    operands.resize(operands.len().max(bias + 1), None);
    operands[bias] = Some(new);
    let epilogue = Epilogue::new(root.epilogue.steps[1..].to_vec());
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &[root.id], root.op.clone(), &operands, epilogue, quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

//! `prologue`: folds a constant factor or summand per input channel into the weights and bias of a convolution or
//! matrix product.
//!
//! ## What it does
//! Takes the last step of the operand of a float convolution or matrix product, if the step multiplies by or adds a
//! constant that varies only along the channels and nothing else reads the operand. Examples: batch normalization
//! before a convolution, input normalization before the first layer.
//!
//! ## Before, after
//! `%n = map(%x) |> mul %s |> add %t`, `conv(%n, %w, %b)` become `conv(%x, %w', %b')` with `w'[o, i] = w[o, i] s[i]`
//! and `b'[o] = b[o] + sum over i, k of w[o, i, k] t[i]`.
//!
//! ## Exact?
//! No: the weights are rounded instead of the products.
//!
//! ## Known problems
//! A factor stays if a lookup table is the transpose of the weights (tied embeddings), because equal constants are
//! stored once. A summand of magnitude 1,000 or more stays, and so does the factor after it: the products of the
//! summand would cancel other products, and their sum would lose digits. A summand stays if the convolution pads,
//! because the padding would have to be `-t/s` instead of zero. Nothing moves in weight-int8: the factors would widen the
//! range of weights that share a scale.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::gather::Gather;
use eightfold_ir::{DType, Epilogue, Graph, Node, NodeId, Op, Precision, Rewrite, Tensor, ValueId};

use super::{Fusion, Miss, require};
use crate::channel::{AffineStep, affine_step, f32_constant};
use crate::quant::tensor_name;

pub(super) const PROLOGUE: Fusion = Fusion {
    name: "prologue",
    summary: "a per-channel factor or summand before a convolution or matrix product moves into its weights",
    // One scale would fit weights of one output channel badly that are multiplied by different factors.
    not_with: &[Precision::WeightInt8],
    try_at,
};

const BIAS: usize = 2;

/// The magnitude from which a constant counts as large. Such a constant is an offset (the mean year 2010, for example)
/// or a mask (-10,000). Multiplied by weights, it would cost the sum its significant digits.
pub(crate) const LARGE: f32 = 1000.0;

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    let x = root.operand(0).ok_or(Miss::Unrelated)?;
    let shape = &graph.ty(x).shape;
    let channels = match root.op {
        Op::Conv(_) => 1,
        Op::MatMul(_) => shape.rank() - 1,
        _ => return Err(Miss::Unrelated),
    };
    let producer = graph.producer(x).ok_or(Miss::Unrelated)?;
    let (last, before) = producer.epilogue.steps.split_last().ok_or(Miss::Unrelated)?;
    let step = affine_step(graph, last, shape, channels).ok_or(Miss::Unrelated)?;
    let stripped = Epilogue::new(before.to_vec());
    let produced = &graph.infer(&producer.op, &producer.operands, &stripped)?[0];
    require(produced.shape == *shape && produced.dtype == DType::F32)?;
    let users = graph.use_count(x);
    let near = |reason: &str| Err(Miss::Near(format!("the normalization {} {reason}", producer.origin)));
    if users != 1 {
        return near(&format!("is read {users} times"));
    }
    let weights = root.operand(1).and_then(|w| f32_constant(graph, w)).ok_or(Miss::Unrelated)?;
    require(matches!(root.op, Op::Conv(_)) || weights.shape().rank() == 2)?;
    let old_bias = match root.operand(BIAS) {
        Some(b) => Some(f32_constant(graph, b).ok_or(Miss::Unrelated)?),
        None => None,
    };
    let mut rewrite = Rewrite::new(graph, PROLOGUE.name);
    let mut operands = root.operands.clone();
    match &step {
        AffineStep::Scale(scale) => {
            let shift = before.last().and_then(|step| affine_step(graph, step, shape, channels));
            if matches!(&shift, Some(AffineStep::Shift(shift)) if is_large(shift)) {
                return near("stays, because a large number is added after it");
            }
            if let Some(table) = table_of(graph, weights) {
                return near(&format!("stays, because the weights share memory with the table {table}"));
            }
            let new = per_input(&root.op, weights, |w, i| w * scale[i]);
            operands[1] = Some(rewrite.constant("", Tensor::f32(weights.shape(), &new), None));
        }
        AffineStep::Shift(shift) => {
            if is_large(shift) {
                return near("adds a number so large that the sum would lose digits");
            }
            if matches!(&root.op, Op::Conv(conv) if conv.pads.iter().any(|p| *p != 0))
                && shift.iter().any(|t| *t != 0.0)
            {
                return near("adds a constant, but the convolution pads with zeros");
            }
            let terms = per_input(&root.op, weights, |w, i| w * shift[i]);
            let mut sums = sums_per_output(&root.op, weights, &terms);
            if let Some(old) = old_bias.and_then(Tensor::to_f32s) {
                sums.iter_mut().zip(old).for_each(|(s, b)| *s += f64::from(b));
            }
            let bias: Vec<f32> = sums.into_iter().map(|s| s as f32).collect();
            operands.resize(BIAS + 1, None);
            operands[BIAS] = Some(rewrite.constant("", Tensor::f32(&[bias.len()], &bias), None));
        }
    }
    let operand = match (&producer.op, stripped.is_empty()) {
        (Op::Map(_), true) => producer.operand(0).ok_or(Miss::Unrelated)?,
        _ => rewrite.node(graph, &[producer.id], producer.op.clone(), &producer.operands, stripped, None)?,
    };
    operands[0] = Some(operand);
    let from = [producer.id, root.id];
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &from, root.op.clone(), &operands, root.epilogue.clone(), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

fn is_large(shift: &[f32]) -> bool {
    shift.iter().any(|t| t.abs() >= LARGE)
}

/// If nodes look up rows of a table whose transpose are these weights, returns the table's name.
fn table_of(graph: &Graph, weights: &Tensor) -> Option<String> {
    let [inputs, outputs] = **weights.shape() else { return None };
    let takes_rows = |id: ValueId| {
        let takes = |user: &NodeId| {
            let user = graph.node(*user);
            matches!(user.op, Op::Gather(Gather { axis: 0 })) && user.operand(0) == Some(id)
        };
        graph.users(id).iter().any(takes)
    };
    let ours = weights.elements();
    let is_same = |table: &Tensor| {
        let theirs = table.elements();
        let at = |index: usize| ours.float(index % inputs * outputs + index / inputs);
        (0..inputs * outputs).all(|index| theirs.float(index).to_bits() == at(index).to_bits())
    };
    let constants = graph.values().filter_map(|(id, _)| Some((id, f32_constant(graph, id)?)));
    let mut tables = constants.filter(|(_, tensor)| **tensor.shape() == [outputs, inputs]);
    tables.find(|(id, table)| takes_rows(*id) && is_same(table)).map(|(id, _)| tensor_name(graph, id))
}

/// Applies `f` to each weight and the index of its input channel.
fn per_input(op: &Op, weights: &Tensor, f: impl Fn(f32, usize) -> f32) -> Vec<f32> {
    let (shape, strides) = (weights.shape(), weights.shape().strides());
    let channel = |i: usize| match op {
        Op::Conv(Conv { group, .. }) => {
            let (o, c) = (i / strides[0], i / strides[1] % shape[1]);
            o / (shape[0] / group) * shape[1] + c
        }
        _ => i / strides[0],
    };
    let numbers = weights.to_f32s().expect("an f32 constant");
    numbers.iter().enumerate().map(|(i, w)| f(*w, channel(i))).collect()
}

/// Sums `terms`, which are laid out like the weights, per output channel.
fn sums_per_output(op: &Op, weights: &Tensor, terms: &[f32]) -> Vec<f64> {
    let (shape, strides) = (weights.shape(), weights.shape().strides());
    let axis = if matches!(op, Op::Conv(_)) { 0 } else { 1 };
    let mut sums = vec![0.0; shape[axis]];
    for (i, term) in terms.iter().enumerate() {
        sums[i / strides[axis] % shape[axis]] += f64::from(*term);
    }
    sums
}

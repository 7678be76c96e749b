//! `softmax`: replaces a softmax that a model spells out in elementary operators by one operator.
//!
//! ## What it does
//! Matches exponentials that are divided by their sum along an axis, with or without subtraction of the maximum. The
//! operator reads its operand once and has an integer form. Exponentials and quotients have none.
//!
//! ## Before, after
//! `%m = reduce(%x) {kind=max, axes=[1]}`, `%e = map(%x) |> sub %m |> exp`, `%s = reduce(%e) {kind=sum, axes=[1]}`, `%y
//! = map(%e) |> div %s` become `%y = softmax(%x) {axis=1}`. The sum may be reshaped. A multiplication by its reciprocal
//! matches too.
//!
//! ## Exact?
//! No: the operator rounds at other points. It does not overflow where the spelled-out exponentials do.
//!
//! ## Known problems
//! Sums over several axes do not match.

use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::softmax::Softmax;
use eightfold_ir::{Arg, DType, Epilogue, Function, Graph, Node, Op, Rewrite, Shape, Step, ValueId};

use super::{Fusion, Miss, require};

pub(super) const SOFTMAX: Fusion = Fusion {
    name: "softmax",
    summary: "a softmax that a model spells out becomes one operator",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_)))?;
    let exponentials = root.operand(0).ok_or(Miss::Unrelated)?;
    let (first, rest) = root.epilogue.steps.split_first().ok_or(Miss::Unrelated)?;
    let (by, after_sum) = divisor(first).ok_or(Miss::Unrelated)?;
    let (sum, axis) = folded(graph, by, ReduceKind::Sum).ok_or(Miss::Unrelated)?;
    let ty = graph.ty(exponentials);
    require(sum.operand(0) == Some(exponentials) && sum.epilogue.steps == after_sum)?;
    require(lies_across(&graph.ty(by).shape, &ty.shape, axis) && ty.dtype == DType::F32)?;
    let producer = graph.producer(exponentials).ok_or(Miss::Unrelated)?;
    let (last, before) = producer.epilogue.steps.split_last().ok_or(Miss::Unrelated)?;
    require(*last == Step::unary(Function::Exp) && producer.outputs.len() == 1)?;
    // Any other reader of the exponentials needs them.
    require(graph.use_count(exponentials) == 2)?;
    let mut rewrite = Rewrite::new(graph, SOFTMAX.name);
    let x = producer.operand(0).ok_or(Miss::Unrelated)?;
    let from = [producer.id, sum.id, root.id];
    let operand = match (&producer.op, before) {
        (Op::Map(_), []) => x,
        (Op::Map(_), [step]) if subtracts_greatest(graph, step, x, axis) => x,
        _ => {
            let steps = Epilogue::new(before.to_vec());
            rewrite.node(graph, &[producer.id], producer.op.clone(), &producer.operands, steps, None)?
        }
    };
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &from, Softmax { axis }, &[Some(operand)], Epilogue::new(rest.to_vec()), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// Returns the tensor that the step divides by, and the steps between this tensor and the sum. A multiplication counts
/// if the tensor is a reciprocal.
fn divisor(step: &Step) -> Option<(ValueId, Vec<Step>)> {
    let Step::Apply(function, args) = step else { return None };
    match (function, args.as_slice()) {
        (Function::Div, [Arg::Current, Arg::Value(by)]) => Some((*by, vec![])),
        (Function::Mul, [Arg::Current, Arg::Value(by)] | [Arg::Value(by), Arg::Current]) => {
            Some((*by, vec![Step::unary(Function::Reciprocal)]))
        }
        _ => None,
    }
}

/// If the value is a reduction of this kind along one axis, possibly reshaped, returns the reduction and the axis.
fn folded(graph: &Graph, mut value: ValueId, kind: ReduceKind) -> Option<(&Node, usize)> {
    loop {
        let node = graph.producer(value)?;
        match &node.op {
            Op::Reduce(Reduce { kind: found, axes, .. }) if *found == kind && axes.len() == 1 => {
                return Some((node, axes[0]));
            }
            Op::Reshape(_) if node.epilogue.is_empty() => value = node.operand(0)?,
            _ => return None,
        }
    }
}

/// Returns true if `small` has extent 1 on `axis` and the extents of `large` on all other axes.
fn lies_across(small: &Shape, large: &Shape, axis: usize) -> bool {
    let Some(missing) = large.rank().checked_sub(small.rank()) else { return false };
    let extent = |a: usize| if a < missing { 1 } else { small[a - missing] };
    (0..large.rank()).all(|a| extent(a) == if a == axis { 1 } else { large[a] })
}

/// Returns true if the step subtracts the maximum of `x` along `axis`.
fn subtracts_greatest(graph: &Graph, step: &Step, x: ValueId, axis: usize) -> bool {
    let Step::Apply(Function::Sub, args) = step else { return false };
    let [Arg::Current, Arg::Value(top)] = args.as_slice() else { return false };
    // JAX clips the maximum at minus infinity, which changes nothing.
    let idle = |step: &Step| match step {
        Step::Apply(Function::Max, args) => args.contains(&Arg::Float(f32::NEG_INFINITY)),
        _ => false,
    };
    folded(graph, *top, ReduceKind::Max).is_some_and(|(node, along)| {
        along == axis
            && node.operand(0) == Some(x)
            && node.epilogue.steps.iter().all(idle)
            && lies_across(&graph.ty(*top).shape, &graph.ty(x).shape, axis)
    })
}

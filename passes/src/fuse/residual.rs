//! `residual`: moves a pointwise operator on two tensors into the epilogue of the producer of its second operand.
//!
//! ## What it does
//! `epilogue` considers the producer of the first operand. This fusion exchanges the operands if the second one's
//! producer is the better place: if the first cannot take steps, or if only the second is a convolution or matrix
//! product.
//!
//! ## Before, after
//! `%c = conv(%x, %w)`, `%y = map(%r) |> add %c |> relu` become `%y = conv(%x, %w) |> add %r |> relu`. A function that
//! does not commute keeps its order of arguments: `map(%r) |> sub %c` becomes `conv(%x, %w) |> sub(%r, _)`.
//!
//! ## Exact?
//! Yes: the same function runs on the same numbers.
//!
//! ## Known problems
//! If both operands are convolutions, the first one takes the steps.

use eightfold_ir::{Arg, Epilogue, Function, Graph, Node, Op, Rewrite, Step, ValueId};

use super::epilogue::{accepts, join, sums_products};
use super::{Fusion, Miss, require};

pub(super) const RESIDUAL: Fusion = Fusion {
    name: "residual",
    summary: "a pointwise operator on two tensors becomes steps of the producer of its second operand",
    not_with: &[],
    try_at,
};

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_)))?;
    let (first, (second, steps)) = (root.operand(0), exchanged(root).ok_or(Miss::Unrelated)?);
    let producer = graph.producer(second).ok_or(Miss::Unrelated)?;
    accepts(graph, producer, root)?;
    let other = first.and_then(|x| graph.producer(x)).filter(|p| accepts(graph, p, root).is_ok());
    require(other.is_none_or(|other| sums_products(producer) && !sums_products(other)))?;
    join(graph, producer, root, &Epilogue::new(steps))
}

/// Exchanges the operand of a `map` with the tensor that its first step reads. Returns that tensor, and the steps with
/// the old operand as an argument.
pub(crate) fn exchanged(root: &Node) -> Option<(ValueId, Vec<Step>)> {
    let first = root.operand(0)?;
    // The operand as an argument: unchanged, or dequantized if the first step dequantizes it.
    let (as_argument, at) = match root.epilogue.steps.first()? {
        Step::Dequantize { scale, zero_point } => {
            (Arg::Dequantized { value: first, scale: *scale, zero_point: *zero_point }, 1)
        }
        _ => (Arg::Value(first), 0),
    };
    let Step::Apply(function, args) = root.epilogue.steps.get(at)? else { return None };
    let mut swapped = args.clone();
    let mut second = None;
    for arg in &mut swapped {
        match (*arg, as_argument) {
            (Arg::Current, _) => *arg = as_argument,
            (Arg::Value(_), Arg::Value(_)) | (Arg::Dequantized { .. }, Arg::Dequantized { .. }) if second.is_none() => {
                second = Some(*arg);
                *arg = Arg::Current;
            }
            (Arg::Float(_) | Arg::Int(_), _) => {}
            _ => return None,
        }
    }
    // Commutative functions get one fixed order of arguments, which simplifies matching.
    if let (Function::Add | Function::Mul, [_, Arg::Current]) = (function, swapped.as_slice()) {
        swapped.swap(0, 1);
    }
    let (second, dequantize) = match second? {
        Arg::Value(value) => (value, None),
        Arg::Dequantized { value, scale, zero_point } => (value, Some(Step::Dequantize { scale, zero_point })),
        _ => return None,
    };
    let steps = dequantize.into_iter().chain([Step::Apply(*function, swapped)]);
    Some((second, steps.chain(root.epilogue.steps[at + 1..].iter().cloned()).collect()))
}

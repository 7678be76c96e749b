//! `activation`: an activation that a model spells out in elementary operators becomes one function.
//!
//! ## What it does
//! Recognises SiLU (`x * sigmoid(x)`), hard swish in its spellings and GELU in steps that begin with the operand `x` and
//! multiply by it again. The gain is that `x` is then read once, so the function can go into the epilogue of whatever
//! computes `x`.
//!
//! ## Before, after
//! `map(%x) |> sigmoid |> mul %x` becomes `map(%x) |> silu`.
//!
//! ## Exact?
//! No for hard swish where the model divides by 6, and for GELU: the function rounds elsewhere. Yes for SiLU.
//!
//! ## Known problems
//! Only the orders of operators in the table are known.

use eightfold_ir::{Arg, Epilogue, Function, Graph, Node, Op, Rewrite, Step, ValueId};

use super::{Fusion, Miss, require};
use crate::channel::literal;

pub(super) const ACTIVATION: Fusion = Fusion {
    name: "activation",
    summary: "SiLU, hard swish and GELU that a model spells out become one function",
    try_at,
};

/// A step of a spelled-out activation.
enum Part {
    /// A unary function.
    Unary(Function),
    /// A binary function with the current number and a constant.
    With(Function, f32),
    /// The function with two constants.
    With2(Function, f32, f32),
    /// Multiplication by the operand that the chain began with.
    TimesX,
    /// Division by the constant, or multiplication by its inverse.
    Over(f32),
}
use Part::{Over, TimesX, Unary, With, With2};

/// An activation and one way to spell it.
const SPELLINGS: &[(Function, &[Part])] = &[
    (Function::Silu, &[Unary(Function::Sigmoid), TimesX]),
    (Function::HardSwish, &[With2(Function::HardSigmoid, 1.0 / 6.0, 0.5), TimesX]),
    (Function::HardSwish, &[With(Function::Add, 3.0), With2(Function::Clip, 0.0, 6.0), TimesX, Over(6.0)]),
    (Function::HardSwish, &[With(Function::Add, 3.0), With2(Function::Clip, 0.0, 6.0), Over(6.0), TimesX]),
    (
        Function::Gelu,
        &[Over(std::f32::consts::SQRT_2), Unary(Function::Erf), With(Function::Add, 1.0), TimesX, Over(2.0)],
    ),
    (
        Function::Gelu,
        &[Over(std::f32::consts::SQRT_2), Unary(Function::Erf), With(Function::Add, 1.0), Over(2.0), TimesX],
    ),
];

fn try_at(graph: &Graph, root: &Node) -> Result<Rewrite, Miss> {
    require(matches!(root.op, Op::Map(_)))?;
    let x = root.operand(0).ok_or(Miss::Unrelated)?;
    let steps = &root.epilogue.steps;
    let fits = |parts: &[Part]| steps.len() >= parts.len() && parts.iter().zip(steps).all(|(p, s)| is(graph, s, p, x));
    let (function, parts) = SPELLINGS.iter().find(|(_, parts)| fits(parts)).ok_or(Miss::Unrelated)?;
    let mut epilogue = vec![Step::unary(*function)];
    epilogue.extend_from_slice(&steps[parts.len()..]);
    let mut rewrite = Rewrite::new(graph, ACTIVATION.name);
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &[root.id], root.op.clone(), &root.operands, Epilogue::new(epilogue), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

fn is(graph: &Graph, step: &Step, part: &Part, x: ValueId) -> bool {
    let Step::Apply(function, args) = step else { return false };
    let close = |arg: &Arg, want: f32| literal(graph, arg).is_some_and(|got| (got - want).abs() <= 1e-6 * want.abs());
    let commutes = matches!(function, Function::Add | Function::Mul);
    match (part, args.as_slice()) {
        (Unary(f), [Arg::Current]) => f == function,
        (With(f, c), [Arg::Current, other]) => f == function && close(other, *c),
        (With(f, c), [other, Arg::Current]) => commutes && f == function && close(other, *c),
        (With2(f, a, b), [Arg::Current, low, high]) => f == function && close(low, *a) && close(high, *b),
        (TimesX, [Arg::Current, Arg::Value(v)] | [Arg::Value(v), Arg::Current]) => {
            *function == Function::Mul && *v == x
        }
        (Over(c), [Arg::Current, other]) => {
            *function == Function::Div && close(other, *c) || *function == Function::Mul && close(other, 1.0 / c)
        }
        (Over(c), [other, Arg::Current]) => *function == Function::Mul && close(other, 1.0 / c),
        _ => false,
    }
}

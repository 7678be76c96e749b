//! `activation`: an activation that a model spells out in elementary operators becomes one function.
//!
//! ## What it does
//! Recognises SiLU (`x * sigmoid(x)`), hard swish in its spellings and GELU in steps that begin with the operand `x` and
//! multiply by it again. The gain is that `x` is then read once, so the function can go into the epilogue of whatever
//! computes `x`. Recognises sigmoid and softplus wherever their steps stand: as one function each they have a table on
//! integers, which the exponential, logarithm and reciprocal that they are made of have not.
//!
//! ## Before, after
//! `map(%x) |> sigmoid |> mul %x` becomes `map(%x) |> silu`.
//!
//! ## Exact?
//! No: the function rounds elsewhere.
//!
//! ## Known problems
//! Only the orders of operators in the table are known.

use std::ops::Range;

use eightfold_ir::{Arg, Epilogue, Function, Graph, Node, Op, Rewrite, Step, ValueId};

use super::{Fusion, Miss};
use crate::channel::literal;

pub(super) const ACTIVATION: Fusion = Fusion {
    name: "activation",
    summary: "SiLU, hard swish, GELU, sigmoid and softplus that a model spells out become one function",
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
    /// Division of the operand that the chain began with.
    XOver,
    /// Division by the constant, or multiplication by its inverse.
    Over(f32),
    /// One over the current number.
    Inverse,
}
use Part::{Inverse, Over, TimesX, Unary, With, With2, XOver};

/// An activation and one way to spell it.
const SPELLINGS: &[(Function, &[Part])] = &[
    (Function::Silu, &[Unary(Function::Sigmoid), TimesX]),
    (Function::Silu, &[Unary(Function::Neg), Unary(Function::Exp), With(Function::Add, 1.0), XOver]),
    (Function::Sigmoid, &[Unary(Function::Neg), Unary(Function::Exp), With(Function::Add, 1.0), Inverse]),
    (Function::Softplus, &[Unary(Function::Exp), With(Function::Add, 1.0), Unary(Function::Log)]),
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
    let steps = &root.epilogue.steps;
    let found = SPELLINGS.iter().find_map(|(function, parts)| Some((function, place(graph, root, parts)?)));
    let (function, at) = found.ok_or(Miss::Unrelated)?;
    let mut epilogue = steps.clone();
    epilogue.splice(at, [Step::unary(*function)]);
    let mut rewrite = Rewrite::new(graph, ACTIVATION.name);
    let quant = graph.ty(root.output()).quant;
    let y = rewrite.node(graph, &[root.id], root.op.clone(), &root.operands, Epilogue::new(epilogue), quant)?;
    rewrite.replace(root.output(), y);
    Ok(rewrite)
}

/// Where the steps of a node spell these parts: anywhere, or, if they name the operand again, at the start of a `map`.
fn place(graph: &Graph, root: &Node, parts: &[Part]) -> Option<Range<usize>> {
    let (steps, x) = (&root.epilogue.steps, root.operand(0)?);
    let names_x = parts.iter().any(|part| matches!(part, TimesX | XOver));
    let last = steps.len().checked_sub(parts.len())?;
    let begins = match (names_x, &root.op) {
        (true, Op::Map(_)) => 0..1,
        (true, _) => 0..0,
        (false, _) => 0..last + 1,
    };
    let fits = |at: &usize| parts.iter().zip(&steps[*at..]).all(|(part, step)| is(graph, step, part, x));
    begins.into_iter().find(fits).map(|at| at..at + parts.len())
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
        (XOver, [Arg::Value(v), Arg::Current]) => *function == Function::Div && *v == x,
        (Inverse, [Arg::Current]) => *function == Function::Reciprocal,
        (Inverse, [one, Arg::Current]) => *function == Function::Div && close(one, 1.0),
        (Over(c), [Arg::Current, other]) => {
            *function == Function::Div && close(other, *c) || *function == Function::Mul && close(other, 1.0 / c)
        }
        (Over(c), [other, Arg::Current]) => *function == Function::Mul && close(other, 1.0 / c),
        _ => false,
    }
}

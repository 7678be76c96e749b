//! `activation`: replaces an activation that a model spells out in elementary operators by one function.
//!
//! ## What it does
//! Matches SiLU (`x * sigmoid(x)`), hard swish and GELU, in steps that start with the operand `x` and later multiply by
//! it again. The fused function reads `x` once, so it can move into the epilogue of the producer of `x`. Also matches
//! sigmoid and softplus, at any position in the steps: on integers, one function is one table, while an exponential,
//! logarithm or reciprocal alone has no table.
//!
//! ## Before, after
//! `map(%x) |> sigmoid |> mul %x` becomes `map(%x) |> silu`.
//!
//! ## Exact?
//! No: the function rounds at other points.
//!
//! ## Known problems
//! Only the sequences of operators in the table match.

use std::ops::Range;

use eightfold_ir::{Arg, Epilogue, Function, Graph, Node, Op, Rewrite, Step, ValueId};

use super::{Fusion, Miss};
use crate::channel::literal;

pub(super) const ACTIVATION: Fusion = Fusion {
    name: "activation",
    summary: "SiLU, hard swish, GELU, sigmoid and softplus that a model spells out become one function",
    not_with: &[],
    try_at,
};

/// A step of an activation that a model spells out.
enum Part {
    /// A unary function.
    Unary(Function),
    /// A binary function of the current number and a constant.
    With(Function, f32),
    /// A function of the current number and two constants.
    With2(Function, f32, f32),
    /// Multiplication by the operand `x`.
    TimesX,
    /// Division of the operand `x` by the current number.
    XOver,
    /// Division by the constant, or multiplication by its reciprocal.
    Over(f32),
    /// The reciprocal of the current number.
    Inverse,
}
use Part::{Inverse, Over, TimesX, Unary, With, With2, XOver};

/// The known sequences of steps, and the function that each computes.
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

/// Returns the range of the node's steps that match `parts`. If `parts` read the operand, the range must start at the
/// first step of a `map`.
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

//! Classes of functions that several passes ask about: unary functions, functions worth a table, functions with wide
//! results.

use eightfold_ir::{Arg, Function, Node, Op, Step};

/// Returns true if small results of the step matter as much as large ones (exponentials, roots, reciprocals). 8 bits
/// cannot hold such results, because the rounding error is the same for all values.
pub(crate) fn is_wide(step: &Step) -> bool {
    match step {
        Step::Apply(Function::Exp | Function::Log | Function::Pow | Function::Reciprocal | Function::Sqrt, _) => true,
        Step::Apply(Function::Div, args) => args.get(1) == Some(&Arg::Current),
        _ => false,
    }
}

/// Returns true if, on 8-bit integers, a table of 256 entries should replace the steps: all steps are unary, none has
/// wide results, and at least one is not an exact operation. A few exact operations cost less than a table.
pub(crate) fn is_tabular(steps: &[Step]) -> bool {
    steps.iter().all(is_unary) && !steps.iter().all(Step::is_exact) && !steps.iter().any(is_wide)
}

/// Returns true if the node is a `map` that reads no tensor besides its operand. Its steps may read the operand again,
/// as in a GELU that the model spells out with tanh.
pub(crate) fn is_function(node: &Node) -> bool {
    matches!(node.op, Op::Map(_)) && node.epilogue.values().all(|value| node.operand(0) == Some(value))
}

/// Returns true if the step applies a function to the current number and reads no tensor.
pub(crate) fn is_unary(step: &Step) -> bool {
    matches!(step, Step::Apply(..)) && step.values().next().is_none()
}

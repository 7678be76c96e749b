//! Nodes that stay in floats although they have an integer form: eight bits of what they read or yield ruin a model.
//!
//! Eight bits hold 256 evenly spaced numbers. The error is the same for all of them, so it is small beside the greatest
//! number and as large as the least. Sums of products and activations bear that. Three things do not:
//!
//! - Numbers of which small ones matter as much as great ones: exponentials, powers, roots, reciprocals and divisors
//!   (*wide* values). What computes them, and what computes with them, stays in floats. That is how normalizations and
//!   softmax look where a model spells them out: their inner tensors are floats, their results are quantized again.
//!   Whole normalizations, whose nodes share a reason, are found by [`normalization`].
//! - Squares that are summed: a variance, of which a root or reciprocal follows. The sum stays in floats.
//! - What a logarithm is taken of. If everything from the graph's inputs to a logarithm feeds nothing but it, as in
//!   models that begin with a spectrogram, all of that stays in floats, its sums of products included.
//!
//! - What is compared, rounded, or taken the sine of: the least change of it may change the result altogether.
//! - Sums with constants of [`LARGE`] magnitude: masks, beside which all other numbers are one and the same of 256, and
//!   means that are subtracted from numbers near them.
//!
//! Other sums of products stay on integers: they read numbers of eight bits, but their results are as exact as floats.
//! A convolution before an exponential is one of them.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::{Arg, Def, Function, Graph, Node, NodeId, Op, QuantRule, Step, ValueId};

use super::normalization::{self, Normalization};
use super::plan::is_carried;
use crate::channel::{f32_constant, literal};
use crate::fuse::LARGE;
use crate::quant::{dequantized, tensor_name};

/// What eight bits do not hold in a graph.
pub(super) struct Sensitive {
    /// Why nodes stay in floats; nodes that may compute on integers are not in it.
    pub(super) reasons: BTreeMap<NodeId, String>,
    /// Those of the nodes that are normalizations, each told about as one.
    pub(super) normalizations: Vec<Normalization>,
}

/// See the module's documentation.
pub(super) fn sensitive(graph: &Graph) -> Sensitive {
    let mut found = BTreeMap::new();
    let mut wide = BTreeSet::new();
    let order = graph.topo();
    for node in order.iter().map(|id| graph.node(*id)) {
        if let Some(reason) = reason(graph, node, &wide) {
            found.insert(node.id, reason);
        }
        if yields_wide(graph, node, &wide) {
            wide.extend(node.outputs.iter().copied());
        }
    }
    let normalizations: Vec<Normalization> = normalization::find(graph, &order, &wide)
        .into_iter()
        .filter(|normalization| !normalization.members.iter().any(|id| quantizes(graph, graph.node(*id))))
        .collect();
    for Normalization { members, reason } in &normalizations {
        found.extend(members.iter().map(|id| (*id, reason.clone())));
    }
    for id in spectrum(graph, &order) {
        found.entry(id).or_insert_with(|| "a logarithm is taken of its result, and of nothing else".to_owned());
    }
    // Readers first: a sum that nothing but nodes in floats reads need not be on integers. Whether what lies between is
    // computed there follows from its readers.
    let mut feeds_floats: BTreeSet<NodeId> = found.keys().copied().collect();
    for node in order.iter().rev().map(|id| graph.node(*id)).filter(|node| !sums_products(node)) {
        let users = graph.users(node.output());
        let shown = graph.outputs().iter().any(|output| output.value == node.output());
        if !shown && !users.is_empty() && users.iter().all(|user| feeds_floats.contains(user)) {
            feeds_floats.insert(node.id);
            if node.op.quant_rule() == QuantRule::AnyScale {
                found.entry(node.id).or_insert_with(|| "only nodes that stay in float read its result".to_owned());
            }
        }
    }
    Sensitive { reasons: found, normalizations }
}

/// Whether the model quantizes what the node reads or yields.
fn quantizes(graph: &Graph, node: &Node) -> bool {
    is_carried(graph, node.output()) || node.uses().any(|x| dequantized(graph, x).is_some())
}

/// Whether the least change of what the step takes may change what it yields altogether.
fn is_abrupt(step: &Step) -> bool {
    use Function::{Ceil, Cos, Equal, Floor, Greater, GreaterOrEqual, Less, LessOrEqual, Mod, Round, Sign, Sin};
    let Step::Apply(function, _) = step else { return false };
    matches!(
        function,
        Ceil | Cos | Equal | Floor | Greater | GreaterOrEqual | Less | LessOrEqual | Mod | Round | Sign | Sin
    )
}

/// Whether the step adds, subtracts or fills in a constant that dwarfs other numbers.
fn is_dwarfing(graph: &Graph, step: &Step) -> bool {
    let Step::Apply(Function::Add | Function::Sub | Function::Select, args) = step else { return false };
    args.iter().any(|arg| match arg {
        Arg::Float(number) => is_large(*number),
        Arg::Value(value) => holds_large(graph, *value),
        _ => false,
    })
}

/// Whether the value is a constant some of whose numbers are large.
fn holds_large(graph: &Graph, value: ValueId) -> bool {
    f32_constant(graph, value).is_some_and(|tensor| {
        let numbers = tensor.elements();
        (0..tensor.shape().elements()).any(|index| is_large(numbers.float(index)))
    })
}

fn is_large(number: f32) -> bool {
    number.is_finite() && number.abs() >= LARGE
}

/// Whether small results of the step matter as much as great ones.
pub(crate) fn is_wide(step: &Step) -> bool {
    match step {
        Step::Apply(Function::Exp | Function::Log | Function::Pow | Function::Reciprocal | Function::Sqrt, _) => true,
        Step::Apply(Function::Div, args) => args.get(1) == Some(&Arg::Current),
        _ => false,
    }
}

/// Whether the node is a sum of products.
fn sums_products(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Affine { .. })
}

/// Whether the node's own rule lets it compute on integers, but does not make it a sum of products.
fn is_cheap(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Pointwise | QuantRule::AnyScale)
}

/// Why a node stays in floats, given which values before it are wide.
fn reason(graph: &Graph, node: &Node, wide: &BTreeSet<ValueId>) -> Option<String> {
    let softmax = matches!(node.op.quant_rule(), QuantRule::Fixed { .. });
    if !(is_cheap(node) || softmax) || quantizes(graph, node) {
        return None;
    }
    if let Some(Step::Apply(function, _)) = node.epilogue.steps.iter().find(|step| is_abrupt(step)) {
        return Some(format!("rounding what {} takes may change its result altogether", function.name()));
    }
    if node.epilogue.steps.iter().any(|step| is_dwarfing(graph, step)) {
        return Some(format!("it adds or fills in a constant of {LARGE} or more, which dwarfs other numbers"));
    }
    if let Some(Step::Apply(function, _)) = node.epilogue.steps.iter().find(|step| is_wide(step)) {
        return Some(format!("eight bits do not hold what {} reads or yields", function.name()));
    }
    if let Some(by) = node.epilogue.steps.iter().find_map(|step| divisor(graph, step)) {
        return Some(format!("eight bits do not hold the divisor {}", tensor_name(graph, by)));
    }
    if let Some(value) = node.uses().find(|value| wide.contains(value)) {
        return Some(format!("eight bits do not hold its operand {}", tensor_name(graph, value)));
    }
    let sums = node.op.quant_rule() == QuantRule::AnyScale;
    let squares = node.operand(0).filter(|x| sums && is_square(graph, *x))?;
    Some(format!("it sums the squares {}, which eight bits do not hold", tensor_name(graph, squares)))
}

/// The tensor that the step divides by.
fn divisor(graph: &Graph, step: &Step) -> Option<ValueId> {
    match step {
        Step::Apply(Function::Div, args) => match args.as_slice() {
            [Arg::Current, Arg::Value(value)] => Some(*value).filter(|value| graph.constant(*value).is_none()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the node's result is wide: whether the steps leave it so.
fn yields_wide(graph: &Graph, node: &Node, wide: &BTreeSet<ValueId>) -> bool {
    let varying = |value: &ValueId| graph.constant(*value).is_none();
    let moves = node.op.quant_rule() == QuantRule::SameScale;
    // `None` as long as the number is a constant, which takes on what it meets.
    let of = |value: ValueId| varying(&value).then(|| (moves || is_cheap(node)) && wide.contains(&value));
    let mut now = node.operand(0).and_then(of);
    if let QuantRule::Affine { bias, .. } = node.op.quant_rule()
        && node.operand(bias).is_some_and(|bias| holds_large(graph, bias))
    {
        now = Some(true);
    }
    for step in &node.epilogue.steps {
        let Step::Apply(function, args) = step else { continue };
        let value = |arg: &Arg| if let Arg::Value(value) = arg { Some(*value) } else { None };
        let mut others = args.iter().filter_map(value).filter(varying).map(|value| wide.contains(&value)).peekable();
        let meets = others.peek().is_some();
        now = match function {
            // A logarithm has all magnitudes in a few steps.
            Function::Log => Some(false),
            _ if is_wide(step) || is_dwarfing(graph, step) => Some(true),
            Function::Mul | Function::Div if !meets => now,
            // Numbers are normalized by a tensor that they are divided by or multiplied with, unless all of them are wide.
            Function::Mul => Some(now.unwrap_or(true) && others.all(|wide| wide)),
            Function::Div => Some(now.is_none()),
            _ if !step.is_exact() || matches!(function, Function::Clip | Function::HardSigmoid) => Some(false),
            _ if !meets => now,
            _ => Some(now == Some(true) || others.any(|wide| wide)),
        };
    }
    now == Some(true)
}

/// Whether a value is the square of another, however its elements were moved.
pub(super) fn is_square(graph: &Graph, value: ValueId) -> bool {
    let Some(node) = graph.producer(value) else { return false };
    if node.op.quant_rule() == QuantRule::SameScale && node.epilogue.is_empty() {
        return node.operand(0).is_some_and(|x| is_square(graph, x));
    }
    let scales = |step: &Step| match step {
        Step::Apply(Function::Mul | Function::Div, args) => {
            args.iter().all(|arg| *arg == Arg::Current || literal(graph, arg).is_some())
                && args.iter().filter(|arg| **arg == Arg::Current).count() == 1
        }
        _ => false,
    };
    let steps = &node.epilogue.steps;
    let Some(last) = steps.iter().rposition(|step| !scales(step)) else { return false };
    let Step::Apply(Function::Mul, args) = &steps[last] else { return false };
    match args.as_slice() {
        [Arg::Current, Arg::Current] => true,
        // The operand times itself: what came between would make it another function, such as a GELU.
        [Arg::Current, Arg::Value(by)] | [Arg::Value(by), Arg::Current] => {
            matches!(node.op, Op::Map(_)) && node.operand(0) == Some(*by) && steps[..last].iter().all(scales)
        }
        _ => false,
    }
}

/// The sums of products and other sums between the graph's inputs and a logarithm.
fn spectrum(graph: &Graph, order: &[NodeId]) -> Vec<NodeId> {
    let mut for_log = BTreeSet::new();
    for node in order.iter().rev().map(|id| graph.node(*id)) {
        let shown = graph.outputs().iter().any(|output| output.value == node.output());
        let users = graph.users(node.output());
        let feeds_log = !shown && !users.is_empty() && users.iter().all(|user| for_log.contains(user));
        let transforms = node.epilogue.steps.iter().all(is_transform);
        if !matches!(node.op.quant_rule(), QuantRule::Fixed { .. }) && (takes_log(node) || feeds_log && transforms) {
            for_log.insert(node.id);
        }
    }
    // From the inputs on: what activations have shaped is a network, not a spectrogram.
    let mut from_inputs: BTreeSet<ValueId> = graph.inputs().iter().copied().collect();
    let mut found = Vec::new();
    for node in order.iter().map(|id| graph.node(*id)).filter(|node| for_log.contains(&node.id)) {
        let reaches =
            |value: ValueId| from_inputs.contains(&value) || !matches!(graph.value(value).def, Def::Node { .. });
        if !node.uses().all(reaches) {
            continue;
        }
        from_inputs.insert(node.output());
        if sums_products(node) || node.op.quant_rule() == QuantRule::AnyScale {
            found.push(node.id);
        }
    }
    found
}

/// Whether a node takes the logarithm of what its operator yields, but for exact steps in between.
fn takes_log(node: &Node) -> bool {
    let steps = &node.epilogue.steps;
    let log = steps.iter().position(|step| matches!(step, Step::Apply(Function::Log, _)));
    log.is_some_and(|log| steps[..log].iter().all(Step::is_exact))
}

/// Whether the step is arithmetic that signal transforms have, not an activation.
fn is_transform(step: &Step) -> bool {
    use Function::{Abs, Add, Div, Max, Min, Mul, Neg, Pow, Sqrt, Sub};
    matches!(step, Step::Apply(Abs | Add | Div | Max | Min | Mul | Neg | Pow | Sqrt | Sub, _))
}

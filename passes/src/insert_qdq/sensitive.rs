//! Keeps nodes in float that have an integer form but lose too much accuracy in 8 bits.
//!
//! 8 bits hold 256 evenly spaced numbers. The rounding error is the same for all of them: small relative to the
//! greatest number, and as large as the smallest ones. Convolutions, matrix products and activations tolerate that. The
//! following do not:
//!
//! - *Wide* values, whose small numbers matter as much as the large ones: exponentials, powers, roots, reciprocals and
//!   divisors. The nodes that compute them or compute with them stay in float, which covers normalizations and softmax
//!   that a model spells out. Their results are quantized again. [`normalization`] finds whole normalizations, so that
//!   their nodes share one reason.
//! - Sums of squares, such as a variance before a root or reciprocal.
//! - Inputs of a logarithm. If everything from the graph's inputs up to a logarithm feeds only this logarithm (a
//!   spectrogram at the start of a model), all of it stays in float, convolutions and matrix products included.
//! - Inputs of comparisons, rounding and sine. A small error can change the result completely.
//! - Sums with constants of magnitude [`LARGE`] or more. Next to a mask constant, all other numbers share one of the
//!   256 codes. A mean that is subtracted from numbers close to it leaves only their rounding error.
//!
//! All other convolutions and matrix products may use int8, even before an exponential: their inputs have 8 bits, but
//! their results are kept with the precision of a float.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::{Arg, Def, Function, Graph, Node, NodeId, QuantRule, Step, ValueId};

use super::normalization::{self, Normalization, is_square};
use crate::channel::f32_constant;
use crate::functions::is_wide;
use crate::fuse::LARGE;
use crate::quant::{dequantized, is_carried, tensor_name};

/// The nodes of a graph that must stay in float.
pub(super) struct Sensitive {
    /// For each node that stays in float, why. Other nodes have no entry.
    pub(super) reasons: BTreeMap<NodeId, String>,
    /// The normalizations among these nodes; each gets one remark.
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
        found.entry(id).or_insert_with(|| "its result feeds only a logarithm".to_owned());
    }
    // Readers first: a sum that only float nodes read gains nothing from integers. Nodes between the sum and those
    // readers follow their readers' precision.
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

/// Returns true if the model itself quantizes an operand or the result of the node.
fn quantizes(graph: &Graph, node: &Node) -> bool {
    is_carried(graph, node.output()) || node.uses().any(|x| dequantized(graph, x).is_some())
}

/// Returns true if a small change of the step's input can change its result completely.
fn is_abrupt(step: &Step) -> bool {
    use Function::{Ceil, Cos, Equal, Floor, Greater, GreaterOrEqual, Less, LessOrEqual, Mod, Round, Sign, Sin};
    let Step::Apply(function, _) = step else { return false };
    matches!(
        function,
        Ceil | Cos | Equal | Floor | Greater | GreaterOrEqual | Less | LessOrEqual | Mod | Round | Sign | Sin
    )
}

/// Returns true if the step adds, subtracts or fills in a constant that is much larger than other numbers.
fn is_dwarfing(graph: &Graph, step: &Step) -> bool {
    let Step::Apply(Function::Add | Function::Sub | Function::Select, args) = step else { return false };
    args.iter().any(|arg| match arg {
        Arg::Float(number) => is_large(*number),
        Arg::Value(value) => holds_large(graph, *value),
        _ => false,
    })
}

/// Returns true if the value is a constant and some of its numbers are large.
fn holds_large(graph: &Graph, value: ValueId) -> bool {
    f32_constant(graph, value).is_some_and(|tensor| {
        let numbers = tensor.elements();
        (0..tensor.shape().elements()).any(|index| is_large(numbers.float(index)))
    })
}

fn is_large(number: f32) -> bool {
    number.is_finite() && number.abs() >= LARGE
}

/// Returns true if the node is a convolution or matrix product.
fn sums_products(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Affine { .. })
}

/// Returns true if the node is pointwise, or a sum or mean of its operand.
fn is_cheap(node: &Node) -> bool {
    matches!(node.op.quant_rule(), QuantRule::Pointwise | QuantRule::AnyScale)
}

/// Returns why a node stays in float; `wide` are the wide values among its predecessors.
fn reason(graph: &Graph, node: &Node, wide: &BTreeSet<ValueId>) -> Option<String> {
    let softmax = matches!(node.op.quant_rule(), QuantRule::Fixed { .. });
    if !(is_cheap(node) || softmax) || quantizes(graph, node) {
        return None;
    }
    if let Some(Step::Apply(function, _)) = node.epilogue.steps.iter().find(|step| is_abrupt(step)) {
        return Some(format!("rounding the input of {} can change its result completely", function.name()));
    }
    if node.epilogue.steps.iter().any(|step| is_dwarfing(graph, step)) {
        return Some(format!(
            "it adds or inserts a constant of magnitude {LARGE} or more: 8 bits cannot resolve other numbers beside it"
        ));
    }
    if let Some(Step::Apply(function, _)) = node.epilogue.steps.iter().find(|step| is_wide(step)) {
        return Some(format!("8 bits are too imprecise for the input or result of {}", function.name()));
    }
    if let Some(by) = node.epilogue.steps.iter().find_map(|step| divisor(graph, step)) {
        return Some(format!("8 bits are too imprecise for the divisor {}", tensor_name(graph, by)));
    }
    if let Some(value) = node.uses().find(|value| wide.contains(value)) {
        return Some(format!("8 bits are too imprecise for its operand {}", tensor_name(graph, value)));
    }
    let sums = node.op.quant_rule() == QuantRule::AnyScale;
    let squares = node.operand(0).filter(|x| sums && is_square(graph, *x))?;
    Some(format!("it sums the squares {}: 8 bits are too imprecise for them", tensor_name(graph, squares)))
}

/// Returns the tensor that the step divides by.
fn divisor(graph: &Graph, step: &Step) -> Option<ValueId> {
    match step {
        Step::Apply(Function::Div, args) => match args.as_slice() {
            [Arg::Current, Arg::Value(value)] => Some(*value).filter(|value| graph.constant(*value).is_none()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns true if the node's result is wide after all steps.
fn yields_wide(graph: &Graph, node: &Node, wide: &BTreeSet<ValueId>) -> bool {
    let varying = |value: &ValueId| graph.constant(*value).is_none();
    let moves = node.op.quant_rule() == QuantRule::SameScale;
    // `None` if the number is a constant: its result is wide if the other operand is.
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
            // A logarithm maps all magnitudes to a small range.
            Function::Log => Some(false),
            _ if is_wide(step) || is_dwarfing(graph, step) => Some(true),
            Function::Mul | Function::Div if !meets => now,
            // Multiplying or dividing by a tensor normalizes the numbers, unless both are wide.
            Function::Mul => Some(now.unwrap_or(true) && others.all(|wide| wide)),
            Function::Div => Some(now.is_none()),
            _ if !step.is_exact() || matches!(function, Function::Clip | Function::HardSigmoid) => Some(false),
            _ if !meets => now,
            _ => Some(now == Some(true) || others.any(|wide| wide)),
        };
    }
    now == Some(true)
}

/// Returns the convolutions, matrix products and sums between the graph's inputs and a logarithm.
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
    // Starts at the graph's inputs: nodes after an activation belong to a network, not to a spectrogram.
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

/// Returns true if the node's epilogue takes a logarithm after exact steps only.
fn takes_log(node: &Node) -> bool {
    let steps = &node.epilogue.steps;
    let log = steps.iter().position(|step| matches!(step, Step::Apply(Function::Log, _)));
    log.is_some_and(|log| steps[..log].iter().all(Step::is_exact))
}

/// Returns true if the step is arithmetic that occurs in signal transforms; activations do not.
fn is_transform(step: &Step) -> bool {
    use Function::{Abs, Add, Div, Max, Min, Mul, Neg, Pow, Sqrt, Sub};
    matches!(step, Step::Apply(Abs | Add | Div | Max | Min | Mul | Neg | Pow | Sqrt | Sub, _))
}

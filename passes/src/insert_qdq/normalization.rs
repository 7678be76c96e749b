//! Finds normalizations that a model spells out in elementary operators, and treats each as one unit.
//!
//! Exporters write a normalization as 5 to 15 nodes, in many forms: with a division or a reciprocal, with the variance
//! as a mean of squared differences or as a difference of means, with the scale before or after. All forms have a
//! *statistic*: a sum of squares or of exponentials. A few numbers are computed from it, and these scale or shift all
//! other numbers. [`find`] starts at the statistic and collects the members of the normalization:
//!
//! - forwards: nodes that compute with the statistic, up to the nodes that apply it to the tensor; nodes that add the
//!   results of those; and a scale and bias after a reshape;
//! - backwards: nodes that the statistic is computed from and that only members read (squares, exponentials, means and
//!   differences).
//!
//! [`FORMS`] lists the known forms. Nodes before the normalization (an activation, for example) and after it are not
//! members.
//!
//! Not found here: normalizations that are one operator of the IR (`softmax`), and means that are folded into constants
//! (batch normalization).

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Arg, DType, Function, Graph, Node, NodeId, Op, QuantRule, Step, ValueId};

use crate::channel::literal;
use crate::functions::is_wide;

/// A normalization in a graph.
#[derive(Clone, Debug)]
pub(super) struct Normalization {
    /// Its nodes.
    pub(super) members: BTreeSet<NodeId>,
    /// Why its nodes stay in float.
    pub(super) reason: String,
}

/// The quantity that a normalization sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    /// The squared differences from the mean, over the last axes.
    Variance,
    /// The squared differences from the mean, over all axes except batch and channels.
    SpatialVariance,
    /// The squared differences from the mean, over groups of channels that a reshape put on one axis.
    GroupVariance,
    /// The mean of squares.
    MeanSquare,
    /// The sum of squares.
    SumOfSquares,
    /// The exponentials.
    Exponentials,
    /// The exponentials, if the logarithm of their sum is subtracted.
    LogOfExponentials,
}

/// For each statistic: the name of the normalization, and the quantity that 8 bits cannot hold.
const FORMS: &[(Statistic, &str, &str)] = &[
    (Statistic::Variance, "a layer normalization", "variance"),
    (Statistic::SpatialVariance, "an instance normalization", "variance"),
    (Statistic::GroupVariance, "a group normalization", "variance"),
    (Statistic::MeanSquare, "a root mean square normalization", "mean square"),
    (Statistic::SumOfSquares, "an L2 normalization", "sum of squares"),
    (Statistic::Exponentials, "a softmax", "exponentials"),
    (Statistic::LogOfExponentials, "a log-softmax", "exponentials"),
];

/// Returns the normalizations of a graph, in the order of their statistics. `wide` are the values whose small numbers
/// matter as much as the large ones.
pub(super) fn find(graph: &Graph, order: &[NodeId], wide: &BTreeSet<ValueId>) -> Vec<Normalization> {
    let mut taken = BTreeSet::new();
    let mut found = Vec::new();
    for sum in order.iter().map(|id| graph.node(*id)).filter(|node| matches!(node.op, Op::Reduce(_))) {
        if let Some(normalization) = (!taken.contains(&sum.id)).then(|| at(graph, wide, sum)).flatten() {
            taken.extend(normalization.members.iter().copied());
            found.push(normalization);
        }
    }
    found
}

/// Returns the normalization whose statistic the node `sum` computes.
fn at(graph: &Graph, wide: &BTreeSet<ValueId>, sum: &Node) -> Option<Normalization> {
    let Op::Reduce(reduce) = &sum.op else { return None };
    let of = summand(graph, sum, reduce).filter(|_| graph.ty(sum.output()).dtype == DType::F32)?;
    let elements = |value: ValueId| graph.ty(value).shape.elements();
    let whole = elements(sum.operand(0)?);
    let mut members = BTreeSet::from([sum.id]);
    // Forwards. A value still counts as a statistic if it is smaller than the tensor, or wide.
    let mut derived = BTreeSet::from([sum.output()]);
    let mut to_follow = vec![sum.output()];
    let mut applied = false;
    while let Some(value) = to_follow.pop() {
        for node in graph.users(value).into_iter().map(|user| graph.node(user)) {
            if !(is_map(node) || moves(node)) || !members.insert(node.id) {
                continue;
            }
            match elements(node.output()) < whole || wide.contains(&node.output()) {
                true if derived.insert(node.output()) => to_follow.push(node.output()),
                true => {}
                false => applied = true,
            }
        }
    }
    let divides =
        |id: &NodeId| graph.node(*id).epilogue.steps.iter().any(|step| is_wide(step) || applies(step, Function::Div));
    if !applied || !members.iter().any(divides) {
        return None;
    }
    join_sums(graph, sum.id, &mut members);
    join_scales(graph, &mut members);
    join_sources(graph, &mut members);
    let means = members.iter().map(|id| graph.node(*id)).filter(|node| node.id != sum.id);
    let center = means.filter(|node| is_total(node)).find_map(|node| node.operand(0).filter(|x| !derived.contains(x)));
    let logarithm = |id: &NodeId| graph.node(*id).epilogue.steps.iter().any(|step| applies(step, Function::Log));
    let statistic = match of {
        Summand::Exponentials if members.iter().any(logarithm) => Statistic::LogOfExponentials,
        Summand::Exponentials => Statistic::Exponentials,
        Summand::Squares if center.is_some_and(|x| is_grouped(graph, x, reduce)) => Statistic::GroupVariance,
        Summand::Squares if center.is_some() && is_spatial(graph, sum, reduce) => Statistic::SpatialVariance,
        Summand::Squares if center.is_some() => Statistic::Variance,
        Summand::Squares if is_mean(graph, sum, reduce) => Statistic::MeanSquare,
        Summand::Squares => Statistic::SumOfSquares,
    };
    let (_, name, what) = FORMS.iter().find(|(form, ..)| *form == statistic)?;
    Some(Normalization { members, reason: format!("{name} stays in f32: 8 bits are too imprecise for its {what}") })
}

/// The terms that a statistic adds.
enum Summand {
    Squares,
    Exponentials,
}

fn summand(graph: &Graph, sum: &Node, reduce: &Reduce) -> Option<Summand> {
    let x = sum.operand(0)?;
    let exponentials = || graph.producer(x)?.epilogue.steps.last().filter(|step| applies(step, Function::Exp));
    match reduce.kind {
        ReduceKind::SumSquare => Some(Summand::Squares),
        ReduceKind::Sum | ReduceKind::Mean if is_square(graph, x) => Some(Summand::Squares),
        ReduceKind::Sum if exponentials().is_some() => Some(Summand::Exponentials),
        _ => None,
    }
}

/// Adds nodes that sum only results of members, as `x * inverse + (bias - mean * inverse)` does, and the nodes with one
/// operand between them.
fn join_sums(graph: &Graph, sum: NodeId, members: &mut BTreeSet<NodeId>) {
    // For each result that is computed from members alone, the nodes that would have to join.
    let mut follows: BTreeMap<ValueId, BTreeSet<NodeId>> = BTreeMap::new();
    let mut to_follow: Vec<ValueId> =
        members.iter().filter(|id| **id != sum).map(|id| graph.node(*id).output()).collect();
    follows.extend(to_follow.iter().map(|value| (*value, BTreeSet::new())));
    while let Some(value) = to_follow.pop() {
        for node in graph.users(value).into_iter().map(|user| graph.node(user)) {
            let exact = is_map(node) && node.epilogue.steps.iter().all(is_sum);
            if !exact || members.contains(&node.id) || follows.contains_key(&node.output()) {
                continue;
            }
            let varying: BTreeSet<ValueId> = node.uses().filter(|value| graph.constant(*value).is_none()).collect();
            if !varying.iter().all(|value| follows.contains_key(value)) {
                continue;
            }
            let mut beyond: BTreeSet<NodeId> = varying.iter().flat_map(|value| &follows[value]).copied().collect();
            beyond.insert(node.id);
            if varying.len() > 1 {
                members.append(&mut beyond);
            }
            follows.insert(node.output(), beyond);
            to_follow.push(node.output());
        }
    }
}

/// Adds the scale and bias after a normalization if only nodes that move elements lie between, as after the reshape of
/// a group normalization. The result is then rounded once.
fn join_scales(graph: &Graph, members: &mut BTreeSet<NodeId>) {
    let only_user = |value: ValueId| match graph.users(value).as_slice() {
        [user] if graph.use_count(value) == 1 => Some(graph.node(*user)),
        _ => None,
    };
    let behind = |id: &NodeId| {
        let moving = only_user(graph.node(*id).output()).filter(|node| moves(node) && node.epilogue.is_empty())?;
        let scaling = only_user(moving.output()).filter(|node| is_map(node) && is_scale(graph, node))?;
        Some([moving.id, scaling.id])
    };
    let joined: Vec<[NodeId; 2]> = members.iter().filter_map(behind).collect();
    members.extend(joined.into_iter().flatten());
}

/// Returns true if the node only multiplies by constants and adds constants.
fn is_scale(graph: &Graph, node: &Node) -> bool {
    let varying = |value: ValueId| graph.constant(value).is_none();
    let scales = |step: &Step| applies(step, Function::Mul) || applies(step, Function::Div) || is_sum(step);
    !node.epilogue.values().any(varying) && node.epilogue.steps.iter().all(scales)
}

/// Adds the nodes that the statistic is computed from, if only members read them.
fn join_sources(graph: &Graph, members: &mut BTreeSet<NodeId>) {
    let mut to_join: Vec<NodeId> = members.iter().copied().collect();
    while let Some(member) = to_join.pop() {
        for node in graph.node(member).uses().filter_map(|value| graph.producer(value)) {
            if !members.contains(&node.id) && is_source(graph, node, members) {
                members.insert(node.id);
                to_join.push(node.id);
            }
        }
    }
}

/// Returns true if only members read the node and the statistic is computed from it.
fn is_source(graph: &Graph, node: &Node, members: &BTreeSet<NodeId>) -> bool {
    let shown = graph.outputs().iter().any(|output| output.value == node.output());
    if shown || !graph.users(node.output()).iter().all(|user| members.contains(user)) {
        return false;
    }
    let exponential = || node.epilogue.steps.last().is_some_and(|step| applies(step, Function::Exp));
    let differs = || node.uses().filter_map(|value| reduced(graph, value)).any(|of| node.uses().any(|x| x == of));
    match node.op {
        Op::Map(_) => is_square(graph, node.output()) || exponential() || differs(),
        // A mean, sum or maximum of a tensor that members also read.
        _ => reduced(graph, node.output())
            .is_some_and(|of| graph.users(of).iter().any(|user| members.contains(user) && *user != node.id)),
    }
}

/// Returns the tensor whose sum, mean or maximum the value is; nodes that move elements may lie between.
fn reduced(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = graph.producer(value)?;
    match &node.op {
        Op::Reduce(Reduce { kind: ReduceKind::Sum | ReduceKind::Mean | ReduceKind::Max, .. }) => node.operand(0),
        _ if moves(node) => reduced(graph, node.operand(0)?),
        _ => None,
    }
}

/// Returns true if the node computes a sum or a mean.
fn is_total(node: &Node) -> bool {
    matches!(&node.op, Op::Reduce(Reduce { kind: ReduceKind::Sum | ReduceKind::Mean, .. }))
}

fn is_map(node: &Node) -> bool {
    matches!(node.op, Op::Map(_))
}

/// Returns true if the node only moves the elements of one tensor.
fn moves(node: &Node) -> bool {
    let one = node.operands.iter().flatten().count() == 1;
    one && node.op.quant_rule() == QuantRule::SameScale && !matches!(node.op, Op::Reduce(_) | Op::Pool(_))
}

fn applies(step: &Step, function: Function) -> bool {
    matches!(step, Step::Apply(applied, _) if *applied == function)
}

fn is_sum(step: &Step) -> bool {
    [Function::Add, Function::Sub].iter().any(|function| applies(step, *function))
}

/// Returns true if the statistic is a mean: the sum of squares is divided by a constant.
fn is_mean(graph: &Graph, sum: &Node, reduce: &Reduce) -> bool {
    let scales = |step: &Step| match step {
        Step::Apply(Function::Mul | Function::Div, args) => args.iter().any(|arg| literal(graph, arg).is_some()),
        _ => false,
    };
    reduce.kind == ReduceKind::Mean || sum.epilogue.steps.first().is_some_and(scales)
}

/// Returns true if the reduction covers all axes after batch and channels, and there are at least two of them.
fn is_spatial(graph: &Graph, sum: &Node, reduce: &Reduce) -> bool {
    let rank = sum.operand(0).map_or(0, |x| graph.ty(x).shape.rank());
    rank > 3 && reduce.axes.iter().copied().eq(2..rank)
}

/// Returns true if axis 1 of the tensor holds groups of another tensor's channels, and the reduction covers each group.
fn is_grouped(graph: &Graph, x: ValueId, reduce: &Reduce) -> bool {
    let channels = |value: ValueId| graph.ty(value).shape.get(1).copied();
    let source = graph.producer(x).filter(|node| matches!(node.op, Op::Reshape(_))).and_then(|node| node.operand(0));
    let (Some(groups), Some(Some(of))) = (channels(x), source.map(channels)) else { return false };
    let axes = reduce.axes.iter().copied().eq(2..graph.ty(x).shape.rank());
    axes && groups < of && of.is_multiple_of(groups)
}

/// Returns true if the value is the square of another value, possibly scaled or moved.
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
        // The operand times itself. Other steps before the product would make another function, such as a GELU.
        [Arg::Current, Arg::Value(by)] | [Arg::Value(by), Arg::Current] => {
            matches!(node.op, Op::Map(_)) && node.operand(0) == Some(*by) && steps[..last].iter().all(scales)
        }
        _ => false,
    }
}

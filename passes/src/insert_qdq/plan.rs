//! Decides which nodes compute on integers, and the scale and zero point of each tensor between them.
//!
//! A node can compute on integers if its rule has an integer form, its operands are floats with known ranges or are
//! already quantized, its weights are constant, and 8 bits hold its numbers ([`sensitive`](super::sensitive),
//! [`noise_gain`]). Convolutions, matrix products and sums compute on integers whenever they can. Other nodes do so
//! only if an integer node reads their result; otherwise data would be converted to integers and back for nothing.
//!
//! Operators that keep the scale unite the tensors that they read and write into a group. A group has one scale, which
//! covers the ranges of all its tensors.

use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::{DType, Granularity, Graph, Node, NodeId, Precision, QuantParams, QuantRule, ValueId};

use super::effective_range::effective_range;
use super::noise_gain;
use super::normalization::Normalization;
use super::sensitive::{Sensitive, sensitive};
use crate::calibrate::{CalibrationTable, Range};
use crate::channel::{f32_constant, weight_axis};
use crate::functions::is_tabular;
use crate::pass::PassOptions;
use crate::quant::{KEPT, dequantized, is_carried, not_eight_bits, tensor_name};

/// The decisions that `insert_qdq` applies.
pub(super) struct Plan {
    /// The nodes that will compute on integers, in topological order.
    pub(super) int8: Vec<NodeId>,
    /// The quantization parameters of each tensor to quantize.
    pub(super) params: BTreeMap<ValueId, QuantParams>,
    /// For each other node, why it stays in float.
    pub(super) float: BTreeMap<NodeId, String>,
    /// The normalizations among the nodes that stay in float.
    pub(super) normalizations: Vec<Normalization>,
}

/// Returns the tensors that calibration must observe: those whose ranges [`INT8`](crate::INT8) looks up in a
/// calibration table. `graph` is the graph as [`SIMPLIFY`](crate::SIMPLIFY) leaves it.
#[must_use]
pub fn quantized_tensors(graph: &Graph, options: &PassOptions) -> Vec<ValueId> {
    let any = Range { min: -1.0, max: 1.0 };
    let plan = Plan::new(graph, options, &|_| Some(any), RangeSource::Placeholder);
    plan.params.into_keys().filter(|id| graph.constant(*id).is_none()).collect()
}

/// Returns the nodes that will compute on integers with this table, in topological order.
pub(crate) fn quantized_nodes(graph: &Graph, options: &PassOptions, table: &CalibrationTable) -> Vec<NodeId> {
    Plan::of_table(graph, options, table).int8
}

/// A function that returns the range of a tensor by its name.
type Ranges<'a> = &'a dyn Fn(&str) -> Option<Range>;

/// The source of the ranges. Decisions may depend on the quantization step only if they come from a table.
#[derive(Clone, Copy, PartialEq)]
enum RangeSource {
    Table,
    Placeholder,
}

impl Plan {
    pub(super) fn of_table(graph: &Graph, options: &PassOptions, table: &CalibrationTable) -> Self {
        Plan::new(graph, options, &|name| table.ranges.get(name).copied(), RangeSource::Table)
    }

    fn new(graph: &Graph, options: &PassOptions, ranges: Ranges<'_>, source: RangeSource) -> Self {
        let order = graph.topo();
        let (mut int8, mut float) = (BTreeSet::new(), BTreeMap::new());
        let Sensitive { mut reasons, normalizations } = sensitive(graph);
        let mut normalizing: BTreeMap<NodeId, &str> = BTreeMap::new();
        for Normalization { members, reason } in &normalizations {
            normalizing.extend(members.iter().map(|id| (*id, reason.as_str())));
        }
        for id in &order {
            let node = graph.node(*id);
            let decided = node.precision.filter(|precision| *precision != Precision::Int8);
            let decided = decided.map(|precision| format!("the graph asks for {precision}"));
            let kept = || options.keeps_float(&node.origin).then(|| KEPT.to_owned());
            let normalizes = || normalizing.get(id).map(|reason| (*reason).to_owned());
            let own = || obstacle(graph, node).or_else(|| reasons.remove(id));
            match decided.or_else(kept).or_else(normalizes).or_else(own) {
                None => _ = int8.insert(*id),
                Some(reason) => _ = float.insert(*id, reason),
            }
        }
        let groups = loop {
            // Readers first: if a node loses its last integer reader, its producers may lose theirs.
            for id in order.iter().rev().filter(|id| int8.contains(id)).collect::<Vec<_>>() {
                if let Some(reason) = needless(graph, graph.node(*id), &int8) {
                    int8.remove(id);
                    float.insert(*id, reason);
                }
            }
            let groups = Groups::new(graph, &int8, ranges);
            let params = |value| groups.range(value).map(|_| groups.params(options, value));
            let noisy =
                |node| if source == RangeSource::Table { noise_gain::reason(graph, node, params) } else { None };
            let reason = |id: &NodeId| {
                let node = graph.node(*id);
                Some((*id, unknown(graph, node, &groups).or_else(|| noisy(node))?))
            };
            let dropped: Vec<_> = int8.iter().filter_map(reason).collect();
            if dropped.is_empty() {
                break groups;
            }
            dropped.iter().for_each(|(id, _)| _ = int8.remove(id));
            float.extend(dropped);
        };
        let mut params = BTreeMap::new();
        for node in int8.iter().map(|id| graph.node(*id)) {
            let written = Some(node.output()).filter(|y| is_read(graph, *y, &int8) && !is_carried(graph, *y));
            for value in moved(graph, node).chain(activations(graph, node)).chain(written) {
                params.entry(value).or_insert_with(|| groups.params(options, value));
            }
        }
        for node in int8.iter().map(|id| graph.node(*id)) {
            narrow(graph, options, node, &groups, &mut params);
        }
        Plan { int8: order.into_iter().filter(|id| int8.contains(id)).collect(), params, float, normalizations }
    }
}

/// Returns why a node has no integer form, whatever the ranges.
fn obstacle(graph: &Graph, node: &Node) -> Option<String> {
    let op = node.op.name();
    let float = |id: ValueId| graph.ty(id).dtype == DType::F32;
    let (reason, factors) = match node.op.quant_rule() {
        QuantRule::FloatOnly => return Some(format!("{op} has no integer form")),
        QuantRule::Affine { weight, bias, .. } => {
            (factor_obstacle(graph, node, weight, bias), [node.operand(weight), node.operand(bias)])
        }
        QuantRule::SameScale => (infinite_number(graph, node), [None; 2]),
        _ => (None, [None; 2]),
    };
    let activation = |id: &ValueId| !factors.contains(&Some(*id));
    let reason = reason.or_else(|| node.uses().filter(activation).find_map(|id| not_eight_bits(graph, id)));
    if reason.is_some() {
        return reason;
    }
    let operand = node.operand(0)?;
    if node.outputs.len() != 1 || !float(node.output()) || !float(operand) {
        return Some(format!("{op} is not on f32"));
    }
    if graph.constant(operand).is_some() && activations(graph, node).next().is_none() {
        return Some("it reads only constants".to_owned());
    }
    None
}

/// Returns why the weights or the bias of a convolution or matrix product cannot be integers.
fn factor_obstacle(graph: &Graph, node: &Node, weight: usize, bias: usize) -> Option<String> {
    let ready = |id| {
        is_finite(graph, id) == Some(true) || dequantized(graph, id).is_some_and(|(q, _)| graph.constant(q).is_some())
    };
    if !node.operand(weight).is_some_and(ready) {
        let computed =
            node.operand(weight).is_some_and(|w| graph.constant(w).is_none() && dequantized(graph, w).is_none());
        return Some(match computed {
            true => {
                format!("both operands of {} are computed at run time: int8 needs constant weights", node.op.name())
            }
            false => "its weights are not all finite numbers of type f32".to_owned(),
        });
    }
    if node.operand(bias).is_some_and(|b| !ready(b)) {
        return Some("its bias is not a constant of finite numbers".to_owned());
    }
    let (w, params) = node.operand(weight).and_then(|w| dequantized(graph, w))?;
    let along = weight_axis(node.op.quant_rule(), &graph.ty(w).shape);
    let per_channel = along.is_some_and(|axis| params.granularity == Granularity::PerChannel { axis });
    let fits = (params.is_per_tensor() || per_channel) && matches!(params.storage, DType::I8 | DType::U8);
    (!fits).then(|| "its weights are not quantized to i8 or u8 per output channel".to_owned())
}

/// For an operator that moves or selects numbers, returns which of its constants is infinite or NaN. No scale
/// represents such a number.
fn infinite_number(graph: &Graph, node: &Node) -> Option<String> {
    if let Some(id) = node.operands.iter().flatten().find(|id| is_finite(graph, **id) == Some(false)) {
        return Some(format!("its operand {} is not a constant of finite numbers", tensor_name(graph, *id)));
    }
    let filled = node.operand(0).and_then(|x| node.op.fill_value(&graph.ty(x).shape));
    filled
        .filter(|number| !number.is_finite())
        .map(|number| format!("it inserts {number:?}, which no integer represents"))
}

/// Returns true if all numbers of an f32 constant are finite; `None` for any other value.
fn is_finite(graph: &Graph, id: ValueId) -> Option<bool> {
    let tensor = f32_constant(graph, id)?;
    let numbers = tensor.elements();
    Some((0..tensor.shape().elements()).all(|index| numbers.float(index).is_finite()))
}

/// Returns why a node that could compute on integers should not.
fn needless(graph: &Graph, node: &Node, int8: &BTreeSet<NodeId>) -> Option<String> {
    let wanted = stands_alone(graph, node) || is_read(graph, node.output(), int8);
    (!wanted).then(|| "no integer node reads its result".to_owned())
}

/// Returns which range is missing for the node to compute on integers.
fn unknown(graph: &Graph, node: &Node, groups: &Groups) -> Option<String> {
    let written = (!stands_alone(graph, node)).then(|| node.output());
    let unknown = activations(graph, node).chain(written).find(|value| groups.range(*value).is_none())?;
    Some(format!("the calibration table has no range for {}", tensor_name(graph, unknown)))
}

/// Returns true if the node gains from integers even if only float nodes read its result.
fn stands_alone(graph: &Graph, node: &Node) -> bool {
    let sums = matches!(node.op.quant_rule(), QuantRule::Affine { .. } | QuantRule::AnyScale);
    sums || is_carried(graph, node.output())
}

/// Returns the float tensors that the node's operands and steps read and that are neither constant nor quantized.
fn activations<'g>(graph: &'g Graph, node: &'g Node) -> impl Iterator<Item = ValueId> + 'g {
    let fresh = |id: &ValueId| {
        graph.ty(*id).dtype == DType::F32 && graph.constant(*id).is_none() && dequantized(graph, *id).is_none()
    };
    node.uses().filter(fresh)
}

/// Returns true if an integer node reads the value.
fn is_read(graph: &Graph, value: ValueId, int8: &BTreeSet<NodeId>) -> bool {
    graph.users(value).iter().any(|user| int8.contains(user))
}

/// Returns the float operands, constants included, of an operator that moves elements. They share one scale.
fn moved<'g>(graph: &'g Graph, node: &'g Node) -> impl Iterator<Item = ValueId> + 'g {
    let same_scale = node.op.quant_rule() == QuantRule::SameScale;
    let float = |id: &ValueId| graph.ty(*id).dtype == DType::F32 && dequantized(graph, *id).is_none();
    node.operands.iter().flatten().copied().filter(move |id| same_scale && float(id))
}

/// Narrows the range of a tensor that only a table reads: drops the parts on which the table is constant.
fn narrow(
    graph: &Graph,
    options: &PassOptions,
    node: &Node,
    groups: &Groups,
    params: &mut BTreeMap<ValueId, QuantParams>,
) {
    let (Some(x), true) = (node.operand(0), node.op.quant_rule() == QuantRule::Pointwise) else { return };
    let (Some(range), Some(y)) = (groups.range(x), params.get(&node.output())) else { return };
    let alone = groups.is_alone(x) && graph.use_count(x) == 1 && graph.producer(x).is_some();
    if alone && params.contains_key(&x) && is_tabular(&node.epilogue.steps) {
        let Range { min, max } = effective_range(&node.epilogue, range, y);
        let (storage, symmetry) = (options.activation_storage, options.activation_symmetry);
        params.insert(x, QuantParams::from_range(min, max, storage, symmetry, false));
    }
}

/// Groups of tensors that share a scale (a union-find over values), and the range of each group.
struct Groups {
    parent: Vec<usize>,
    /// The range that covers all tensors of the group, by the group's root.
    ranges: BTreeMap<usize, Range>,
    /// The number of tensors in the group, by the group's root.
    sizes: BTreeMap<usize, usize>,
    /// The parameters of results whose operator fixes them (softmax), if the result is alone in its group.
    fixed: BTreeMap<usize, QuantParams>,
}

impl Groups {
    fn new(graph: &Graph, int8: &BTreeSet<NodeId>, ranges: Ranges<'_>) -> Self {
        let mut groups = Groups {
            parent: (0..graph.value_count()).collect(),
            ranges: BTreeMap::new(),
            sizes: BTreeMap::new(),
            fixed: BTreeMap::new(),
        };
        let mut members: BTreeMap<ValueId, Option<Range>> = BTreeMap::new();
        let mut fixed = Vec::new();
        for node in int8.iter().map(|id| graph.node(*id)) {
            let shared: Vec<ValueId> = moved(graph, node).collect();
            shared.windows(2).for_each(|w| groups.unite(w[0], w[1]));
            // A node with steps computes new numbers, so its result has its own scale.
            if let (Some(first), true) = (shared.first(), node.epilogue.is_empty() && !is_carried(graph, node.output()))
            {
                groups.unite(*first, node.output());
            }
            for value in shared.into_iter().chain(activations(graph, node)).chain([node.output()]) {
                members.entry(value).or_insert_with(|| match f32_constant(graph, value) {
                    Some(tensor) => tensor.to_f32s().map(|numbers| covering(&numbers)),
                    None => ranges(&tensor_name(graph, value)),
                });
            }
            if let (QuantRule::Fixed { scale, zero_point }, true) = (node.op.quant_rule(), node.epilogue.is_empty()) {
                let params = QuantParams::per_tensor(DType::U8, scale, zero_point);
                let real = |stored: i32| (stored - zero_point) as f32 * scale;
                members.insert(node.output(), Some(Range { min: real(0), max: real(255) }));
                fixed.push((node.output(), params));
            }
        }
        for (value, range) in members {
            let root = groups.root(value);
            *groups.sizes.entry(root).or_default() += 1;
            let Some(range) = range else { continue };
            let union = |a: &mut Range| *a = Range { min: a.min.min(range.min), max: a.max.max(range.max) };
            groups.ranges.entry(root).and_modify(union).or_insert(range);
        }
        for (value, params) in fixed {
            let root = groups.root(value);
            if groups.sizes[&root] == 1 {
                groups.fixed.insert(root, params);
            }
        }
        groups
    }

    fn root(&self, value: ValueId) -> usize {
        let mut at = value.index();
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    fn unite(&mut self, a: ValueId, b: ValueId) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }

    /// Returns the range that covers the group of a value.
    fn range(&self, value: ValueId) -> Option<Range> {
        self.ranges.get(&self.root(value)).copied()
    }

    /// Returns true if no other tensor shares the value's scale.
    fn is_alone(&self, value: ValueId) -> bool {
        self.sizes.get(&self.root(value)) == Some(&1)
    }

    fn params(&self, options: &PassOptions, value: ValueId) -> QuantParams {
        let storage = options.activation_storage;
        match self.fixed.get(&self.root(value)) {
            Some(fixed) if fixed.storage == storage => fixed.clone(),
            _ => {
                let Range { min, max } = self.range(value).expect("a node without ranges is not on integers");
                QuantParams::from_range(min, max, storage, options.activation_symmetry, false)
            }
        }
    }
}

fn covering(numbers: &[f32]) -> Range {
    let fold = |f: fn(f32, f32) -> f32| numbers.iter().copied().fold(0.0, f);
    Range { min: fold(f32::min), max: fold(f32::max) }
}

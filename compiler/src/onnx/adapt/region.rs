//! Operators with subgraphs: If, Loop and Scan.
//!
//! A subgraph becomes a body. Names that it takes from around it become captured operands, those of constants become
//! constants of the body. An If whose condition is known is replaced by the branch that is taken; a Loop whose number of
//! turns is known is a `scan`.

use std::collections::{BTreeSet, HashMap};

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::r#if::If;
use eightfold_ir::op::r#loop::Loop;
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::scan::Scan;
use eightfold_ir::{Body as IrBody, DType, Epilogue, Graph, Op, Origin, Shape, Tensor, TensorType, ValueId};

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};
use crate::onnx::importer::{Operand, Scope, Slot};
use crate::onnx::model::Body;
use crate::onnx::names::Names;

/// A captured value that is computed from constants alone and has at most this many elements is a constant of the body, so
/// that shapes inside it are known.
const MOST_KNOWN: usize = 1 << 10;

/// The greatest number of turns for which a Loop becomes a `scan`, which has the number of each turn in a constant.
const MOST_NUMBERS: usize = 1 << 20;

/// A subgraph as a graph of its own.
struct Nested {
    graph: Graph,
    /// The values that the body's last inputs stand for.
    captures: Vec<ValueId>,
}

pub(super) fn if_(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let condition = a.operand(0)?;
    if a.dtype(&condition) != DType::Bool || a.shape(&condition).elements() != 1 {
        return Err(broken("the condition must be one truth value"));
    }
    if let Some(holds) = truth(a, Some(&condition))? {
        let (name, other) = if holds { ("then_branch", "else_branch") } else { ("else_branch", "then_branch") };
        a.ignore(other);
        let body = a.body(name)?;
        without_inputs(&body, name)?;
        let path = prefix(a);
        let outputs = (a.expand)(a.importer, &body, a.opsets, &path).map_err(|e| AdaptError::Model(Box::new(e)))?;
        return outputs.ok_or(AdaptError::Lost);
    }
    let branches = ["then_branch", "else_branch"].map(|name| a.body(name).map(|body| (name, body)));
    let [then, otherwise] = branches;
    let (then, otherwise) = (then?, otherwise?);
    without_inputs(&then.1, then.0)?;
    without_inputs(&otherwise.1, otherwise.0)?;
    let names: BTreeSet<&str> = then.1.captures().into_iter().chain(otherwise.1.captures()).collect();
    let (first, second) = (nested(a, &then.1, &[], &names)?, nested(a, &otherwise.1, &[], &names)?);
    let op = If { then: IrBody::new(first.graph), otherwise: IrBody::new(second.graph) };
    let condition = a.place(&condition);
    emit(a, op, [Some(condition)].into_iter().chain(first.captures.into_iter().map(Some)).collect())
}

pub(super) fn scan(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let body = a.body("body")?;
    let Some(scanned) = a.int("num_scan_inputs")?.and_then(|count| usize::try_from(count).ok()) else {
        return Err(broken("attribute num_scan_inputs is missing"));
    };
    if a.version < 9 {
        return batched_scan(a, &body, scanned);
    }
    let operands = a.operands()?;
    let Some(states) = operands.len().checked_sub(scanned) else {
        return Err(broken(format!("takes {scanned} scanned operands, got {} operands", operands.len())));
    };
    let lists = ["scan_input_axes", "scan_input_directions", "scan_output_axes", "scan_output_directions"];
    let [input_axes, reverse, output_axes, output_reverse] = lists.map(|name| a.ints(name));
    let axes = listed(input_axes?, scanned)?;
    let axes: Sizes = axes
        .iter()
        .zip(&operands[states..])
        .map(|(list, operand)| axis(*list, a.shape(operand).rank()))
        .collect::<Result<_, _>>()?;
    let reverse = flags(&listed(reverse?, scanned)?)?;
    let stacked = body.outputs.len().saturating_sub(states);
    let output_axes = listed(output_axes?, stacked)?;
    let output_reverse = flags(&listed(output_reverse?, stacked)?)?;
    let operands = operands.iter().map(|operand| a.place(operand)).collect::<Vec<_>>();
    let Some(count) = axes.first().map(|axis| a.importer.graph.ty(operands[states]).shape[*axis]) else {
        return Err(broken("attribute num_scan_inputs must be at least 1"));
    };
    let inputs = entering(&a.importer.graph, &operands, states, &axes);
    let names = body.captures();
    let Nested { graph, captures } = nested(a, &body, &inputs, &names)?;
    // Axes of stacked results may count from the end.
    let ranks = graph.outputs().iter().skip(states).map(|output| graph.ty(output.value).shape.rank() + 1);
    let output_axes: Sizes =
        output_axes.iter().zip(ranks).map(|(list, rank)| axis(*list, rank)).collect::<Result<_, _>>()?;
    let op = Scan { count, states, axes, reverse, output_axes, output_reverse, body: IrBody::new(graph) };
    emit(a, op, operands.into_iter().chain(captures).map(Some).collect())
}

/// Scan of opset 8: all operands have a batch axis, and each element of the batch is a scan of its own.
fn batched_scan(a: &mut Adapt<'_, '_>, body: &Body, scanned: usize) -> Result<Outputs, AdaptError> {
    if a.optional(0).is_some() {
        return Err(unsupported("sequence_lens is given"));
    }
    let operands = (1..a.inputs.len()).map(|index| a.operand(index)).collect::<Result<Vec<_>, _>>()?;
    let Some(states) = operands.len().checked_sub(scanned).filter(|_| scanned > 0) else {
        return Err(broken(format!("takes {scanned} scanned operands, got {} operands", operands.len())));
    };
    let directions = a.ints("directions")?;
    let reverse = flags(&listed(directions, scanned)?)?;
    if operands.iter().enumerate().any(|(index, x)| a.shape(x).rank() < 1 + usize::from(index >= states)) {
        return Err(broken("operands have axes for the batch and for the sequence"));
    }
    let operands = operands.iter().map(|operand| a.place(operand)).collect::<Vec<_>>();
    let all = vec![0; operands.len()];
    let batch = a.importer.graph.ty(operands[0]).shape[0];
    let elements = entering(&a.importer.graph, &operands, 0, &all);
    let mut outer = Graph::new("element");
    let values: Vec<ValueId> =
        elements.iter().enumerate().map(|(index, ty)| outer.add_input(&format!("x{index}"), ty.clone())).collect();
    let axes: Sizes = Sizes::from_elem(0, scanned);
    let count = elements[states].shape[0];
    let inputs = entering(&outer, &values, states, &axes);
    let Nested { graph, captures } = nested(a, body, &inputs, &body.captures())?;
    let others: Vec<ValueId> = captures
        .iter()
        .enumerate()
        .map(|(index, id)| outer.add_input(&format!("c{index}"), a.importer.graph.ty(*id).clone()))
        .collect();
    let (output_axes, output_reverse) = Default::default();
    let inner = Scan { count, states, axes, reverse, output_axes, output_reverse, body: IrBody::new(graph) };
    let used: Vec<Option<ValueId>> = values.into_iter().chain(others).map(Some).collect();
    let first = outer.add("", inner, &used, a.origin.clone())?;
    let results = outer.producer(first).map(|node| node.outputs.clone()).unwrap_or_default();
    results.iter().enumerate().for_each(|(index, id)| outer.add_output(&format!("y{index}"), *id));
    let (reverse, output_axes, output_reverse) = Default::default();
    let body = IrBody::new(outer);
    let op = Scan { count: batch, states: 0, axes: all.into(), reverse, output_axes, output_reverse, body };
    emit(a, op, operands.into_iter().chain(captures).map(Some).collect())
}

pub(super) fn loop_(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let body = a.body("body")?;
    let (trip, condition) = (a.optional(0), a.optional(1));
    let known_trip = match &trip {
        Some(trip) => a.known(trip)?.and_then(|tensor| tensor.to_ints()).and_then(|list| list.first().copied()),
        None => None,
    };
    let known_condition = if condition.is_none() { Some(true) } else { truth(a, condition.as_ref())? };
    let states = (2..a.inputs.len()).map(|index| a.operand(index)).collect::<Result<Vec<_>, _>>()?;
    let states: Vec<ValueId> = states.iter().map(|operand| a.place(operand)).collect();
    let scalar = |dtype| TensorType::new(dtype, Shape::scalar());
    let mut inputs = vec![scalar(DType::I64), scalar(DType::Bool)];
    inputs.extend(entering(&a.importer.graph, &states, states.len(), &[]));
    let names = body.captures();
    let Nested { mut graph, captures } = nested(a, &body, &inputs, &names)?;
    let goes_on = graph.outputs().first().and_then(|output| graph.constant(output.value)).and_then(Tensor::to_ints);
    let goes_on = goes_on.is_some_and(|list| list.iter().all(|holds| *holds != 0));
    let count = match (known_trip, known_condition) {
        (_, Some(false)) => Some(0),
        (Some(trip), Some(true)) if goes_on => Some(trip.max(0) as usize),
        _ => None,
    };
    let others = states.iter().chain(&captures).copied();
    if let Some(count) = count.filter(|count| *count <= MOST_NUMBERS) {
        // The condition is always true: it is no input, and no output.
        let all = graph.inputs().to_vec();
        let (own, rest) = all[2..].split_at(states.len());
        let kept: Vec<ValueId> = own.iter().chain([&all[0]]).chain(rest).copied().collect();
        graph.set_outputs(graph.outputs()[1..].to_vec());
        graph.keep_inputs(&kept);
        let numbers: Vec<i64> = (0..count as i64).collect();
        let numbers = a.place(&Operand::constant("", Tensor::int(DType::I64, &[count], &numbers)));
        let (reverse, output_axes, output_reverse) = Default::default();
        let (states_count, axes) = (states.len(), Sizes::from_elem(0, 1));
        let body = IrBody::new(graph);
        let op = Scan { count, states: states_count, axes, reverse, output_axes, output_reverse, body };
        let operands = states.iter().copied().chain([numbers]).chain(captures).map(Some).collect();
        return emit(a, op, operands);
    }
    let given = a.origin.names().next().and_then(|name| a.importer.max_trip.get(name)).copied();
    let Some(max_trip) = given.or(known_trip.map(|trip| trip.max(0) as usize)) else {
        let name = a.origin.names().next().unwrap_or_default();
        return Err(unsupported(format!("nothing bounds its number of turns: --max-trip {name}=N does")));
    };
    if body.outputs.len() > 1 + states.len() {
        a.importer.bounded.push((a.origin.names().next().unwrap_or_default().to_owned(), max_trip));
    }
    let [trip, condition] = [trip, condition].map(|operand| operand.map(|operand| a.place(&operand)));
    let operands = [trip, condition].into_iter().chain(others.map(Some)).collect();
    emit(a, Loop { max_trip, states: states.len(), body: IrBody::new(graph) }, operands)
}

/// The truth value of an operand, if it is known.
fn truth(a: &mut Adapt<'_, '_>, operand: Option<&Operand>) -> Result<Option<bool>, AdaptError> {
    let Some(operand) = operand else { return Ok(None) };
    let ints = a.known(operand)?.and_then(|tensor| tensor.to_ints());
    Ok(ints.and_then(|list| list.first().map(|holds| *holds != 0)))
}

fn without_inputs(body: &Body, name: &str) -> Result<(), AdaptError> {
    if body.inputs.is_empty() { Ok(()) } else { Err(broken(format!("{name} has inputs"))) }
}

/// The prefix of names in a subgraph.
fn prefix(a: &Adapt<'_, '_>) -> String {
    format!("{}/", a.origin.names().next().unwrap_or_default())
}

/// The list, which has `count` entries, or zeros.
fn listed(list: Option<Vec<i64>>, count: usize) -> Result<Vec<i64>, AdaptError> {
    match list {
        Some(list) if list.len() == count => Ok(list),
        Some(list) => Err(broken(format!("a list of axes or directions has {} entries, expected {count}", list.len()))),
        None => Ok(vec![0; count]),
    }
}

/// Directions as flags; none if all are forward.
fn flags(list: &[i64]) -> Result<Sizes, AdaptError> {
    match list.iter().find(|flag| !(0..=1).contains(*flag)) {
        Some(flag) => Err(broken(format!("a direction is {flag}, expected 0 or 1"))),
        None if list.iter().all(|flag| *flag == 0) => Ok(Sizes::new()),
        None => Ok(list.iter().map(|flag| *flag as usize).collect()),
    }
}

/// The types of these values as they enter a body: the first are states, the others lose an axis.
fn entering(graph: &Graph, values: &[ValueId], states: usize, axes: &[usize]) -> Vec<TensorType> {
    let ty = |(index, id): (usize, &ValueId)| {
        let ty = graph.ty(*id);
        let mut extents = ty.shape.to_vec();
        if let Some(axis) = index.checked_sub(states).and_then(|index| axes.get(index)) {
            extents.remove(*axis);
        }
        TensorType::new(ty.dtype, Shape::new(&extents))
    };
    values.iter().enumerate().map(ty).collect()
}

/// Imports a subgraph whose inputs have these types, and which takes `names` from around it.
fn nested(
    a: &mut Adapt<'_, '_>,
    body: &Body,
    inputs: &[TensorType],
    names: &BTreeSet<&str>,
) -> Result<Nested, AdaptError> {
    if body.inputs.len() != inputs.len() {
        return Err(broken(format!("its subgraph must have {} inputs, got {}", inputs.len(), body.inputs.len())));
    }
    let mut graph = Graph::new(body.name.clone());
    let mut scope: HashMap<String, Slot> = HashMap::new();
    for (index, (declared, ty)) in body.inputs.iter().zip(inputs).enumerate() {
        let id = graph.add_input(&declared.name, ty.clone());
        let rank = declared.shape.as_ref().map_or(ty.shape.rank(), Vec::len);
        let is_scalar = ty.shape.rank() == 0 && rank == 1;
        let operand = if index == 1 && ty.dtype == DType::Bool && a.node.op_type == "Loop" {
            // A turn only runs while the condition is true.
            let extents = vec![1; rank];
            Operand::constant("", Tensor::int(DType::Bool, &extents, &[1]))
        } else if is_scalar {
            let vector = Reshape { shape: Sizes::from_elem(1, 1) };
            Operand::Value(graph.add("", vector, &[Some(id)], Origin::default())?)
        } else {
            Operand::Value(id)
        };
        scope.insert(declared.name.clone(), Slot::Known(operand));
    }
    let mut captures = Vec::new();
    for name in names {
        let Some(slot) = a.importer.lookup(name).cloned() else { continue };
        let slot = match slot {
            Slot::Known(operand @ Operand::Value(id)) => {
                let is_small = a.shape(&operand).elements() <= MOST_KNOWN;
                match if is_small { a.known(&operand)? } else { None } {
                    Some(tensor) => Slot::Known(Operand::constant("", tensor)),
                    None => {
                        let ty = a.importer.graph.ty(id).clone();
                        captures.push(id);
                        Slot::Known(Operand::Value(graph.add_input(name, TensorType::new(ty.dtype, ty.shape))))
                    }
                }
            }
            other => other,
        };
        scope.insert((*name).to_owned(), slot);
    }
    let path = prefix(a);
    let importer = &mut *a.importer;
    let outer = std::mem::replace(&mut importer.graph, graph);
    let placed = std::mem::take(&mut importer.placed);
    importer.scopes.push(Scope { names: scope, open: false });
    let outputs = (a.expand)(importer, body, a.opsets, &path);
    importer.scopes.pop();
    if let Ok(Some(outputs)) = &outputs {
        let mut taken = Names::default();
        for (declared, output) in body.outputs.iter().zip(outputs) {
            let value = importer.place(output, None);
            importer.graph.add_output(&taken.unique(&declared.name), value);
        }
        importer.graph.eliminate_dead();
    }
    let graph = std::mem::replace(&mut importer.graph, outer);
    importer.placed = placed;
    match outputs {
        Ok(Some(_)) => Ok(Nested { graph, captures }),
        Ok(None) => Err(AdaptError::Lost),
        Err(error) => Err(AdaptError::Model(Box::new(error))),
    }
}

/// Adds an operator with bodies; returns all its results.
fn emit(a: &mut Adapt<'_, '_>, op: impl Into<Op>, operands: Vec<Option<ValueId>>) -> Result<Outputs, AdaptError> {
    let graph = &mut a.importer.graph;
    let first = graph.add_node("", op, &operands, Epilogue::none(), None, a.origin.clone())?;
    let results = graph.producer(first).map(|node| node.outputs.clone()).unwrap_or_default();
    a.added.extend(results.iter().copied());
    Ok(results.into_iter().map(Operand::Value).collect())
}

//! Makes convolutions and matrix products read bf16: rounds weights at compile time, and inputs in the node that
//! computes them.
//!
//! Before: `%y = conv(%x, %w, %b) in bf16 |> relu`.
//! After: `%y = conv(%r, %v, %b) in bf16 |> relu`, with `%r = map(%x) |> cast bf16` and `%v` the rounded weights. The
//! products are accumulated in f32, and the steps run in f32 as before.
//!
//! Each tensor is rounded once for all its readers, before operators that only move it. `fuse` then moves the rounding
//! into the epilogue of the producer, so that the tensor in memory is bf16. If all other readers of the tensor are
//! steps, such as residual additions, they read the rounded numbers too.
//!
//! Exact: no. Inputs and weights are rounded to 8 bits of precision.

use std::collections::BTreeMap;

use eightfold_ir::op::map::Map;
use eightfold_ir::{
    DType, Epilogue, Graph, InferError, Node, NodeId, Op, Precision, QuantRule, Rewrite, Step, Tensor, ValueId,
};

use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct LowerBf16;

const NAME: &str = "lower_bf16";

impl Pass for LowerBf16 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "make convolutions and matrix products read bf16"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let mut rounded = BTreeMap::new();
        let float = |id: ValueId| graph.ty(id).dtype == DType::F32;
        let waits = |node: &&Node| node.precision == Some(Precision::Bf16) && node.operand(0).is_some_and(float);
        let wanted: Vec<NodeId> = graph.nodes().filter(waits).map(|node| node.id).collect();
        for id in wanted {
            let Some(node) = graph.get(id) else { continue };
            let rewrite = narrow(graph, node, &mut rounded).map_err(|source| failed(graph, id, source))?;
            let Some(added) = cx.apply(graph, rewrite) else { return Ok(()) };
            // The node that rounds an input reads f32.
            for id in added.into_iter().filter(|id| graph.node(*id).precision.is_none()).collect::<Vec<_>>() {
                graph.set_precision(id, Some(Precision::F32));
            }
        }
        for (wide, narrow) in rounded {
            for id in steps_that_read(graph, wide) {
                let node = graph.node(id);
                // A step that needs the f32 tensor keeps it.
                let Ok(rewrite) = read_rounded(graph, node, wide, narrow) else { continue };
                if cx.apply(graph, rewrite).is_none() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn failed(graph: &Graph, id: NodeId, source: InferError) -> PassError {
    PassError::Infer { pass: NAME, origin: graph.node(id).origin.to_string(), source: source.into() }
}

/// Returns a rewrite that makes the node read rounded inputs and weights. `rounded` maps tensors to their rounded form.
fn narrow(graph: &Graph, node: &Node, rounded: &mut BTreeMap<ValueId, ValueId>) -> Result<Rewrite, InferError> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else {
        unreachable!("a valid graph gives {} no bf16", node.op.name())
    };
    let mut rewrite = Rewrite::new(graph, NAME);
    let mut operands = node.operands.clone();
    for index in [0, weight] {
        let wide = node.operand(index).unwrap_or_else(|| unreachable!("a sum has factors"));
        operands[index] = Some(round(graph, &mut rewrite, wide, rounded)?);
    }
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], node.op.clone(), &operands, node.epilogue.clone(), quant)?;
    rewrite.replace(node.output(), y);
    Ok(rewrite)
}

/// Returns the value in bf16.
fn round(
    graph: &Graph,
    rewrite: &mut Rewrite,
    wide: ValueId,
    rounded: &mut BTreeMap<ValueId, ValueId>,
) -> Result<ValueId, InferError> {
    if let Some(narrow) = rounded.get(&wide) {
        return Ok(*narrow);
    }
    if let Some(tensor) = graph.constant(wide) {
        let tensor = Tensor::from_array(DType::Bf16, tensor.shape().clone(), &tensor.data());
        let narrow = rewrite.constant("", tensor, None);
        rounded.insert(wide, narrow);
        return Ok(narrow);
    }
    let producer = graph.producer(wide);
    let narrow = match producer.filter(|producer| moves(producer) && graph.use_count(wide) == 1) {
        Some(producer) => {
            let mut operands = producer.operands.clone();
            for operand in operands.iter_mut().flatten().filter(|id| graph.ty(**id).dtype == DType::F32) {
                *operand = round(graph, rewrite, *operand, rounded)?;
            }
            rewrite.node(graph, &[producer.id], producer.op.clone(), &operands, Epilogue::none(), None)?
        }
        None => {
            let from: Vec<NodeId> = producer.map(|producer| producer.id).into_iter().collect();
            let cast = Epilogue::new(vec![Step::Cast(DType::Bf16)]);
            rewrite.node(graph, &from, Map {}, &[Some(wide)], cast, None)?
        }
    };
    rounded.insert(wide, narrow);
    Ok(narrow)
}

/// Returns true if the node only moves numbers, so that it can move rounded numbers.
fn moves(node: &Node) -> bool {
    let folds = matches!(node.op, Op::Pool(_) | Op::Reduce(_));
    node.op.quant_rule() == QuantRule::SameScale && node.epilogue.is_empty() && !folds
}

/// Returns the nodes whose steps read the tensor; empty if anything else besides the rounding reads it.
fn steps_that_read(graph: &Graph, wide: ValueId) -> Vec<NodeId> {
    if graph.constant(wide).is_some() || graph.is_output(wide) {
        return Vec::new();
    }
    let rounds = |node: &Node| matches!(&*node.epilogue.steps, [Step::Cast(DType::Bf16)]);
    let others = graph.users(wide).into_iter().filter(|id| !rounds(graph.node(*id)));
    let others: Vec<NodeId> = others.collect();
    let in_steps = |id: &NodeId| !graph.node(*id).operands.contains(&Some(wide));
    if others.iter().all(in_steps) { others } else { Vec::new() }
}

/// Returns a rewrite that makes the node's steps read `narrow` instead of `wide`.
fn read_rounded(graph: &Graph, node: &Node, wide: ValueId, narrow: ValueId) -> Result<Rewrite, InferError> {
    let mut rewrite = Rewrite::new(graph, NAME);
    let mut epilogue = node.epilogue.clone();
    for step in &mut epilogue.steps {
        step.map_values(|id| if id == wide { narrow } else { id });
    }
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], node.op.clone(), &node.operands, epilogue, quant)?;
    rewrite.replace(node.output(), y);
    Ok(rewrite)
}

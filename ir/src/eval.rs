//! The reference evaluator, which defines the meaning of a graph.
//!
//! It is simple and slow. Integers are exact. Floats accumulate in f64 and round once. Steps are single IEEE
//! operations. On every target, compiled code on integers equals the evaluator bit for bit.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::array::Array;
use crate::epilogue;
use crate::eval_error::EvalError;
use crate::graph::{Def, Graph, Node};
use crate::id::ValueId;
use crate::op::quantize_linear::quantized;
use crate::op::{EvalOperand, Op};
use crate::tensor::Tensor;
use crate::types::TensorType;

/// Evaluates the graph and returns its outputs, in order.
///
/// # Errors
/// If the inputs do not match the graph, or contain an index outside its axis.
pub fn eval(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    let wanted: Vec<ValueId> = graph.outputs().iter().map(|o| o.value).collect();
    eval_values(graph, inputs, &wanted)
}

/// Evaluates the graph and returns the values `wanted`, in that order.
///
/// # Errors
/// If the inputs do not match the graph, or contain an index outside its axis.
pub fn eval_values(graph: &Graph, inputs: &[Tensor], wanted: &[ValueId]) -> Result<Vec<Tensor>, EvalError> {
    check_inputs(graph, inputs)?;
    let arrays: Vec<Array> = inputs.iter().map(Array::from).collect();
    let results = eval_arrays(graph, &arrays.iter().collect::<Vec<_>>(), wanted)?;
    Ok(results.iter().map(Tensor::from).collect())
}

/// Evaluates the graph on inputs of the right types and returns the values `wanted`, in that order.
pub(crate) fn eval_arrays(graph: &Graph, inputs: &[&Array], wanted: &[ValueId]) -> Result<Vec<Array>, EvalError> {
    let mut env: Vec<Option<Cow<'_, Array>>> = vec![None; graph.value_count()];
    for (id, array) in graph.inputs().iter().zip(inputs) {
        env[id.index()] = Some(Cow::Borrowed(array));
    }
    for (id, value) in graph.values() {
        if let Def::Const(tensor) = &value.def {
            env[id.index()] = Some(Cow::Owned(Array::from(tensor)));
        }
    }
    // The number of remaining reads of each value. An array is dropped after its last read.
    let mut reads = vec![0_usize; graph.value_count()];
    graph.nodes().flat_map(Node::uses).chain(wanted.iter().copied()).for_each(|v| reads[v.index()] += 1);
    for node in graph.nodes() {
        let outputs = eval_node(graph, node, &|id| env[id.index()].as_ref().expect("topological order"))?;
        for (id, array) in node.outputs.iter().zip(outputs) {
            env[id.index()] = Some(Cow::Owned(array));
        }
        for used in node.uses() {
            reads[used.index()] -= 1;
            if reads[used.index()] == 0 {
                env[used.index()] = None;
            }
        }
    }
    Ok(wanted.iter().map(|id| env[id.index()].as_deref().expect("read once more").clone()).collect())
}

fn check_inputs(graph: &Graph, inputs: &[Tensor]) -> Result<(), EvalError> {
    if inputs.len() != graph.inputs().len() {
        return Err(EvalError::InputCount { expected: graph.inputs().len(), got: inputs.len() });
    }
    for (id, tensor) in graph.inputs().iter().zip(inputs) {
        let value = graph.value(*id);
        if tensor.dtype() != value.ty.dtype || *tensor.shape() != value.ty.shape {
            return Err(EvalError::InputType {
                name: value.name.clone().unwrap_or_default(),
                expected: Box::new(value.ty.clone()),
                got: Box::new(TensorType::new(tensor.dtype(), tensor.shape().clone())),
            });
        }
    }
    Ok(())
}

/// Evaluates one node and returns its outputs. Reads operands through `operand`.
///
/// # Errors
/// If an index is outside its axis, or if a step does not fit its operands, which verification reports.
pub fn eval_node<'a>(
    graph: &Graph,
    node: &Node,
    operand: &impl Fn(ValueId) -> &'a Array,
) -> Result<SmallVec<[Array; 1]>, EvalError> {
    let operands: SmallVec<[Option<EvalOperand<'_>>; 4]> =
        node.operands.iter().map(|o| o.map(|id| EvalOperand { array: operand(id), quant: graph.quant(id) })).collect();
    if let (Op::Gather(op), [Some(x), Some(indices)]) = (&node.op, &operands[..])
        && let Some((index, extent)) = op.outside(x.array, indices.array)
    {
        return Err(EvalError::Index { node: node.origin.to_string(), index, extent });
    }
    let mut outputs = match &node.op {
        Op::QuantizeLinear(_) => {
            let params = graph.quant(node.output()).expect("verified: the result of quantize_linear is quantized");
            smallvec::smallvec![quantized(operands[0].expect("inferred").array, params)]
        }
        op => op.eval_bodies(&operands)?,
    };
    if !node.epilogue.is_empty() {
        let produced = outputs.swap_remove(0);
        outputs.insert(0, epilogue::run(&node.epilogue, produced, operand)?);
    }
    Ok(outputs)
}

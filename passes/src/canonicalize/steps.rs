//! Removes steps that do nothing, and simplifies arguments.

use eightfold_ir::epilogue::infer;
use eightfold_ir::{Arg, DType, Data, Epilogue, Function, Graph, InferError, Node, Rewrite, Shape, Step, ValueId};

use super::replaced;

/// Returns the type and shape before each step.
fn states(graph: &Graph, node: &Node) -> Result<Vec<(DType, Shape)>, InferError> {
    let produced = &graph.infer(&node.op, &node.operands, &Epilogue::none())?[0];
    let mut state = (produced.dtype, produced.shape.clone());
    let operand = |id: ValueId| (graph.ty(id).dtype, graph.ty(id).shape.clone());
    let mut states = Vec::with_capacity(node.epilogue.steps.len());
    for (index, step) in node.epilogue.steps.iter().enumerate() {
        states.push(state.clone());
        state = infer(step, state, &operand).map_err(|source| InferError::Step { index, source })?;
    }
    Ok(states)
}

/// Removes steps that change no bit.
pub(super) fn neutral(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    if node.epilogue.is_empty() {
        return Ok(None);
    }
    let states = states(graph, node)?;
    let kept: Vec<Step> = node
        .epilogue
        .steps
        .iter()
        .zip(&states)
        .filter(|(step, (dtype, _))| !does_nothing(step, *dtype))
        .map(|(s, _)| s.clone())
        .collect();
    let is_quantized = |id: Option<ValueId>| id.is_some_and(|id| graph.ty(id).quant.is_some());
    // The steps turn quantized integers into plain ones. Without any step, the result would be quantized.
    let forgets_scales = kept.is_empty() && is_quantized(node.operand(0)) && !is_quantized(Some(node.output()));
    if kept.len() == node.epilogue.steps.len() || forgets_scales {
        return Ok(None);
    }
    replaced(graph, node, node.op.clone(), &node.operands, Epilogue::new(kept))
}

fn does_nothing(step: &Step, dtype: DType) -> bool {
    match step {
        Step::Cast(to) => *to == dtype,
        Step::Apply(function, args) => match (function, args.as_slice()) {
            (Function::Mul, [Arg::Current, one] | [one, Arg::Current]) | (Function::Div, [Arg::Current, one]) => {
                matches!(one, Arg::Float(1.0) | Arg::Int(1))
            }
            // `x + 0.0` turns -0.0 into 0.0. `x + -0.0` and `x - 0.0` keep it.
            (Function::Add, [Arg::Current, zero] | [zero, Arg::Current]) => match zero {
                Arg::Float(x) => *x == 0.0 && x.is_sign_negative(),
                Arg::Int(x) => *x == 0,
                _ => false,
            },
            (Function::Sub, [Arg::Current, zero]) => match zero {
                Arg::Float(x) => *x == 0.0 && x.is_sign_positive(),
                Arg::Int(x) => *x == 0,
                _ => false,
            },
            (Function::Clip, [Arg::Current, low, high]) => {
                *low == Arg::Float(f32::NEG_INFINITY) && *high == Arg::Float(f32::INFINITY)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Replaces a constant argument by a literal, if all its elements are equal and it does not broadcast the result.
pub(super) fn literals(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let splats = node.epilogue.values().any(|id| graph.constant(id).is_some_and(|t| t.splat().is_some()));
    if !splats {
        return Ok(None);
    }
    let states = states(graph, node)?;
    let mut steps = node.epilogue.steps.clone();
    let mut changed = false;
    for (step, (dtype, shape)) in steps.iter_mut().zip(&states) {
        // `select` reads truth values and numbers. A literal could be either.
        let Step::Apply(function, args) = step else { continue };
        if *function == Function::Select {
            continue;
        }
        for arg in args {
            let Arg::Value(id) = *arg else { continue };
            if let Some(literal) = literal(graph, id, *dtype, shape) {
                *arg = literal;
                changed = true;
            }
        }
    }
    if !changed {
        return Ok(None);
    }
    replaced(graph, node, node.op.clone(), &node.operands, Epilogue::new(steps))
}

fn literal(graph: &Graph, id: eightfold_ir::ValueId, dtype: DType, shape: &Shape) -> Option<Arg> {
    let tensor = graph.constant(id)?;
    tensor.splat()?;
    if tensor.dtype() != dtype || shape.broadcast(tensor.shape()).as_ref() != Some(shape) {
        return None;
    }
    match tensor.data() {
        Data::Float(numbers) if dtype == DType::F32 => Some(Arg::Float(numbers[0])),
        Data::Int(numbers) if dtype.is_integer() => Some(Arg::Int(numbers[0])),
        _ => None,
    }
}

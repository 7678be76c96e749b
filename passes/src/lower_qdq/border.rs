//! The remaining `quantize_linear` and `dequantize_linear`: they become steps of a `map`, or constants.

use eightfold_ir::op::map::Map;
use eightfold_ir::{
    Arg, DType, Epilogue, Function, Granularity, Graph, InferError, Node, Op, QuantParams, Rewrite, Step, Tensor,
    ValueId,
};

use crate::channel::line;
use crate::fold_constants::{fold, is_constant};

/// If the node is a `quantize_linear` or `dequantize_linear`, returns the rewrite that replaces it.
///
/// Steps cannot express parameters per block.
pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Option<Rewrite>, InferError> {
    let params = match node.op {
        Op::QuantizeLinear(_) => graph.quant(node.output()),
        Op::DequantizeLinear(_) => node.operand(0).and_then(|x| graph.quant(x)),
        _ => None,
    };
    let Some(params) = params else { return Ok(None) };
    if is_constant(graph, node) {
        return Ok(fold(graph, node).ok());
    }
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let rank = graph.ty(node.output()).shape.rank();
    let steps = match node.op {
        Op::QuantizeLinear(_) => quantization(&mut rewrite, params, rank),
        _ => dequantization(&mut rewrite, params, rank),
    };
    let Some(steps) = steps else { return Ok(None) };
    let epilogue = Epilogue::new(steps).then(&node.epilogue);
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], Map {}, &node.operands, epilogue, quant)?;
    rewrite.replace(node.output(), y);
    Ok(Some(rewrite))
}

fn quantization(rewrite: &mut Rewrite, params: &QuantParams, rank: usize) -> Option<Vec<Step>> {
    let storage = params.storage;
    let Granularity::PerChannel { axis } = params.granularity else {
        let (scale, zero_point) = params.as_per_tensor()?;
        return Some(vec![Step::quantize(storage, scale, zero_point)]);
    };
    let scale = rewrite.constant("", line(&params.scale, axis, rank), None);
    let divide = Step::binary(Function::Div, Arg::Value(scale));
    let (least_zero, greatest_zero) = (*params.zero_point.iter().min()?, *params.zero_point.iter().max()?);
    if least_zero == greatest_zero {
        return Some(vec![divide, Step::quantize(storage, 1.0, least_zero)]);
    }
    // A separate step adds the zero point of each channel. Before it, numbers are limited to a range that is wide
    // enough for every zero point; after it, they are clipped to the type.
    let (low, high) = storage.storage_range()?;
    let (min, max) = (low - greatest_zero, high - least_zero);
    let zero_point = zero_points(rewrite, params, axis, rank);
    let bounds = [Arg::Current, Arg::Int(low.into()), Arg::Int(high.into())];
    Some(vec![
        divide,
        Step::Quantize { dtype: DType::I32, scale: 1.0, zero_point: 0, min, max },
        Step::binary(Function::Add, Arg::Value(zero_point)),
        Step::Apply(Function::Clip, bounds.into_iter().collect()),
        Step::Cast(storage),
    ])
}

/// Adds a constant with the zero points of the channels, for a tensor of rank `rank`.
fn zero_points(rewrite: &mut Rewrite, params: &QuantParams, axis: usize, rank: usize) -> ValueId {
    let numbers: Vec<i64> = params.zero_point.iter().map(|z| i64::from(*z)).collect();
    let shape = line(&params.scale, axis, rank).shape().clone();
    rewrite.constant("", Tensor::int(DType::I32, &shape, &numbers), None)
}

fn dequantization(rewrite: &mut Rewrite, params: &QuantParams, rank: usize) -> Option<Vec<Step>> {
    match params.granularity {
        Granularity::PerTensor => {
            Some(vec![Step::Dequantize { scale: params.scale[0], zero_point: params.zero_point[0] }])
        }
        Granularity::PerChannel { axis } => {
            let scale = rewrite.constant("", line(&params.scale, axis, rank), None);
            let mut steps = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, Arg::Value(scale))];
            if params.zero_point.iter().any(|z| *z != 0) {
                let zero = zero_points(rewrite, params, axis, rank);
                steps.splice(0..0, [Step::Cast(DType::I32), Step::binary(Function::Sub, Arg::Value(zero))]);
            }
            Some(steps)
        }
        Granularity::Blocked { .. } => None,
    }
}

//! Quantization and dequantization that no operator took in, as steps of a `map`; of constants, as constants.

use eightfold_ir::op::map::Map;
use eightfold_ir::{
    Arg, DType, Epilogue, Function, Granularity, Graph, InferError, Node, Op, QuantParams, Rewrite, Step, Tensor,
};

use crate::channel::line;
use crate::fold_constants::{fold, is_constant};

/// The node as it is without `quantize_linear` and `dequantize_linear`, if it is one of them.
///
/// Parameters that hold for blocks, and zero points that differ between channels of a quantization, have no steps.
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
    let zero_point = params.zero_point[0];
    match params.granularity {
        Granularity::PerTensor => Some(vec![Step::quantize(params.storage, params.scale[0], zero_point)]),
        Granularity::PerChannel { axis } if params.zero_point.iter().all(|z| *z == zero_point) => {
            let scale = rewrite.constant("", line(&params.scale, axis, rank), None);
            let divide = Step::binary(Function::Div, Arg::Value(scale));
            Some(vec![divide, Step::quantize(params.storage, 1.0, zero_point)])
        }
        _ => None,
    }
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
                let zeros: Vec<i64> = params.zero_point.iter().map(|z| i64::from(*z)).collect();
                let shape = line(&params.scale, axis, rank).shape().clone();
                let zero = rewrite.constant("", Tensor::int(DType::I32, &shape, &zeros), None);
                steps.splice(0..0, [Step::Cast(DType::I32), Step::binary(Function::Sub, Arg::Value(zero))]);
            }
            Some(steps)
        }
        Granularity::Blocked { .. } => None,
    }
}

//! Applies a movement of dequantized weights to the stored integers instead.
//!
//! Before: `%w = dequantize_linear(%wq)`, `%t = transpose(%w)`, `matmul(%x, %t)`, as exporters write a linear layer.
//! After: `%t = dequantize_linear(%tq)`, where `%tq` are the moved integers of `%wq`. The matrix product can then use
//! the integers. Per-channel scales move with their axis.

use eightfold_ir::op::EvalOperand;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::{
    Array, DType, Data, Epilogue, Granularity, Graph, Node, Op, QuantParams, QuantRule, Rewrite, Shape, Tensor, ValueId,
};

use crate::quant::dequantized;

/// Returns true if a convolution or matrix product multiplies the value, possibly after movements.
pub(super) fn feeds_sums(graph: &Graph, value: ValueId) -> bool {
    graph.users(value).into_iter().map(|user| graph.node(user)).any(|user| match user.op.quant_rule() {
        QuantRule::Affine { .. } => true,
        _ => moves(user) && feeds_sums(graph, user.output()),
    })
}

/// Returns true if the node has one operand and only moves its elements.
fn moves(node: &Node) -> bool {
    matches!(node.op, Op::Transpose(_) | Op::Reshape(_) | Op::Slice(_)) && node.epilogue.is_empty()
}

/// If a node only moves a dequantized constant, returns the moved integers and their parameters.
pub(super) fn moved(graph: &Graph, node: &Node) -> Option<(Tensor, QuantParams)> {
    let (stored, params) = node.operand(0).filter(|_| moves(node)).and_then(|x| dequantized(graph, x))?;
    let tensor = graph.constant(stored)?;
    let places = Data::Int((0..tensor.shape().elements() as i64).collect());
    let places = Array { dtype: DType::I64, shape: tensor.shape().clone(), data: places };
    let from = node.op.eval(&[Some(EvalOperand { array: &places, quant: None })]).swap_remove(0);
    let from: Vec<usize> = from.ints().iter().map(|place| *place as usize).collect();
    let shape = &graph.ty(node.output()).shape;
    let params = match params.granularity {
        Granularity::PerTensor => params.clone(),
        Granularity::PerChannel { axis } => along_moved_axis(params, axis, tensor.shape(), shape, &from)?,
        Granularity::Blocked { .. } => return None,
    };
    let data = tensor.data().gather(from.into_iter());
    Some((Tensor::from_array(params.storage, shape.clone(), &data), params))
}

/// Maps per-channel parameters along `axis` of shape `before` to a tensor of shape `after`, whose element `i` is the
/// element `from[i]` of the old tensor; `None` if the channels are no longer on one axis.
fn along_moved_axis(
    params: &QuantParams,
    axis: usize,
    before: &Shape,
    after: &Shape,
    from: &[usize],
) -> Option<QuantParams> {
    let (stride, extent) = (before.strides()[axis], before[axis]);
    let channel = |place: usize| place / stride % extent;
    let strides = after.strides();
    let channels_on = |axis: usize| -> Option<Vec<usize>> {
        let first = |i: usize| from.get(i * strides[axis]).map(|place| channel(*place));
        let channels: Vec<usize> = (0..after[axis]).map(first).collect::<Option<_>>()?;
        let fits = |(i, place): (usize, &usize)| channel(*place) == channels[i / strides[axis] % after[axis]];
        from.iter().enumerate().all(fits).then_some(channels)
    };
    let (axis, channels) = (0..after.rank()).find_map(|axis| Some((axis, channels_on(axis)?)))?;
    Some(QuantParams {
        storage: params.storage,
        granularity: Granularity::PerChannel { axis },
        scale: channels.iter().map(|c| params.scale[*c]).collect(),
        zero_point: channels.iter().map(|c| params.zero_point[*c]).collect(),
    })
}

/// Returns a rewrite that replaces the moving node by a `dequantize_linear` of the moved integers.
pub(super) fn rewrite(graph: &mut Graph, node: &Node, (tensor, params): (Tensor, QuantParams)) -> Rewrite {
    let quant = graph.add_qparams(params);
    let mut rewrite = Rewrite::new(graph, "fold_constants");
    let q = rewrite.constant("", tensor, Some(quant));
    let y = rewrite
        .node(graph, &[node.id], DequantizeLinear {}, &[Some(q)], Epilogue::none(), None)
        .unwrap_or_else(|error| unreachable!("quantized integers are dequantized: {error}"));
    rewrite.replace(node.output(), y);
    rewrite
}

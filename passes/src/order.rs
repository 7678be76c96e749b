//! Reorders channels inside a graph, where no operator depends on their order.
//!
//! If channels are permuted where they are computed and everywhere they are read, the graph computes the same numbers.
//! [`channels()`] finds which positions of tensors are the same channel ([`ties`] lists how each operator relates
//! positions) and which channels may be exchanged. [`permute`] applies a new order to the graph.
//!
//! Fixed are the channels of the graph's inputs and outputs, and channels whose position has a meaning for an operator.
//! The channels of a grouped convolution, a shuffle, or a reshape that merges axes stay in place.

mod channels;
mod ties;

use std::collections::BTreeMap;

use eightfold_ir::array::strided;
use eightfold_ir::{ChannelOrder, Def, Granularity, Graph, Node, QuantParams, Rewrite, Tensor, ValueId};

pub(crate) use channels::Channels;

/// Returns the channels of a graph. `free` says whether a convolution or matrix product may add its terms in any order.
pub(crate) fn channels(graph: &Graph, free: &dyn Fn(&Node) -> bool) -> Channels {
    let mut channels = Channels::of(graph);
    ties::tie(graph, &mut channels, free);
    channels
}

/// Permutes the constants of the graph into the order in `channels`. Records on the values in `axes`, and on values
/// that already have a record, where their channels were in the model. `label` is the name of the pass.
pub(crate) fn permute(graph: &mut Graph, channels: &Channels, mut axes: BTreeMap<ValueId, usize>, label: &'static str) {
    let noted = graph.values().filter_map(|(id, value)| Some((id, value.channel_order.as_ref()?.axis)));
    axes.extend(noted);
    for (value, axis) in axes {
        note_order(graph, channels, value, axis);
    }
    permute_constants(graph, channels, label);
}

/// Records the original position of a value's channels; composes with an existing record.
fn note_order(graph: &mut Graph, channels: &Channels, value: ValueId, axis: usize) {
    let order = channels.order(value, axis);
    let from: Box<[usize]> = match &graph.value(value).channel_order {
        Some(before) => order.iter().map(|at| before.from[*at]).collect(),
        None => order.into(),
    };
    let moved = !from.iter().copied().eq(0..from.len());
    graph.set_channel_order(value, moved.then_some(ChannelOrder { axis, from }));
}

/// Permutes the constants into the new order of the channels.
fn permute_constants(graph: &mut Graph, channels: &Channels, label: &'static str) {
    let constants: Vec<ValueId> = graph.values().filter(|(_, v)| matches!(v.def, Def::Const(_))).map(|c| c.0).collect();
    let mut permuted = Vec::new();
    for id in constants {
        let rank = graph.ty(id).shape.rank();
        let orders: Vec<_> = (0..rank).map(|axis| channels.order(id, axis)).collect();
        if orders.iter().all(|order| order.iter().copied().eq(0..order.len())) {
            continue;
        }
        let tensor = permute_tensor(graph.constant(id).unwrap_or_else(|| unreachable!("it is a constant")), &orders);
        let quant = graph.quant(id).map(|params| permute_params(params, &orders));
        permuted.push((id, tensor, quant.map(|params| graph.add_qparams(params))));
    }
    let mut rewrite = Rewrite::new(graph, label);
    for (old, tensor, quant) in permuted {
        let new = rewrite.constant("", tensor, quant);
        rewrite.replace(old, new);
    }
    graph.apply(rewrite);
}

/// Returns a tensor whose element `[i, j, ...]` is the element `[orders[0][i], orders[1][j], ...]` of `tensor`.
fn permute_tensor(tensor: &Tensor, orders: &[Vec<usize>]) -> Tensor {
    let (shape, size, source) = (tensor.shape(), tensor.dtype().byte_size(), tensor.unpacked());
    let Some((last, outer)) = orders.split_last() else { return tensor.clone() };
    let strides = shape.strides();
    let rows: eightfold_ir::Shape = shape[..outer.len()].iter().copied().collect();
    let mut bytes = Vec::with_capacity(source.len());
    let index_strides = rows.strides();
    for row in strided(&rows, 0, index_strides.to_vec()) {
        let from: usize = (0..outer.len()).map(|a| outer[a][row / index_strides[a] % rows[a]] * strides[a]).sum();
        for &at in last {
            bytes.extend_from_slice(&source[(from + at) * size..][..size]);
        }
    }
    Tensor::from_unpacked(tensor.dtype(), shape.clone(), bytes)
        .unwrap_or_else(|_| unreachable!("as many elements as before"))
}

/// Permutes per-channel parameters in the same way.
fn permute_params(params: &QuantParams, orders: &[Vec<usize>]) -> QuantParams {
    let mut permuted = params.clone();
    if let Granularity::PerChannel { axis } = params.granularity {
        permuted.scale = orders[axis].iter().map(|at| params.scale[*at]).collect();
        permuted.zero_point = orders[axis].iter().map(|at| params.zero_point[*at]).collect();
    }
    permuted
}

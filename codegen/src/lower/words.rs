//! Which bytes are stored as words.
//!
//! Where the target adds products in 16 bits, weights that use the whole range take extra groups; inputs that lie in words
//! need none, for twice the room. That is worth it for a first layer: an image has few channels, so that runs are short and
//! their last groups half empty, and the call that makes bytes of floats may as well make words.
//!
//! Invariant: a word holds what the byte would; only convolutions, which know both, read it.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{DType, Data, Def, Graph, Layout, Node, NodeId, Op, ValueId};

use super::conv::centered_weights;
use crate::pack;
use crate::program::Run;
use crate::target::Target;

/// Whether the value, which is not shown and not part of a join, is to be stored as words.
pub(super) fn pay(graph: &Graph, id: ValueId, target: &Target) -> bool {
    let ty = graph.ty(id);
    let bytes = matches!(ty.dtype, DType::U8 | DType::I8) && ty.layout == Layout::Nhwc;
    let users = graph.users(id);
    bytes && is_quantized(graph, id) && !users.is_empty() && users.iter().all(|user| gains(graph, *user, id, target))
}

/// Whether an elementwise call makes the bytes of floats.
fn is_quantized(graph: &Graph, id: ValueId) -> bool {
    let Def::Node { node, .. } = graph.value(id).def else { return false };
    let node = graph.node(node);
    let elementwise = matches!(node.op, Op::Map(_) | Op::QuantizeLinear(_));
    elementwise && node.operand(0).is_some_and(|x| graph.ty(x).dtype.is_float())
}

/// Whether the node is a convolution over the value that takes fewer instructions on words.
fn gains(graph: &Graph, user: NodeId, id: ValueId, target: &Target) -> bool {
    let node = graph.node(user);
    let Op::Conv(conv) = &node.op else { return false };
    if node.uses().filter(|x| *x == id).count() > 1 || node.operand(0) != Some(id) || conv.group > 1 {
        return false;
    }
    instructions_less(graph, node, conv, target).unwrap_or(false)
}

fn instructions_less(graph: &Graph, node: &Node, conv: &Conv, target: &Target) -> Option<bool> {
    let w = node.operand(1)?;
    let Data::Int(weights) = centered_weights(graph, w)? else { return None };
    let shape = &graph.ty(w).shape;
    let (n, depth) = (shape[0], shape[1]);
    let columns = shape[shape.rank() - 1];
    let taps: usize = shape[2..].iter().product();
    // Pixels that are neighbours under a window are one run.
    let together = if conv.dilation(shape.rank() - 3) == 1 { columns } else { 1 };
    let runs = vec![Run { offset: 0, length: together * depth }; taps / together.max(1)];
    let weight = |o: usize, run: usize, element: usize| {
        let tap = run * together + element / depth;
        weights[(o * depth + element % depth) * taps + tap] as i32
    };
    Some(pack::words_pay(target, n, &runs, &weight))
}

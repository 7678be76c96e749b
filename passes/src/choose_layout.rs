//! Chooses the memory layout of each tensor.
//!
//! Kernels with sliding windows read and write all channels of a pixel together, so tensors around convolutions, pools
//! and resizes get the layout `nhwc`. Operators between them keep it. The graph's inputs and outputs stay row-major, as
//! users expect. Shapes and results do not change: axes keep their numbers in any layout.
//!
//! Each operand of an operator can have any layout. If a kernel needs another one (a reshape across pixels), lowering
//! inserts a copy.
//!
//! Exact: yes.

use std::collections::BTreeSet;

use eightfold_ir::{Graph, Layout, Node, Op, ValueId};

use crate::pass::{Pass, PassContext, PassError};

/// See the module's documentation.
pub(crate) struct ChooseLayout;

impl Pass for ChooseLayout {
    fn name(&self) -> &'static str {
        "choose_layout"
    }

    fn summary(&self) -> &'static str {
        "choose the memory order of each tensor"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        if !cx.spend(|| "channels innermost".to_owned()) {
            return Ok(());
        }
        let wanted = wanted(graph);
        for id in graph.topo() {
            let node = graph.node(id);
            let layout = chosen(graph, node, &wanted);
            graph.set_layout(graph.node(id).output(), layout);
        }
        Ok(())
    }
}

/// Returns true if the operator slides windows over pixels.
fn slides(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Pool(_) | Op::Resize(_))
}

/// Returns true if the operator can write its result in any layout, whatever the layout of its operands.
fn rewrites(op: &Op) -> bool {
    matches!(op, Op::Map(_) | Op::Pad(_) | Op::Concat(_) | Op::Gather(_))
}

/// Returns the values that sliding windows read, directly or through operators that can write any layout.
fn wanted(graph: &Graph) -> BTreeSet<ValueId> {
    let mut wanted = BTreeSet::new();
    for id in graph.topo().into_iter().rev() {
        let node = graph.node(id);
        if slides(&node.op) || rewrites(&node.op) && wanted.contains(&node.output()) {
            let read = if matches!(node.op, Op::Concat(_)) { node.operands.len() } else { 1 };
            wanted.extend(node.operands.iter().take(read).flatten());
        }
    }
    wanted
}

fn chosen(graph: &Graph, node: &Node, wanted: &BTreeSet<ValueId>) -> Layout {
    let y = node.output();
    let rank = graph.ty(y).shape.rank();
    let shown = graph.is_output(y) && graph.users(y).is_empty();
    if rank < 3 || shown {
        return Layout::Nchw;
    }
    let operand = |id: ValueId| if graph.ty(id).shape.rank() == rank { graph.ty(id).layout } else { Layout::Nchw };
    let first = node.operand(0).map_or(Layout::Nchw, operand);
    match &node.op {
        op if slides(op) => Layout::Nhwc,
        Op::Relayout(_) => graph.ty(y).layout,
        Op::MatMul(_) | Op::Reshape(_) => Layout::Nchw,
        Op::Transpose(op) => transposed(first, &op.perm),
        Op::Concat(_) if node.operands.iter().flatten().any(|id| operand(*id) == Layout::Nhwc) => Layout::Nhwc,
        op if rewrites(op) && wanted.contains(&y) => Layout::Nhwc,
        _ => first,
    }
}

/// Returns the layout in which the result of a transpose needs no move of elements, if it is row-major or `nhwc`.
fn transposed(layout: Layout, perm: &[usize]) -> Layout {
    let rank = perm.len();
    let channels_first = perm[0] == 0 && perm[1] == rank - 1 && perm[2..].iter().copied().eq(1..rank - 1);
    let unmoved = perm.iter().copied().eq(0..rank);
    match layout {
        Layout::Nchw if channels_first => Layout::Nhwc,
        Layout::Nhwc if unmoved => Layout::Nhwc,
        _ => Layout::Nchw,
    }
}

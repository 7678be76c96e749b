//! Decides where values are stored, before any call exists.
//!
//! For each value it decides: whether it is produced inside a concatenation's buffer, whether it is written directly to
//! an output of the model, and how wide a border the convolutions that read it need.

use std::collections::BTreeMap;

use eightfold_ir::{Def, Graph, Layout, Node, Op, ValueId};

use super::window::wanted_border;

/// The decisions, by value.
pub(super) struct Placement {
    homes: Vec<Option<(ValueId, usize, usize)>>,
    outputs: Vec<Option<usize>>,
    borders: Vec<[usize; 4]>,
}

impl Placement {
    pub(super) fn of(graph: &Graph) -> Self {
        let count = graph.value_count();
        let mut placement =
            Placement { homes: vec![None; count], outputs: vec![None; count], borders: vec![[0; 4]; count] };
        placement.find_homes(graph);
        placement.find_borders(graph);
        placement.find_outputs(graph);
        placement
    }

    /// The concatenation in whose buffer the value is produced: the joined value, the axis, and the position on the
    /// axis.
    pub(super) fn home(&self, id: ValueId) -> Option<(ValueId, usize, usize)> {
        self.homes[id.index()]
    }

    /// The output of the model that the value is written to.
    pub(super) fn output(&self, id: ValueId) -> Option<usize> {
        self.outputs[id.index()]
    }

    /// Whether the value may be anywhere.
    pub(super) fn is_free(&self, id: ValueId) -> bool {
        self.home(id).is_none() && self.output(id).is_none() && self.border(id) == [0; 4]
    }

    /// The width of the border: rows before and after, columns before and after.
    pub(super) fn border(&self, id: ValueId) -> [usize; 4] {
        self.borders[id.index()]
    }

    fn find_homes(&mut self, graph: &Graph) {
        for node in graph.nodes() {
            let Op::Concat(concat) = &node.op else { continue };
            if !node.epilogue.is_empty() {
                continue;
            }
            let mut counts: BTreeMap<ValueId, usize> = BTreeMap::new();
            node.operands.iter().flatten().for_each(|operand| *counts.entry(*operand).or_default() += 1);
            let mut start = 0;
            for operand in node.operands.iter().flatten().copied() {
                let free = self.homes[operand.index()].is_none() && materializes(graph, operand);
                let once = counts[&operand] == 1;
                let same_layout = graph.ty(operand).layout == graph.ty(node.output()).layout;
                if free && once && same_layout && !graph.is_output(operand) {
                    self.homes[operand.index()] = Some((node.output(), concat.axis, start));
                }
                start += graph.ty(operand).shape[concat.axis];
            }
            self.find_part_joins(graph, node, concat.axis);
        }
    }

    /// Finds concatenations whose operands are consecutive operands of `node`, and places their results inside the
    /// result of `node`. Densely connected layers have these: each layer concatenates everything that the layer before
    /// did, and one more value.
    fn find_part_joins(&mut self, graph: &Graph, node: &Node, axis: usize) {
        let whole = node.output();
        let extent = |id: ValueId| graph.ty(id).shape[axis];
        // Calls must not read outputs of the model.
        if graph.is_output(whole) {
            return;
        }
        for id in node.operands.iter().flatten().flat_map(|operand| graph.users(*operand)) {
            let other = graph.node(id);
            let part = other.output();
            let joins = matches!(&other.op, Op::Concat(concat) if concat.axis == axis) && other.epilogue.is_empty();
            let same_layout = graph.ty(part).layout == graph.ty(whole).layout;
            let free = self.homes[part.index()].is_none() && !graph.is_output(part);
            // The part must be smaller, so that no value is placed in itself.
            if !(joins && same_layout && free && extent(part) < extent(whole)) {
                continue;
            }
            let count = other.operands.len();
            if let Some(first) = node.operands.windows(count).position(|some| some == &other.operands[..]) {
                let start = node.operands[..first].iter().flatten().map(|operand| extent(*operand)).sum();
                self.homes[part.index()] = Some((whole, axis, start));
            }
        }
    }

    fn find_borders(&mut self, graph: &Graph) {
        for node in graph.nodes() {
            let Some((id, border)) = wanted_border(graph, node) else { continue };
            // The border surrounds the outermost buffer. A part shares rows and columns with this buffer only if all
            // joins are along channels.
            let (mut root, mut channels) = (id, true);
            while let Some((parent, axis, _)) = self.homes[root.index()] {
                channels &= axis == 1;
                root = parent;
            }
            if channels && materializes(graph, root) && graph.ty(root).layout == Layout::Nhwc {
                let at = &mut self.borders[root.index()];
                *at = std::array::from_fn(|side| at[side].max(border[side]));
            }
        }
    }

    fn find_outputs(&mut self, graph: &Graph) {
        for (position, output) in graph.outputs().iter().enumerate() {
            let id = output.value;
            let direct =
                materializes(graph, id) && self.homes[id.index()].is_none() && self.borders[id.index()] == [0; 4];
            let first = self.outputs[id.index()].is_none();
            // A concatenation whose parts are other values could be written to an output too, if outputs could be read.
            let read = graph.users(id).is_empty();
            if direct && first && read && graph.ty(id).layout == Layout::Nchw {
                self.outputs[id.index()] = Some(position);
            }
        }
    }
}

/// Whether a call of its own writes the value, in a layout that lowering may choose.
fn materializes(graph: &Graph, id: ValueId) -> bool {
    let Def::Node { node, .. } = graph.value(id).def else { return false };
    let node = graph.node(node);
    !matches!(node.op, Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Expand(_)) || !node.epilogue.is_empty()
}

//! For each operator, which positions of its operands it carries to which positions of its result.
//!
//! All axes that are not tied here are fixed: their channels keep their order. Each node makes two separate claims:
//! - The operator ties axes of its operands to axes of its result. Only this claim frees an axis of the result.
//! - A step ties the axes of the values that it reads to the result, into which they are broadcast. This claim frees
//!   the axes of those values. It never frees an axis of the result, because a step does not know how the operator
//!   computes that axis.

use std::collections::BTreeSet;

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{Graph, Node, Op, Shape, Step, ValueId};

use super::channels::Channels;

/// Adds the ties and the fixed axes of all nodes. For `free`, see [`channels`](super::channels()).
pub(super) fn tie(graph: &Graph, channels: &mut Channels, free: &dyn Fn(&Node) -> bool) {
    for node in graph.nodes() {
        let mut ties = Ties { graph, channels: &mut *channels, node, free: free(node), tied: BTreeSet::new() };
        ties.operator();
        ties.steps();
        ties.pin_rest();
    }
}

/// A tensor that a node uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Operand(usize),
    /// A value that the steps read, by its index.
    Step(usize),
    Result,
}

struct Ties<'a> {
    graph: &'a Graph,
    channels: &'a mut Channels,
    node: &'a Node,
    /// Whether the node may add its terms in any order.
    free: bool,
    tied: BTreeSet<(Use, usize)>,
}

impl Ties<'_> {
    fn value(&self, of: Use) -> Option<ValueId> {
        match of {
            Use::Operand(index) => self.node.operand(index),
            Use::Step(index) => self.node.epilogue.values().nth(index),
            Use::Result => Some(self.node.output()),
        }
    }

    fn shape(&self, of: Use) -> Option<&Shape> {
        self.value(of).map(|id| &self.graph.ty(id).shape)
    }

    /// Ties two axes position by position. If one axis has extent 1, no positions are tied, but neither axis is fixed.
    fn same(&mut self, a: (Use, usize), b: (Use, usize)) {
        let extent = |(of, axis): (Use, usize)| self.shape(of).map(|shape| shape[axis]);
        match (extent(a), extent(b)) {
            (Some(1), Some(_)) | (Some(_), Some(1)) => self.tied.extend([a, b]),
            (Some(m), Some(n)) if m == n => self.at(a, b, (0..n).map(|i| (i, i))),
            _ => {}
        }
    }

    /// Ties these pairs of positions of two axes.
    fn at(&mut self, a: (Use, usize), b: (Use, usize), positions: impl Iterator<Item = (usize, usize)>) {
        let (Some(value), Some(other)) = (self.value(a.0), self.value(b.0)) else { return };
        for (i, j) in positions {
            self.channels.tie((value, a.1), i, (other, b.1), j);
        }
        self.tied.extend([a, b]);
    }

    /// Returns the axis of the result for axis `axis` of the operator's result. Steps may broadcast to a higher rank.
    fn result(&self, axis: usize) -> (Use, usize) {
        let ids = &self.node.operands;
        let types = self.graph.infer(&self.node.op, ids, &eightfold_ir::Epilogue::none());
        let rank = types.map_or(0, |types| types[0].shape.rank());
        (Use::Result, axis + self.graph.ty(self.node.output()).shape.rank() - rank)
    }

    /// Ties the axes of a use to the last axes of the result.
    fn aligned(&mut self, of: Use) {
        let rank = self.shape(of).map_or(0, Shape::rank);
        let missing = self.graph.ty(self.node.output()).shape.rank() - rank;
        (0..rank).for_each(|axis| self.same((of, axis), (Use::Result, axis + missing)));
    }

    /// Ties the values that steps read to the result. Leaves the result's axes as free or fixed as they were.
    fn steps(&mut self) {
        let by_operator = self.tied.clone();
        let mut index = 0;
        let node = self.node;
        for step in &node.epilogue.steps {
            for _ in step.values() {
                if !matches!(step, Step::Table(_)) {
                    self.aligned(Use::Step(index));
                }
                index += 1;
            }
        }
        self.tied.retain(|tie| matches!(tie.0, Use::Step(_)) || by_operator.contains(tie));
    }

    fn pin_rest(&mut self) {
        let uses = (0..self.node.operands.len()).map(Use::Operand);
        let uses = uses.chain((0..self.node.epilogue.values().count()).map(Use::Step)).chain([Use::Result]);
        let reason = format!("{} at {}", self.node.op.name(), self.node.origin);
        for of in uses {
            let Some(value) = self.value(of) else { continue };
            for axis in 0..self.graph.ty(value).shape.rank() {
                if !self.tied.contains(&(of, axis)) {
                    self.channels.pin(value, axis, &reason);
                }
            }
        }
        for other in &self.node.outputs[1..] {
            (0..self.graph.ty(*other).shape.rank()).for_each(|axis| self.channels.pin(*other, axis, &reason));
        }
    }

    /// Ties the axes of operand 0 that keep their index in the result.
    fn kept(&mut self, keeps: impl Fn(usize) -> bool) {
        let rank = self.shape(Use::Operand(0)).map_or(0, Shape::rank);
        for axis in (0..rank).filter(|axis| keeps(*axis)) {
            let result = self.result(axis);
            self.same((Use::Operand(0), axis), result);
        }
    }

    fn operator(&mut self) {
        const X: Use = Use::Operand(0);
        let (graph, node) = (self.graph, self.node);
        let Some(x) = node.operand(0).map(|id| &graph.ty(id).shape) else { return };
        match &node.op {
            Op::Expand(_) => self.aligned(X),
            Op::Conv(Conv { group, .. }) => self.convolution(*group),
            Op::ConvTranspose(op) => self.convolution(op.group),
            Op::MatMul(_) => self.matrix_product(),
            Op::Reduce(op) => {
                let mut to = 0;
                for axis in 0..x.rank() {
                    let folded = op.axes.contains(&axis);
                    if !folded {
                        let result = self.result(to);
                        self.same((X, axis), result);
                    }
                    to += usize::from(!folded || op.keepdims);
                }
            }
            Op::Transpose(op) => {
                for (to, from) in op.perm.iter().enumerate() {
                    let result = self.result(to);
                    self.same((X, *from), result);
                }
            }
            Op::Concat(op) => {
                let mut start = 0;
                for index in 0..self.node.operands.len() {
                    let of = Use::Operand(index);
                    let extent = self.shape(of).map_or(0, |shape| shape[op.axis]);
                    for axis in 0..x.rank() {
                        let result = self.result(axis);
                        match axis == op.axis {
                            true => self.at((of, axis), result, (0..extent).map(|i| (i, start + i))),
                            false => self.same((of, axis), result),
                        }
                    }
                    start += extent;
                }
            }
            Op::Slice(op) => {
                for axis in 0..x.rank() {
                    let (start, step) = (op.starts[axis] as i64, op.step(axis));
                    let taken = (0..op.sizes[axis]).map(|i| ((start + i as i64 * step) as usize, i));
                    let result = self.result(axis);
                    self.at((X, axis), result, taken);
                }
            }
            Op::Gather(op) => {
                let indices = self.node.operand(1).and_then(|id| self.graph.constant(id)).and_then(|t| t.to_ints());
                let (Some(indices), Some(1)) = (indices, self.shape(Use::Operand(1)).map(Shape::rank)) else { return };
                let last = x[op.axis] as i64 - 1;
                let taken = indices.iter().map(|i| if *i < 0 { i + last + 1 } else { *i }.clamp(0, last) as usize);
                let result = self.result(op.axis);
                self.at((X, op.axis), result, taken.enumerate().map(|(to, from)| (from, to)));
                self.kept(|axis| axis != op.axis);
            }
            Op::Reshape(op) => {
                let to = Shape::new(&op.shape);
                // If the number of elements before an axis and its extent are unchanged, it is the same axis.
                let place = |shape: &Shape, axis: usize| (shape[..axis].iter().product::<usize>(), shape[axis]);
                for axis in 0..x.rank() {
                    if let Some(same) = (0..to.rank()).find(|a| place(&to, *a) == place(x, axis) && x[axis] > 1) {
                        let result = self.result(same);
                        self.same((X, axis), result);
                    }
                }
            }
            other => self.kept(|axis| other.keeps_axis(x, axis)),
        }
    }

    fn convolution(&mut self, group: usize) {
        let [x, w, bias] = [0, 1, 2].map(Use::Operand);
        let (batch, result) = (self.result(0), self.result(1));
        self.same((x, 0), batch);
        let (inputs, outputs) = (self.shape(x).map_or(0, |x| x[1]), self.shape(w).map_or(0, |w| w[0]));
        if group == 1 {
            self.sum((x, 1), (w, 1));
        } else if group == inputs && group == outputs {
            self.same((x, 1), result);
        } else {
            return;
        }
        self.same((w, 0), result);
        if self.shape(bias).is_some() {
            self.same((bias, 0), result);
        }
    }

    fn matrix_product(&mut self) {
        let [x, w, bias] = [0, 1, 2].map(Use::Operand);
        let rank = |of| self.shape(of).map_or(0, Shape::rank);
        let (of_x, of_w) = (rank(x), rank(w));
        let all = of_x.max(of_w);
        let (rows, columns) = (self.result(all - 2), self.result(all - 1));
        self.sum((x, of_x - 1), (w, of_w - 2));
        self.same((x, of_x - 2), rows);
        self.same((w, of_w - 1), columns);
        if self.shape(bias).is_some() {
            self.same((bias, 0), columns);
        }
        for (of, rank) in [(x, of_x), (w, of_w)] {
            for axis in 0..rank - 2 {
                let batch = self.result(axis + all - rank);
                self.same((of, axis), batch);
            }
        }
    }

    /// Ties two axes that the operator sums over, if it may add its terms in any order.
    fn sum(&mut self, a: (Use, usize), b: (Use, usize)) {
        if self.free {
            self.same(a, b);
        }
    }
}

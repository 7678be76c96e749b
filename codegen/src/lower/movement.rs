//! Elementwise operators and operators that only move elements.

use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::resize::{Resize, ResizeMode};
use eightfold_ir::op::slice::Slice;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{DType, Data, Epilogue, Layout, Node, Tensor, ValueId};

use super::{LowerError, Lowering, origin};
use crate::kernel;
use crate::kernel::{Fill, Interpolate, Pointwise, Producer};
use crate::step::Step;
use crate::view::{Grid, View};

impl Lowering<'_> {
    pub(super) fn map(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = node.operands[0].expect("verified");
        let layout = self.graph.ty(node.output()).layout;
        let view = self.view_as(x, layout);
        self.pointwise(node, view, vec![])
    }

    pub(super) fn relayout(&mut self, node: &Node) -> Result<(), LowerError> {
        self.map(node)
    }

    pub(super) fn quantize_linear(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = node.operands[0].expect("verified");
        let params = self.graph.quant(node.output()).expect("verified: the result is quantized");
        let Some((scale, zero_point)) = params.as_per_tensor() else {
            return Err(self.unsupported(node, "quantization by blocks at run time has no kernel"));
        };
        let (min, max) = params.storage.integer_range().expect("verified: integer storage");
        let (min, max) = (min as i32, max as i32);
        let step = Step::Quantize { dtype: params.storage, scale, zero_point, min, max };
        let view = self.view(x);
        self.pointwise(node, view, vec![step])
    }

    pub(super) fn dequantize_linear(&mut self, node: &Node) -> Result<(), LowerError> {
        let x = node.operands[0].expect("verified");
        let params = self.graph.quant(x).expect("verified: the operand is quantized").clone();
        let Some((scale, zero_point)) = params.as_per_tensor() else {
            return Err(self.unsupported(node, "dequantization by blocks at run time has no kernel"));
        };
        let view = self.view(x);
        self.pointwise(node, view, vec![Step::Dequantize { scale, zero_point }])
    }

    /// One elementwise call with the steps `first`, then the node's own steps.
    fn pointwise(&mut self, node: &Node, x: View, first: Vec<Step>) -> Result<(), LowerError> {
        let y = node.output();
        self.check_dtypes(node)?;
        let output = self.place(y);
        let dims = output.grid.dims.clone();
        let mut operands = vec![View { grid: x.grid.broadcast(&dims), ..x }];
        let mut steps = first;
        steps.extend(self.steps(node, &dims, self.graph.ty(y).layout, &mut operands));
        self.call(Producer::Pointwise(Pointwise), operands, steps, output, &origin(&node.origin));
        Ok(())
    }

    /// Checks that elementwise kernels support the types: they compute in f32 and in integers; 4-bit integers take one
    /// byte each.
    fn check_dtypes(&self, node: &Node) -> Result<(), LowerError> {
        let dtypes = node.uses().chain([node.output()]).map(|v| self.graph.ty(v).dtype);
        match dtypes.into_iter().find(|d| *d == DType::F64) {
            Some(dtype) => Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype }),
            None => Ok(()),
        }
    }

    /// The result is the operand with another grid. If the node has steps, they become a call on it.
    fn seen_as(&mut self, node: &Node, view: View) -> Result<(), LowerError> {
        if !node.epilogue.is_empty() {
            return self.pointwise(node, view, vec![]);
        }
        let y = node.output();
        self.views[y.index()] = Some(view);
        Ok(())
    }

    pub(super) fn reshape(&mut self, node: &Node, op: &Reshape) -> Result<(), LowerError> {
        let view = self.view(node.operands[0].expect("verified"));
        let name = format!("{} row-major", self.name(node.output()));
        let view = self.reshaped(view, &op.shape, &name, &origin(&node.origin));
        self.seen_as(node, view)
    }

    /// The same elements in row-major order with other extents. If strides cannot express this, they are copied to a
    /// buffer called `name`.
    fn reshaped(&mut self, view: View, shape: &[usize], name: &str, origin: &str) -> View {
        if let Some(grid) = view.grid.reshaped(shape) {
            return View { grid, ..view };
        }
        let place = self.arena(name, view.dtype, &view.grid.dims, Layout::Nchw, [0; 4]);
        self.copy(view, place.clone(), origin);
        View { grid: Grid::dense(shape), ..place }
    }

    pub(super) fn transpose(&mut self, node: &Node, op: &Transpose) -> Result<(), LowerError> {
        let view = self.view(node.operands[0].expect("verified"));
        let grid = view.grid.transposed(&op.perm);
        self.seen_as(node, View { grid, ..view })
    }

    pub(super) fn slice(&mut self, node: &Node, op: &Slice) -> Result<(), LowerError> {
        let view = self.view(node.operands[0].expect("verified"));
        let (grid, offset) = view.grid.sliced(&op.starts, &op.sizes, |axis| op.step(axis));
        self.seen_as(node, View { offset: (view.offset as isize + offset) as usize, grid, ..view })
    }

    pub(super) fn expand(&mut self, node: &Node, op: &Expand) -> Result<(), LowerError> {
        let view = self.view(node.operands[0].expect("verified"));
        let grid = view.grid.broadcast(&op.shape);
        self.seen_as(node, View { grid, ..view })
    }

    pub(super) fn concat(&mut self, node: &Node, op: &Concat) -> Result<(), LowerError> {
        let output = self.moved_place(node);
        let mut start = 0;
        for operand in node.operands.iter().flatten().copied() {
            let layout = self.graph.ty(node.output()).layout;
            let view = self.view_as(operand, layout);
            let mut starts = vec![0; view.grid.dims.len()];
            starts[op.axis] = start;
            start += view.grid.dims[op.axis];
            let (grid, offset) = output.grid.sliced(&starts, &view.grid.dims, |_| 1);
            let part = View { offset: output.offset + offset as usize, grid, ..output.clone() };
            // An operand that was produced inside the buffer needs no copy.
            if view != part {
                self.copy(view, part, &origin(&node.origin));
            }
        }
        self.finish_move(node, output)
    }

    pub(super) fn pad(&mut self, node: &Node, op: &Pad) -> Result<(), LowerError> {
        let x = node.operands[0].expect("verified");
        let view = self.view(x);
        let output = self.moved_place(node);
        let name = origin(&node.origin);
        if op.mode == PadMode::Constant {
            let element = self.stored_value(x, op.value);
            self.call(Producer::Fill(Fill { element }), vec![], vec![], output.clone(), &name);
            let (grid, offset) = output.grid.sliced(&op.before, &view.grid.dims, |_| 1);
            let inner = View { offset: output.offset + offset as usize, grid, ..output.clone() };
            self.copy(view, inner, &name);
            return self.finish_move(node, output);
        }
        let source = |axis: usize, at: usize| {
            let (i, last) = (at as isize - op.before[axis] as isize, view.grid.dims[axis] as isize - 1);
            let inside = match op.mode {
                PadMode::Reflect if i < 0 => -i,
                PadMode::Reflect if i > last => 2 * last - i,
                _ => i.clamp(0, last),
            };
            inside as usize
        };
        let dims = output.grid.dims.clone();
        let lists = (0..dims.len()).map(|axis| (0..dims[axis]).map(|at| source(axis, at)).collect()).collect();
        self.gather_axes(node, view, output.clone(), lists);
        self.finish_move(node, output)
    }

    pub(super) fn resize(&mut self, node: &Node, op: &Resize) -> Result<(), LowerError> {
        let view = self.view(node.operands[0].expect("verified"));
        match op.mode {
            ResizeMode::Nearest => {
                let (output, inputs) = (self.moved_place(node), view.grid.dims.clone());
                let nearest = |axis: usize, at: usize| op.neighbours(axis, at, &inputs)[0].0;
                let list = |(axis, extent): (usize, &usize)| (0..*extent).map(|at| nearest(axis, at)).collect();
                let lists = output.grid.dims.iter().enumerate().map(list).collect();
                self.gather_axes(node, view, output.clone(), lists);
                self.finish_move(node, output)
            }
            ResizeMode::Linear => self.interpolate(node, op, view),
        }
    }

    /// One call per axis that changes; the last one runs the steps.
    fn interpolate(&mut self, node: &Node, op: &Resize, view: View) -> Result<(), LowerError> {
        let (dims, inputs) = (op.sizes.to_vec(), view.grid.dims.clone());
        let changed: Vec<usize> = (0..dims.len()).filter(|axis| !op.keeps(*axis, inputs[*axis])).collect();
        let Some((last, before)) = changed.split_last() else { return self.pointwise(node, view, vec![]) };
        let (dtype, layout, name) = (view.dtype, self.graph.ty(node.output()).layout, origin(&node.origin));
        let mut current = view;
        for axis in before.iter().copied() {
            let mut extents = current.grid.dims.clone();
            extents[axis] = dims[axis];
            // The result is rounded to its type once, after the last axis.
            let next = self.arena(&name, DType::F32, &extents, layout, [0; 4]);
            let operands = self.taps(op, axis, current, &inputs);
            self.call(Producer::Interpolate(Interpolate { axis }), operands, vec![], next.clone(), &name);
            current = next;
        }
        let output = self.place(node.output());
        let mut operands = self.taps(op, *last, current, &inputs);
        // Kernels interpolate in f32.
        let mut steps: Vec<Step> = (dtype != DType::F32).then_some(Step::Cast(dtype)).into_iter().collect();
        steps.extend(self.steps(node, &dims, layout, &mut operands));
        self.call(Producer::Interpolate(Interpolate { axis: *last }), operands, steps, output, &name);
        Ok(())
    }

    /// The operands of an interpolation of `view` along `axis`, for a resize of a tensor of extents `inputs`.
    fn taps(&mut self, op: &Resize, axis: usize, view: View, inputs: &[usize]) -> Vec<View> {
        let taps = (0..op.sizes[axis]).flat_map(|at| op.neighbours(axis, at, inputs));
        let (positions, weights): (Vec<i64>, Vec<f32>) = taps.map(|(at, weight)| (at as i64, weight)).unzip();
        vec![view, self.int_list("positions", DType::I32, &positions), self.f32_list("weights", &weights)]
    }

    pub(super) fn gather(&mut self, node: &Node, op: &Gather) -> Result<(), LowerError> {
        let (x, indices) = (node.operands[0].expect("verified"), node.operands[1].expect("verified"));
        let view = self.view(x);
        let name = origin(&node.origin);
        let shape = &self.graph.ty(indices).shape;
        let (rank, count) = (shape.rank(), shape.elements());
        let place = self.moved_place(node);
        // The axes of the indices become one axis, so that the result has the operand's rank.
        let dims = [&place.grid.dims[..op.axis], &[count], &place.grid.dims[op.axis + rank..]].concat();
        let output = match place.grid.reshaped(&dims) {
            Some(grid) => View { grid, ..place.clone() },
            None => self.arena(&name, place.dtype, &dims, Layout::Nchw, [0; 4]),
        };
        if let Some(Data::Int(positions)) = self.graph.constant(indices).map(Tensor::data) {
            let length = view.grid.dims[op.axis] as i64;
            let positions: Vec<i64> = positions.iter().map(|i| if *i < 0 { i + length } else { *i }).collect();
            if let Some(outside) = positions.iter().find(|i| !(0..length).contains(*i)) {
                return Err(self.unsupported(node, format!("index {outside} is outside an axis of extent {length}")));
            }
            self.pick(view, output.clone(), op.axis, &positions, &name);
        } else {
            let indices = self.view(indices);
            let list = self.reshaped(indices, &[count], &format!("{name} indices"), &name);
            self.call(
                Producer::Gather(kernel::Gather { axis: op.axis, blocks: None }),
                vec![view, list],
                vec![],
                output.clone(),
                &name,
            );
        }
        if output.storage != place.storage {
            let from = View { grid: Grid::dense(&place.grid.dims), ..output };
            self.copy(from, place.clone(), &name);
        }
        self.finish_move(node, place)
    }

    /// Takes the elements at known positions along `axis`. If strides can express the positions (every other element,
    /// shuffled channels, repeated rows), the call is a copy.
    fn pick(&mut self, view: View, output: View, axis: usize, positions: &[i64], name: &str) {
        let Some([outer, inner]) = regular(positions) else {
            let operands = vec![view, self.int_list("positions", DType::I32, positions)];
            return self.call(Producer::Gather(kernel::Gather { axis, blocks: None }), operands, vec![], output, name);
        };
        let split = |grid: &Grid, strides: [isize; 2]| {
            let cut = |list: &[isize], pair: [isize; 2]| [&list[..axis], &pair, &list[axis + 1..]].concat();
            let dims = [&output.grid.dims[..axis], &[outer.0, inner.0], &output.grid.dims[axis + 1..]].concat();
            Grid { dims, strides: cut(&grid.strides, strides) }
        };
        let (from, to) = (view.grid.strides[axis], output.grid.strides[axis]);
        let offset = (view.offset as isize + positions[0] as isize * from) as usize;
        let picked = View { offset, grid: split(&view.grid, [outer.1 * from, inner.1 * from]), ..view };
        let grid = split(&output.grid, [inner.0 as isize * to, to]);
        self.copy(picked, View { grid, ..output }, name);
    }

    /// Takes elements along each axis; one call per axis that changes.
    fn gather_axes(&mut self, node: &Node, view: View, output: View, lists: Vec<Vec<usize>>) {
        let name = origin(&node.origin);
        let same = |list: &[usize], extent: usize| list.iter().copied().eq(0..extent);
        let changed: Vec<usize> = (0..lists.len()).filter(|a| !same(&lists[*a], view.grid.dims[*a])).collect();
        let mut current = view;
        for (done, axis) in changed.iter().copied().enumerate() {
            let next = match done + 1 == changed.len() {
                true => output.clone(),
                false => {
                    let mut extents = current.grid.dims.clone();
                    extents[axis] = lists[axis].len();
                    self.arena(&name, output.dtype, &extents, self.graph.ty(node.output()).layout, [0; 4])
                }
            };
            let positions: Vec<i64> = lists[axis].iter().map(|i| *i as i64).collect();
            self.pick(current, next.clone(), axis, &positions, &name);
            current = next;
        }
        if changed.is_empty() {
            self.copy(current, output, &name);
        }
    }

    /// The place to which an operator moves elements: its result, or, if steps follow, a temporary that
    /// [`Self::finish_move`] reads.
    pub(super) fn moved_place(&mut self, node: &Node) -> View {
        let y = node.output();
        if node.epilogue.is_empty() {
            return self.place(y);
        }
        let moved = self.graph.infer(&node.op, &node.operands, &Epilogue::none()).expect("verified").swap_remove(0);
        let name = format!("{} moved", self.name(y));
        self.arena(&name, moved.dtype, &moved.shape, self.graph.ty(y).layout, [0; 4])
    }

    /// Runs the steps on the moved elements.
    pub(super) fn finish_move(&mut self, node: &Node, moved: View) -> Result<(), LowerError> {
        if node.epilogue.is_empty() { Ok(()) } else { self.pointwise(node, moved, vec![]) }
    }

    /// A real number in the stored form of the tensor.
    fn stored_value(&self, id: ValueId, value: f32) -> [u8; 8] {
        let ty = self.graph.ty(id);
        if ty.dtype.is_float() {
            let tensor = eightfold_ir::Tensor::from_array(
                ty.dtype,
                eightfold_ir::Shape::scalar(),
                &eightfold_ir::Data::Float(vec![value]),
            );
            let mut element = [0; 8];
            element[..tensor.bytes().len()].copy_from_slice(tensor.bytes());
            return element;
        }
        let params = self.graph.quant(id).and_then(eightfold_ir::QuantParams::as_per_tensor);
        let stored = match (params, ty.dtype.integer_range()) {
            (Some((scale, zero)), Some((min, max))) => {
                i64::from(eightfold_ir::quant::quantize(value, scale, zero, min as i32, max as i32))
            }
            _ => ty.dtype.wrap(value as i64),
        };
        stored.to_le_bytes()
    }
}

/// Two loops that produce the positions, as extents and steps, outer loop first; `None` if the positions have no such
/// pattern.
fn regular(positions: &[i64]) -> Option<[(usize, isize); 2]> {
    let first = *positions.first()?;
    let step = |pair: &[i64]| pair[1] - pair[0];
    let inner_step = positions.windows(2).next().map_or(1, step);
    let inner = 1 + positions.windows(2).take_while(|pair| step(pair) == inner_step).count();
    let outer_step = positions.get(inner).map_or(0, |next| next - first);
    let (outer, rest) = (positions.len() / inner, positions.len() % inner);
    let at = |index: usize| first + (index / inner) as i64 * outer_step + (index % inner) as i64 * inner_step;
    let walks = rest == 0 && positions.iter().enumerate().all(|(index, position)| *position == at(index));
    walks.then_some([(outer, outer_step as isize), (inner, inner_step as isize)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_strides_and_repetitions_are_loops() {
        assert_eq!(regular(&[0, 3, 1, 4, 2, 5]), Some([(3, 1), (2, 3)]));
        assert_eq!(regular(&[1, 3, 5, 7]), Some([(1, 0), (4, 2)]));
        assert_eq!(regular(&[0, 0, 1, 1, 2, 2]), Some([(3, 1), (2, 0)]));
        assert_eq!(regular(&[4]), Some([(1, 0), (1, 1)]));
        assert_eq!(regular(&[2, 1, 0]), Some([(1, 0), (3, -1)]));
        for positions in [&[0, 1, 3, 4, 5][..], &[0, 2, 1], &[]] {
            assert_eq!(regular(positions), None, "{positions:?}");
        }
    }
}

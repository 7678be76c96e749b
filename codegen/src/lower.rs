//! Lowering: from a graph to a program.
//!
//! First `placement` decides where values are stored. Operators that only move elements become views if strides can
//! express them; operands of a concatenation are produced inside the joined buffer; inputs of padded convolutions get a
//! border. Then each node becomes calls; each operator has a file in `lower/`. Lowering does not rewrite the graph,
//! makes no choices and packs nothing: weights stay [plain](crate::kernel::Plain).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use eightfold_ir::{
    Arg as IrArg, Bytes, DType, Data, Def, Function, Graph, Layout, Node, Op, Origin, QuantRule, Step as IrStep,
    Tensor, ValueId, VerifiedGraph,
};

use crate::kernel::{Call, Fill, Pointwise, Producer};
use crate::program::{Buffer, BufferKind, Item, Program};
use crate::step::{Arg, Step};
use crate::target::Target;
use crate::view::{BufferId, Const, ConstId, Grid, Storage, View};

mod conv;
mod conv_transpose;
mod cumsum;
mod matmul;
mod movement;
mod placement;
mod reduce;
mod region;
mod softmax;
mod window;

use placement::Placement;

/// A verified graph that code generation does not support.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// The operator has no kernel for this element type.
    #[error("{op} ({origin}) on {dtype} has no kernel")]
    DType {
        /// The operator's text name.
        op: &'static str,
        /// The ONNX nodes.
        origin: String,
        /// The element type.
        dtype: DType,
    },
    /// The operator is used in an unsupported way.
    #[error("{op} ({origin}): {reason}")]
    Unsupported {
        /// The operator's text name.
        op: &'static str,
        /// The ONNX nodes.
        origin: String,
        /// The unsupported property.
        reason: String,
    },
}

/// Lowers a graph to a program: a list of calls, without any schedule.
///
/// # Errors
/// Fails if an operator has no kernel for its types or operands.
pub fn lower(graph: VerifiedGraph<'_>, target: &'static Target) -> Result<Program, LowerError> {
    let mut lowering = Lowering::new(&graph, target);
    lowering.nodes()?;
    Ok(lowering.finish())
}

/// The state of lowering.
struct Lowering<'g> {
    /// The graph, or the body of a node that is being lowered.
    graph: &'g Graph,
    target: &'static Target,
    placement: Placement,
    /// The view of each value that has been reached.
    views: Vec<Option<View>>,
    /// The border around each value's elements: before and after rows, before and after columns; 0 if there is none.
    borders: Vec<[usize; 4]>,
    /// Where each output of the graph must be; `None` if it may be anywhere.
    results: Vec<Option<View>>,
    /// What runs so far.
    items: Vec<Item>,
    /// The number of loops so far.
    loops: usize,
    buffers: Vec<Buffer>,
    consts: Vec<Const>,
    /// The constants by the hash of their bytes.
    const_ids: BTreeMap<u64, Vec<ConstId>>,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, target: &'static Target) -> Self {
        let count = graph.value_count();
        let mut lowering = Lowering {
            graph,
            target,
            placement: Placement::of(graph),
            views: vec![None; count],
            borders: vec![[0; 4]; count],
            results: Vec::new(),
            items: Vec::new(),
            loops: 0,
            buffers: Vec::new(),
            consts: Vec::new(),
            const_ids: BTreeMap::new(),
        };
        for (position, id) in graph.inputs().iter().enumerate() {
            let ty = graph.ty(*id);
            let storage = lowering.buffer(&lowering.name(*id), BufferKind::Input(position), ty.dtype, ty.byte_size());
            let grid = Grid::dense(&ty.shape);
            lowering.views[id.index()] = Some(View::new(storage, ty.dtype, 0, grid));
        }
        for (position, output) in graph.outputs().iter().enumerate() {
            let ty = graph.ty(output.value);
            let storage = lowering.buffer(&output.name, BufferKind::Output(position), ty.dtype, ty.byte_size());
            lowering.results.push(Some(View::new(storage, ty.dtype, 0, Grid::dense(&ty.shape))));
        }
        lowering
    }

    /// Lowers all nodes of the graph, and brings its outputs to their places.
    fn nodes(&mut self) -> Result<(), LowerError> {
        for node in self.graph.nodes() {
            self.node(node)?;
        }
        self.copy_outputs();
        Ok(())
    }

    fn node(&mut self, node: &'g Node) -> Result<(), LowerError> {
        match &node.op {
            Op::Map(_) => self.map(node),
            Op::Conv(op) => self.conv(node, op),
            Op::ConvTranspose(op) => self.conv_transpose(node, op),
            Op::CumSum(op) => self.cumsum(node, op),
            Op::MatMul(op) => self.matmul(node, op),
            Op::Pool(op) => self.pool(node, op),
            Op::Reduce(op) => self.reduce(node, op),
            Op::Softmax(op) => self.softmax(node, op),
            Op::QuantizeLinear(_) => self.quantize_linear(node),
            Op::DequantizeLinear(_) => self.dequantize_linear(node),
            Op::Concat(op) => self.concat(node, op),
            Op::Slice(op) => self.slice(node, op),
            Op::Pad(op) => self.pad(node, op),
            Op::Resize(op) => self.resize(node, op),
            Op::Transpose(op) => self.transpose(node, op),
            Op::Reshape(op) => self.reshape(node, op),
            Op::Expand(op) => self.expand(node, op),
            Op::Gather(op) => self.gather(node, op),
            Op::If(op) => self.branch(node, op),
            Op::Loop(op) => self.repeat(node, op),
            Op::Scan(op) => self.scan(node, op),
            Op::Relayout(_) => self.relayout(node),
        }
    }

    /// The name of a value, for dumps.
    fn name(&self, id: ValueId) -> String {
        self.graph.value(id).name.as_deref().map_or_else(|| format!("v{}", id.index()), str::to_owned)
    }

    fn unsupported(&self, node: &Node, reason: impl Into<String>) -> LowerError {
        LowerError::Unsupported { op: node.op.name(), origin: origin(&node.origin), reason: reason.into() }
    }

    fn buffer(&mut self, name: &str, kind: BufferKind, dtype: DType, byte_size: usize) -> Storage {
        self.buffers.push(Buffer { name: name.to_owned(), kind, dtype, byte_size });
        Storage::Buffer(BufferId(self.buffers.len() - 1))
    }

    /// Creates an arena buffer for a tensor of these extents, with `border` around its rows and columns. Its contents
    /// are undefined.
    fn arena(&mut self, name: &str, dtype: DType, dims: &[usize], layout: Layout, border: [usize; 4]) -> View {
        let [top, bottom, left, right] = border;
        let mut outer = dims.to_vec();
        let grid = match layout {
            Layout::Nchw => Grid::dense(dims),
            Layout::Nhwc => {
                let last = dims.len() - 1;
                outer[last] += left + right;
                if dims.len() > 3 {
                    outer[last - 1] += top + bottom;
                }
                Grid { dims: dims.to_vec(), ..Grid::channels_last(&outer) }
            }
        };
        let bytes = outer.iter().product::<usize>() * dtype.byte_size();
        let storage = self.buffer(name, BufferKind::Arena { offset: 0 }, dtype, bytes);
        let mut offset = 0;
        if layout == Layout::Nhwc {
            let last = dims.len() - 1;
            offset = left * grid.strides[last] as usize;
            if dims.len() > 3 {
                offset += top * grid.strides[last - 1] as usize;
            }
        }
        View::new(storage, dtype, offset, grid)
    }

    /// Adds a constant; constants with equal bytes are shared.
    fn constant(&mut self, name: String, bytes: impl Into<Bytes>) -> ConstId {
        let bytes = bytes.into();
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let alike = self.const_ids.entry(hasher.finish()).or_default();
        if let Some(id) = alike.iter().find(|id| self.consts[id.0].bytes == bytes) {
            return *id;
        }
        let id = ConstId(self.consts.len());
        alike.push(id);
        self.consts.push(Const { name, bytes });
        id
    }

    /// A view of a constant list of integers of type `dtype`.
    fn int_list(&mut self, name: &str, dtype: DType, values: &[i64]) -> View {
        let tensor = Tensor::int(dtype, &[values.len()], values);
        self.tensor(name, &tensor, Layout::Nchw)
    }

    /// A view of a constant list of f32.
    fn f32_list(&mut self, name: &str, values: &[f32]) -> View {
        self.tensor(name, &Tensor::f32(&[values.len()], values), Layout::Nchw)
    }

    /// A view of a constant whose bytes are stored in the order of `layout`, so that kernels read them in sequence.
    fn tensor(&mut self, name: &str, tensor: &Tensor, layout: Layout) -> View {
        let dims = tensor.shape().to_vec();
        let channels_last = layout == Layout::Nhwc && dims.len() >= 3;
        let (grid, bytes) = if channels_last {
            let grid = Grid::channels_last(&dims);
            let size = tensor.dtype().byte_size();
            let unpacked = tensor.unpacked();
            let mut bytes = vec![0; unpacked.len()];
            let positions =
                eightfold_ir::array::strided(tensor.shape(), 0, grid.strides.iter().map(|s| *s as usize).collect());
            for (element, to) in unpacked.chunks_exact(size).zip(positions) {
                bytes[to * size..][..size].copy_from_slice(element);
            }
            (grid, Bytes::from(bytes))
        } else {
            (Grid::dense(&dims), tensor.unpacked())
        };
        let id = self.constant(name.to_owned(), bytes);
        View::new(Storage::Const(id), tensor.dtype(), 0, grid)
    }

    /// The view of a value. Constants are stored in the order of `layout`.
    fn view_as(&mut self, id: ValueId, layout: Layout) -> View {
        if let Def::Const(tensor) = &self.graph.value(id).def {
            return self.tensor(&self.name(id), tensor, layout);
        }
        self.views[id.index()].clone().expect("operands come before users")
    }

    fn view(&mut self, id: ValueId) -> View {
        self.view_as(id, Layout::Nchw)
    }

    /// The place of a value that is about to be computed.
    fn place(&mut self, id: ValueId) -> View {
        if let Some(view) = &self.views[id.index()] {
            return view.clone();
        }
        let ty = self.graph.ty(id).clone();
        let view = if let Some((parent, axis, start)) = self.placement.home(id) {
            let parent_view = self.place(parent);
            // The part shares rows and columns with the whole buffer only if the channels are joined.
            self.borders[id.index()] = if axis == 1 { self.borders[parent.index()] } else { [0; 4] };
            let mut starts = vec![0; ty.shape.rank()];
            starts[axis] = start;
            let (grid, offset) = parent_view.grid.sliced(&starts, &ty.shape, |_| 1);
            View { offset: parent_view.offset + offset as usize, grid, ..parent_view }
        } else if let Some(place) = self.placement.output(id).and_then(|position| self.results[position].clone()) {
            place
        } else {
            let border = self.placement.border(id);
            self.borders[id.index()] = border;
            let view = self.arena(&self.name(id), ty.dtype, &ty.shape, ty.layout, border);
            self.fill_border(&view, border, self.stored_zero(id));
            view
        };
        self.views[id.index()] = Some(view.clone());
        view
    }

    /// The zero point of a value.
    fn stored_zero(&self, id: ValueId) -> i64 {
        self.graph.quant(id).and_then(|q| q.as_per_tensor()).map_or(0, |(_, zero_point)| i64::from(zero_point))
    }

    /// Fills the border around `view` with `value`.
    fn fill_border(&mut self, view: &View, border: [usize; 4], value: i64) {
        if border == [0; 4] {
            return;
        }
        let [top, bottom, left, right] = border;
        let (dims, strides) = (&view.grid.dims, &view.grid.strides);
        let last = dims.len() - 1;
        let rows = if dims.len() > 3 { dims[last - 1] } else { 1 };
        let row = if dims.len() > 3 { strides[last - 1] } else { 0 };
        let (column, batch) = (strides[last] as usize, (dims[0], strides[0]));
        let before = top * row as usize + left * column;
        let after = right * column + bottom * row as usize;
        let start = view.offset - before;
        // The end of a row and the start of the next are adjacent in memory: one gap lies between two rows.
        let gap = (left + right) * column;
        let first_gap = view.offset + dims[last] * column;
        let ranges = match rows.checked_sub(1) {
            Some(gaps) => {
                let end = first_gap + gaps * row as usize;
                vec![(start, 1, before), (first_gap, gaps, gap), (end, 1, after)]
            }
            // Without rows, everything is border.
            None => vec![(start, 1, (top + bottom) * row as usize)],
        };
        for (offset, count, run) in ranges {
            if count * run > 0 {
                let grid = Grid { dims: vec![batch.0, count, run], strides: vec![batch.1, row, 1] };
                let element = value.to_le_bytes();
                self.call(
                    Producer::Fill(Fill { element }),
                    vec![],
                    vec![],
                    View { offset, grid, ..view.clone() },
                    "border",
                );
            }
        }
    }

    fn call(&mut self, producer: Producer, operands: Vec<View>, steps: Vec<Step>, output: View, origin: &str) {
        self.items.push(Item::Call(Call { producer, operands, steps, output, origin: origin.to_owned() }));
    }

    /// Copies `from` to `to`, which has the same extents.
    fn copy(&mut self, from: View, to: View, origin: &str) {
        self.call(Producer::Pointwise(Pointwise), vec![from], vec![], to, origin);
    }

    /// The node's steps for a result of extents `dims` in `layout`. Appends the views that they read to `operands`. If
    /// the kernel does not add the bias, that is the first step.
    fn steps(&mut self, node: &Node, dims: &[usize], layout: Layout, operands: &mut Vec<View>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(node.epilogue.steps.len() + 1);
        steps.extend(self.scale_step(node, dims, operands));
        steps.extend(self.bias_step(node, dims, operands));
        for step in &node.epilogue.steps {
            steps.push(match step {
                IrStep::Apply(function, args) => {
                    // A literal takes the type of the number it is combined with; `select` may have no such number.
                    let takes_literals = *function != Function::Select;
                    let args = args.iter().map(|arg| match *arg {
                        IrArg::Current => Arg::Current,
                        IrArg::Float(x) => Arg::Float(x),
                        IrArg::Int(x) => Arg::Int(x),
                        IrArg::Value(id) => match self.literal(id).filter(|_| takes_literals) {
                            Some(literal) => literal,
                            None => Arg::Operand(self.step_operand(id, dims, layout, operands)),
                        },
                        IrArg::Dequantized { value, scale, zero_point } => {
                            let operand = self.step_operand(value, dims, layout, operands);
                            Arg::Dequantized { operand, scale, zero_point }
                        }
                    });
                    Step::Apply(*function, args.collect())
                }
                IrStep::Cast(dtype) => Step::Cast(*dtype),
                IrStep::Dequantize { scale, zero_point } => Step::Dequantize { scale: *scale, zero_point: *zero_point },
                IrStep::Quantize { dtype, scale, zero_point, min, max } => {
                    Step::Quantize { dtype: *dtype, scale: *scale, zero_point: *zero_point, min: *min, max: *max }
                }
                IrStep::Table(id) => {
                    let view = self.view(*id);
                    let dtype = view.dtype;
                    operands.push(view);
                    Step::Table { operand: operands.len() - 1, dtype }
                }
            });
        }
        steps
    }

    /// The step that multiplies by the scales of weights, if the kernel reads these as they are stored.
    fn scale_step(&mut self, node: &Node, dims: &[usize], operands: &mut Vec<View>) -> Option<Step> {
        let scales = self.weight_scale(node)?.scale.clone();
        let arg = match &*scales {
            [scale] => Arg::Float(*scale),
            scales => {
                let scales = self.f32_list("weight scales", scales);
                Arg::Operand(along_channels(node, dims, scales, operands))
            }
        };
        Some(Step::Apply(Function::Mul, vec![Arg::Current, arg]))
    }

    /// The step that adds the bias, if the bias is not constant or the kernel's accumulators start at zero.
    fn bias_step(&mut self, node: &Node, dims: &[usize], operands: &mut Vec<View>) -> Option<Step> {
        let QuantRule::Affine { bias, .. } = node.op.quant_rule() else { return None };
        let bias = node.operand(bias)?;
        if self.kernel_bias(node).is_some() {
            return None;
        }
        let view = self.view(bias);
        let operand = along_channels(node, dims, view, operands);
        Some(Step::Apply(Function::Add, vec![Arg::Current, Arg::Operand(operand)]))
    }

    /// The bias with which the kernel's accumulators start.
    fn kernel_bias(&self, node: &Node) -> Option<ValueId> {
        let QuantRule::Affine { bias, .. } = node.op.quant_rule() else { return None };
        let in_sums = !matches!(node.op, Op::MatMul(_)) || shared_weights(self.graph, node).is_some();
        // The bias is added after the multiplication by the scale of the weights.
        let in_sums = in_sums && self.weight_scale(node).is_none();
        node.operand(bias).filter(|id| in_sums && self.graph.constant(*id).is_some())
    }

    /// Appends a tensor that a step reads to `operands`; returns its position.
    fn step_operand(&mut self, id: ValueId, dims: &[usize], layout: Layout, operands: &mut Vec<View>) -> usize {
        let view = self.view_as(id, layout);
        operands.push(View { grid: view.grid.broadcast(dims), ..view });
        operands.len() - 1
    }

    /// A constant of one element, as a literal.
    fn literal(&self, id: ValueId) -> Option<Arg> {
        let tensor = self.graph.constant(id).filter(|t| t.shape().elements() == 1)?;
        match tensor.data() {
            Data::Float(v) => Some(Arg::Float(v[0])),
            Data::Int(v) => Some(Arg::Int(v[0])),
        }
    }

    /// Copies values to outputs that they are not written to directly: inputs, constants, views, values that are output
    /// twice.
    fn copy_outputs(&mut self) {
        let places = self.results.clone();
        for (output, place) in self.graph.outputs().iter().zip(places) {
            let Some(to) = place else { continue };
            let from = self.view(output.value);
            if from != to {
                self.copy(from, to, "output");
            }
        }
    }

    fn finish(self) -> Program {
        let (buffers, consts, body) = (self.buffers, self.consts, self.items);
        Program { buffers, consts, body, ..Program::new(&self.graph.name, self.target) }
    }
}

/// The weights of a product, if they are constant and one matrix for the whole batch.
fn shared_weights<'g>(graph: &'g Graph, node: &Node) -> Option<&'g Tensor> {
    let w = node.operand(1)?;
    let shape = &graph.ty(w).shape;
    let is_matrix = shape[..shape.rank() - 2].iter().all(|extent| *extent == 1);
    graph.constant(w).filter(|_| is_matrix)
}

/// The names of the ONNX nodes, for calls and errors.
fn origin(origin: &Origin) -> String {
    origin.names().collect::<Vec<_>>().join(", ")
}

/// Appends a vector with one element per output channel of a product to `operands`, broadcast to the result's extents
/// `dims`; returns its position.
fn along_channels(node: &Node, dims: &[usize], view: View, operands: &mut Vec<View>) -> usize {
    let QuantRule::Affine { axis, .. } = node.op.quant_rule() else { unreachable!("a sum of products") };
    // Convolutions have the output channels on the first axis of the weights and on axis 1 of the result. Matrix
    // products have them on the last axis of both.
    let channels = if axis == 0 { 1 } else { dims.len() - 1 };
    let mut grid = Grid { dims: dims.to_vec(), strides: vec![0; dims.len()] };
    grid.strides[channels] = view.grid.strides[0];
    operands.push(View { grid, ..view });
    operands.len() - 1
}

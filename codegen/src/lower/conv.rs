//! Convolutions: implicit matrix products, or depthwise if each channel is its own group.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::{EvalOperand, OpDef};
use eightfold_ir::{DType, Layout, Node, Op, QuantParams, Tensor, ValueId};

use super::window::wanted_border;
use super::{LowerError, Lowering, origin, shared_weights};
use crate::kernel::gemm::format::Format;
use crate::kernel::{Depthwise, Gemm, Plain, Run};
use crate::program::BufferKind;
use crate::view::{Grid, Storage, View};

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node, op: &Conv) -> Result<(), LowerError> {
        let sums = self.sums(node, op.group)?;
        let (stride, dilation, pad) = match sums.spatial {
            1 => ([1, op.stride(0)], [1, op.dilation(0)], [0, op.pad(0).0]),
            _ => ([op.stride(0), op.stride(1)], [op.dilation(0), op.dilation(1)], [op.pad(0).0, op.pad(1).0]),
        };
        let (dims, strides) = (&sums.output.grid.dims, &sums.input.grid.strides);
        let window = Window {
            node,
            pixels: [dims[0], dims[2], dims[3]],
            strides: stride,
            part: Part::WHOLE,
            row: strides[2] * dilation[0] as isize,
            column: strides[3] * dilation[1] as isize,
            kernel: sums.kernel,
        };
        let corner = pad.map(|pad| -(pad as isize));
        self.window_sums(&window, &sums, corner, &sums.weights);
        self.finish_sums(node, sums);
        Ok(())
    }

    /// The operands of a convolution or transposed convolution with constant weights, and a place for its result.
    pub(super) fn sums(&mut self, node: &Node, group: usize) -> Result<Sums, LowerError> {
        let (x, w) = (node.operands[0].expect("verified"), node.operands[1].expect("verified"));
        let ty = self.graph.ty(x).clone();
        if !matches!(ty.dtype, DType::F32 | DType::Bf16 | DType::U8 | DType::I8) {
            return Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype: ty.dtype });
        }
        let spatial = ty.shape.rank() - 2;
        let Some((_, border)) = wanted_border(self.graph, node) else {
            return Err(self.unsupported(node, format!("{spatial} spatial axes; 1 and 2 have kernels")));
        };
        let Some(weights) = self.plain_weights(node, w) else {
            return Err(self.unsupported(node, "weights that are not constant have no kernel"));
        };
        let shape = planar(&weights.grid);
        let (dims, strides) = (&shape.dims, &shape.strides);
        let grid = |list: [usize; 4]| Grid {
            dims: list.map(|axis| dims[axis]).to_vec(),
            strides: list.map(|axis| strides[axis]).to_vec(),
        };
        let (depth, kernel, channels) = (dims[1], [dims[2], dims[3]], dims[0]);
        let weights = View { grid: grid([0, 2, 3, 1]), ..weights };
        let bias = self.plain_bias(node, ty.dtype, channels);
        let input = self.window_input(node, x, border);
        let input = View { grid: planar(&input.grid), ..input };
        let (output, copy_to) = self.channels_last_place(node.output());
        let output = View { grid: planar(&output.grid), ..output };
        let zero = self.stored_zero(x) as i32;
        Ok(Sums { spatial, group, depth, kernel, input, output, weights, bias, zero, copy_to })
    }

    /// Computes the outputs of one window over the input. `corner` is the row and column of the first output's first
    /// tap; `weights` are the weights of the window's taps.
    pub(super) fn window_sums(&mut self, window: &Window<'_>, sums: &Sums, corner: [isize; 2], weights: &View) {
        let input = sums.input_from(corner);
        let output = window.part.of(&sums.output, window.pixels);
        if is_depthwise(sums.group, sums.depth, output.grid.dims[1]) {
            self.depthwise(window, sums, input, output, weights);
        } else {
            self.groups(window, sums, &input, &output, weights);
        }
    }

    /// Copies a result to its place, if it could not be computed there.
    pub(super) fn finish_sums(&mut self, node: &Node, sums: Sums) {
        if let Some(place) = sums.copy_to {
            let grid = Grid { dims: place.grid.dims.clone(), strides: drop_row(&sums.output.grid, &place.grid) };
            self.copy(View { grid, ..sums.output }, place, &origin(&node.origin));
        }
    }

    /// The input of a window kernel: its channels are adjacent, its border is at least `border` wide, and it is
    /// readable a little beyond its ends. An input without these properties is copied.
    fn window_input(&mut self, node: &Node, x: ValueId, border: [usize; 4]) -> View {
        let view = self.view_as(x, Layout::Nhwc);
        let dims = view.grid.dims.clone();
        let wide = self.borders[x.index()].iter().zip(&border).all(|(have, want)| have >= want);
        let adjacent = view.grid.strides[1] == 1 || dims[1] == 1;
        let ours = match view.storage {
            Storage::Const(_) => false,
            Storage::Buffer(id) => matches!(self.buffers[id.0].kind, BufferKind::Arena { .. }),
        };
        if wide && adjacent && ours {
            return view;
        }
        let name = format!("{} padded", self.name(x));
        let place = self.arena(&name, view.dtype, &dims, Layout::Nhwc, border);
        self.fill_border(&place, border, self.stored_zero(x));
        self.copy(view, place.clone(), &origin(&node.origin));
        place
    }

    /// A place with adjacent channels for a result; and the value's own place, if the result must be copied there.
    pub(super) fn channels_last_place(&mut self, y: ValueId) -> (View, Option<View>) {
        let place = self.place(y);
        if place.grid.strides[1] == 1 || place.grid.dims[1] == 1 {
            return (place, None);
        }
        let name = format!("{} nhwc", self.name(y));
        let temporary = self.arena(&name, place.dtype, &place.grid.dims.clone(), Layout::Nhwc, [0; 4]);
        (temporary, Some(place))
    }

    fn depthwise(&mut self, window: &Window<'_>, sums: &Sums, input: View, output: View, weights: &View) {
        let [rows, columns] = window.kernel;
        let taps = rows * columns;
        let depthwise = Depthwise {
            input: input.dtype,
            strides: window.strides,
            taps: (0..taps)
                .map(|t| (t / columns) as isize * window.row + (t % columns) as isize * window.column)
                .collect(),
            columns,
            channels: output.grid.dims[1],
            plain: Some(Plain { zero_point: sums.zero, first: 0 }),
        };
        let mut operands = vec![input, weights.clone(), sums.bias.clone()];
        let steps = self.planar_steps(window, &mut operands);
        self.call(depthwise.into(), operands, steps, output, &origin(&window.node.origin));
    }

    fn groups(&mut self, window: &Window<'_>, sums: &Sums, input: &View, output: &View, weights: &View) {
        let (groups, depth) = (sums.group, sums.depth);
        let n = output.grid.dims[1] / groups;
        for group in 0..groups {
            let range = group * n..(group + 1) * n;
            let input = View { offset: input.offset + group * depth, ..input.clone() };
            let [mut weights, mut bias, mut output] = [weights, &sums.bias, output].map(View::clone);
            weights.narrow(0, &range);
            bias.narrow(0, &range);
            output.narrow(1, &range);
            let runs = window.runs(depth, groups == 1);
            let product = Product { runs, first: range.start, zero_point: sums.zero };
            self.gemm(window, product, [input, weights, bias], output);
        }
    }

    /// Adds one matrix product with constant weights; `operands` are the input, the weights and the bias.
    pub(super) fn gemm(&mut self, window: &Window<'_>, product: Product, operands: [View; 3], output: View) {
        let Product { runs, first, zero_point } = product;
        let n = output.grid.dims[1];
        let gemm = Gemm {
            input: operands[0].dtype,
            format: Format::of(operands[0].dtype, operands[1].dtype),
            strides: window.strides,
            runs,
            n,
            tile: None,
            extra: Vec::new(),
            joined: false,
            row_block: 0,
            plain: Some(Plain { zero_point, first: 0 }),
        };
        let mut operands = operands.to_vec();
        let own = operands.len();
        let steps = self.planar_steps(window, &mut operands);
        // The step operands have the whole result's channels; this product computes those from `first` on.
        for view in operands[own..].iter_mut().filter(|view| view.grid.dims.len() == 4) {
            view.narrow(1, &(first..first + n));
        }
        self.call(gemm.into(), operands, steps, output, &origin(&window.node.origin));
    }

    /// Constant weights as a view: of the model's bytes if their zero points are 0, otherwise of a new constant with
    /// the zero points subtracted. Quantized weights of a product with floats are dequantized if the product's kernel
    /// cannot read them.
    pub(super) fn plain_weights(&mut self, node: &Node, w: ValueId) -> Option<View> {
        let tensor = self.graph.constant(w)?;
        if self.graph.stored_weights(node).is_some() && self.weight_scale(node).is_none() {
            let quant = self.graph.quant(w);
            let floats = DequantizeLinear {}.eval(&[Some(EvalOperand { array: &tensor.into(), quant })]).swap_remove(0);
            return Some(self.tensor(&self.name(w), &Tensor::from(&floats), Layout::Nchw));
        }
        let quant = self.graph.quant(w).filter(|quant| quant.zero_point.iter().any(|zero| *zero != 0));
        let (name, shared) = (self.name(w), tensor.dtype().is_float() || tensor.dtype().byte_size() == 1);
        if shared && quant.is_none() {
            return Some(self.tensor(&name, tensor, Layout::Nchw));
        }
        let entry = quant.map(|quant| eightfold_ir::op::quantize_linear::entries(tensor.shape(), quant));
        let zero_point = |index: usize| match (quant, &entry) {
            (Some(quant), Some(entry)) => i64::from(quant.zero_point[entry(index)]),
            _ => 0,
        };
        let elements = tensor.elements();
        let centered: Vec<i64> =
            (0..tensor.shape().elements()).map(|index| elements.int(index) - zero_point(index)).collect();
        let tensor = Tensor::int(DType::I16, tensor.shape(), &centered);
        Some(self.tensor(&name, &tensor, Layout::Nchw))
    }

    /// The scales of the node's quantized weights, if the results must be multiplied by them: the node multiplies
    /// floats by weights, and its kernel reads the weights as they are stored.
    pub(super) fn weight_scale(&self, node: &Node) -> Option<&'_ QuantParams> {
        let w = self.graph.stored_weights(node)?;
        let by_gemm = match &node.op {
            Op::MatMul(_) => shared_weights(self.graph, node).is_some(),
            Op::Conv(Conv { group, .. }) | Op::ConvTranspose(ConvTranspose { group, .. }) => {
                let dims = &self.graph.ty(w).shape;
                !is_depthwise(*group, dims[1], dims[0])
            }
            _ => false,
        };
        let has_format = Format::of(DType::F32, self.graph.ty(w).dtype).is_some();
        self.graph.quant(w).filter(|_| by_gemm && has_format)
    }

    /// The bias with which the kernel's accumulators start, one per channel. `input` is the input's type.
    pub(super) fn plain_bias(&mut self, node: &Node, input: DType, channels: usize) -> View {
        let dtype = if input.is_float() { DType::F32 } else { DType::I32 };
        match self.kernel_bias(node).and_then(|id| Some((id, self.graph.constant(id)?))) {
            Some((id, tensor)) if tensor.dtype() == dtype => self.view(id),
            Some((id, tensor)) => {
                let tensor = Tensor::from_array(dtype, tensor.shape().clone(), &tensor.data());
                self.tensor(&self.name(id), &tensor, Layout::Nchw)
            }
            None => {
                let zero = self.bytes("no bias", dtype, vec![0; dtype.byte_size()]);
                View { grid: Grid { dims: vec![channels], strides: vec![0] }, ..zero }
            }
        }
    }

    /// The node's steps, with operands of rank 4 restricted to the window's part of the result. Rank 3 gets a row axis;
    /// each row of a matrix becomes a pixel.
    pub(super) fn planar_steps(&mut self, window: &Window<'_>, operands: &mut Vec<View>) -> Vec<crate::step::Step> {
        let (own, node) = (operands.len(), window.node);
        let dims = self.graph.ty(node.output()).shape.to_vec();
        let is_matrix = matches!(node.op, Op::MatMul(_));
        let layout = if is_matrix { Layout::Nchw } else { Layout::Nhwc };
        let steps = self.steps(node, &dims, layout, operands);
        // Tables are looked up, not read element by element.
        for view in operands[own..].iter_mut().filter(|view| view.grid.dims == dims) {
            if is_matrix {
                self.matrix(view, &origin(&node.origin));
            } else if dims.len() == 3 {
                view.grid = planar(&view.grid);
            }
            *view = window.part.of(view, window.pixels);
        }
        steps
    }

    /// Turns an operand into a matrix of pixels by channels, whose channels are its last axis.
    fn matrix(&mut self, view: &mut View, name: &str) {
        let dims = view.grid.dims.clone();
        let n = dims[dims.len() - 1];
        let matrix = [view.grid.elements() / n.max(1), n];
        let grid = view.grid.reshaped(&matrix).unwrap_or_else(|| {
            let place = self.arena(name, view.dtype, &dims, Layout::Nchw, [0; 4]);
            self.copy(view.clone(), place.clone(), name);
            *view = place;
            Grid::dense(&matrix)
        });
        view.grid = pixels(&grid);
    }

    /// A view of constant bytes.
    pub(super) fn bytes(&mut self, name: &str, dtype: DType, bytes: Vec<u8>) -> View {
        let count = bytes.len() / dtype.byte_size();
        let id = self.constant(name.to_owned(), bytes);
        View::new(Storage::Const(id), dtype, 0, Grid::dense(&[count]))
    }
}

/// The tensors of a convolution or transposed convolution as planes: rank 3 becomes rank 4 with one row.
pub(super) struct Sums {
    /// Spatial axes of the node.
    pub(super) spatial: usize,
    pub(super) group: usize,
    /// Input channels per group.
    pub(super) depth: usize,
    /// Rows and columns of the weights.
    pub(super) kernel: [usize; 2],
    pub(super) input: View,
    pub(super) output: View,
    /// Channels, rows, columns, depth.
    pub(super) weights: View,
    /// Channels.
    pub(super) bias: View,
    /// The zero point of the input.
    pub(super) zero: i32,
    /// The value's own place, if `output` is another.
    copy_to: Option<View>,
}

impl Sums {
    /// The input from this row and column on; they may lie in the border.
    pub(super) fn input_from(&self, [row, column]: [isize; 2]) -> View {
        let View { offset, grid, .. } = &self.input;
        let offset = *offset as isize + row * grid.strides[2] + column * grid.strides[3];
        View { offset: offset as usize, ..self.input.clone() }
    }
}

/// The geometry that all products of one window have in common.
pub(super) struct Window<'n> {
    pub(super) node: &'n Node,
    pub(super) pixels: [usize; 3],
    /// Distance of neighbouring pixels, in rows and columns of the input.
    pub(super) strides: [usize; 2],
    /// The pixels of the node's result that the window computes.
    pub(super) part: Part,
    /// Distances between neighbouring taps, in input elements.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) kernel: [usize; 2],
}

/// Equally spaced rows and columns of a result.
pub(super) struct Part {
    /// First row and column.
    pub(super) first: [usize; 2],
    /// Distances between rows and between columns.
    pub(super) step: [usize; 2],
}

impl Part {
    pub(super) const WHOLE: Part = Part { first: [0; 2], step: [1; 2] };

    /// The part of `view`, which has rank 4, with this number of rows and columns.
    pub(super) fn of(&self, view: &View, [_, rows, cols]: [usize; 3]) -> View {
        let View { mut offset, mut grid, .. } = view.clone();
        for (axis, extent) in [rows, cols].into_iter().enumerate() {
            offset = offset.wrapping_add_signed(self.first[axis] as isize * grid.strides[axis + 2]);
            grid.dims[axis + 2] = extent;
            grid.strides[axis + 2] *= self.step[axis] as isize;
        }
        View { offset, grid, ..view.clone() }
    }
}

/// The differences between the products of one convolution.
pub(super) struct Product {
    pub(super) runs: Vec<Run>,
    /// The first output channel.
    pub(super) first: usize,
    /// The zero point of the input.
    pub(super) zero_point: i32,
}

impl Window<'_> {
    /// The runs that a pixel reads. A row of the window is one run if its pixels are adjacent in memory.
    pub(super) fn runs(&self, depth: usize, whole_pixels: bool) -> Vec<Run> {
        let [rows, columns] = self.kernel;
        let joined = whole_pixels && (self.column == depth as isize || columns == 1);
        let row = |y: usize| y as isize * self.row;
        match joined {
            true => (0..rows).map(|y| Run { offset: row(y), length: columns * depth }).collect(),
            false => (0..rows * columns)
                .map(|t| Run { offset: row(t / columns) + (t % columns) as isize * self.column, length: depth })
                .collect(),
        }
    }
}

/// Whether each channel of a convolution is its own group.
fn is_depthwise(groups: usize, depth: usize, channels: usize) -> bool {
    groups > 1 && depth == 1 && channels == groups
}

/// Rank 3 becomes rank 4 with one row.
fn planar(grid: &Grid) -> Grid {
    match grid.dims.len() {
        3 => Grid { dims: insert(&grid.dims, 1), strides: insert(&grid.strides, 0) },
        _ => grid.clone(),
    }
}

fn insert<T: Copy>(list: &[T], row: T) -> Vec<T> {
    [&list[..2], &[row], &list[2..]].concat()
}

/// The strides of `grid` without the row axis that was added to rank 3, for a copy to `place`.
fn drop_row(grid: &Grid, place: &Grid) -> Vec<isize> {
    match place.dims.len() {
        3 => [&grid.strides[..2], &grid.strides[3..]].concat(),
        _ => grid.strides.clone(),
    }
}

/// A matrix of pixels by channels as planes: batch 1, channels, one row, pixels.
pub(super) fn pixels(grid: &Grid) -> Grid {
    Grid { dims: vec![1, grid.dims[1], 1, grid.dims[0]], strides: vec![0, grid.strides[1], 0, grid.strides[0]] }
}

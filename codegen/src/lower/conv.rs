//! Convolutions: implicit products of matrices, or channel by channel where each channel is its own group.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{DType, Data, Layout, Node, Op, ValueId};

use super::matmul::pixels;
use super::placement::wanted_border;
use super::{LowerError, Lowering, origin};
use crate::pack;
use crate::program::{Depthwise, Gemm, Grid, Producer, Run, Storage, View};

impl Lowering<'_> {
    pub(super) fn conv(&mut self, node: &Node, op: &Conv) -> Result<(), LowerError> {
        let (x, w, y) = (node.operands[0].expect("verified"), node.operands[1].expect("verified"), node.output());
        let ty = self.graph.ty(x).clone();
        if !matches!(ty.dtype, DType::F32 | DType::U8 | DType::I8) {
            return Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype: ty.dtype });
        }
        let Some((_, border)) = wanted_border(self.graph, node) else {
            return Err(self.unsupported(node, format!("{} spatial axes; 1 and 2 have kernels", ty.shape.rank() - 2)));
        };
        let Some(weights) = self.centered_weights(w) else {
            return Err(self.unsupported(node, "weights that are not constant have no kernel"));
        };
        let input = self.window_input(node, x, border);
        // Rank 3 is rank 4 with one row.
        let planar = |grid: &Grid| match grid.dims.len() {
            3 => Grid { dims: insert(&grid.dims, 1), strides: insert(&grid.strides, 0) },
            _ => grid.clone(),
        };
        let in_grid = planar(&input.grid);
        let kernel = planar(&Grid::dense(&self.graph.ty(w).shape)).dims;
        let (stride, dilation, pad) = match 4 - ty.shape.rank() {
            1 => ([1, op.stride(0)], [1, op.dilation(0)], [0, op.pad(0).0]),
            _ => ([op.stride(0), op.stride(1)], [op.dilation(0), op.dilation(1)], [op.pad(0).0, op.pad(1).0]),
        };
        let (output, temporary) = self.channels_last_place(y);
        let out_grid = planar(&output.grid);
        let dims = &out_grid.dims;
        let strides = &in_grid.strides;
        let window = Window {
            node,
            pixels: [dims[0], dims[2], dims[3]],
            input_strides: [strides[0], strides[2] * stride[0] as isize, strides[3] * stride[1] as isize],
            output_strides: [out_grid.strides[0], out_grid.strides[2], out_grid.strides[3]],
            row: strides[2] * dilation[0] as isize,
            column: strides[3] * dilation[1] as isize,
            kernel: [kernel[2], kernel[3]],
        };
        let corner = input.offset as isize - pad[0] as isize * strides[2] - pad[1] as isize * strides[3];
        let input = View { offset: corner as usize, grid: in_grid, ..input };
        let output = View { grid: out_grid, ..output };
        let bias = self.constant_bias(node)?;
        if op.group > 1 && kernel[1] == 1 && kernel[0] == op.group {
            self.depthwise(&window, &input, output.clone(), &weights, bias.as_ref(), self.stored_zero(x));
        } else {
            self.groups(&window, op.group, &input, &output, &weights, kernel[1], bias.as_ref(), self.stored_zero(x));
        }
        if let Some(place) = temporary {
            let from = View {
                grid: Grid { dims: place.grid.dims.clone(), strides: drop_row(&output.grid, &place.grid) },
                ..output
            };
            self.copy(from, place, &origin(&node.origin));
        }
        Ok(())
    }

    /// Constant weights as numbers less their zero points; floats as they are.
    pub(super) fn centered_weights(&self, w: ValueId) -> Option<Data> {
        let tensor = self.graph.constant(w)?;
        Some(match tensor.data() {
            Data::Float(v) => Data::Float(v),
            Data::Int(v) => {
                let Some(q) = self.graph.quant(w) else { return Some(Data::Int(v)) };
                let entry = eightfold_ir::op::quantize_linear::entries(tensor.shape(), q);
                Data::Int(v.iter().enumerate().map(|(i, x)| x - i64::from(q.zero_point[entry(i)])).collect())
            }
        })
    }

    /// The numbers of operand 2, if it is there.
    pub(super) fn constant_bias(&self, node: &Node) -> Result<Option<Data>, LowerError> {
        let Some(bias) = node.operand(2) else { return Ok(None) };
        match self.graph.constant(bias) {
            Some(tensor) => Ok(Some(tensor.data())),
            None => Err(self.unsupported(node, "a bias that is not constant has no kernel")),
        }
    }

    /// The input of a window kernel: channels adjacent, a border at least as wide as `border`, and readable a little
    /// beyond its ends. Copied into such a place where it does not lie in one.
    fn window_input(&mut self, node: &Node, x: ValueId, border: [usize; 4]) -> View {
        let view = self.view_as(x, Layout::Nhwc);
        let dims = view.grid.dims.clone();
        let wide = self.borders[x.index()].iter().zip(&border).all(|(have, want)| have >= want);
        let adjacent = view.grid.strides[1] == 1 || dims[1] == 1;
        let ours = match view.storage {
            Storage::Const(_) => false,
            Storage::Buffer(id) => matches!(self.buffers[id.0].kind, crate::program::BufferKind::Arena { .. }),
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

    /// A place for a result with adjacent channels, and, where that is not the value's own place, the place to copy to.
    pub(super) fn channels_last_place(&mut self, y: ValueId) -> (View, Option<View>) {
        let place = self.place(y);
        if place.grid.strides[1] == 1 || place.grid.dims[1] == 1 {
            return (place, None);
        }
        let name = format!("{} nhwc", self.name(y));
        let temporary = self.arena(&name, place.dtype, &place.grid.dims.clone(), Layout::Nhwc, [0; 4]);
        (temporary, Some(place))
    }

    fn depthwise(
        &mut self,
        window: &Window<'_>,
        input: &View,
        output: View,
        weights: &Data,
        bias: Option<&Data>,
        zero: i64,
    ) {
        let [rows, columns] = window.kernel;
        let taps = rows * columns;
        let channels = output.grid.dims[1];
        let (packed, sums) = match weights {
            Data::Float(w) => pack::depthwise_f32(self.target, w, channels, window.kernel, floats(bias)),
            Data::Int(w) => {
                let sums = (0..channels).map(|c| int(bias, c) - zero * w[c * taps..][..taps].iter().sum::<i64>());
                let sums: Vec<i64> = sums.collect();
                pack::depthwise_int(self.target, w, channels, window.kernel, &sums)
            }
        };
        let depthwise = Depthwise {
            input: input.dtype,
            pixels: window.pixels,
            input_strides: window.input_strides,
            output_strides: window.output_strides,
            taps: (0..taps)
                .map(|t| (t / columns) as isize * window.row + (t % columns) as isize * window.column)
                .collect(),
            columns,
            channels,
        };
        let name = origin(&window.node.origin);
        let accumulator = if input.dtype == DType::F32 { DType::F32 } else { DType::I32 };
        let mut operands = vec![input.clone(), self.bytes(&format!("{name} weights"), DType::I8, packed)];
        operands.push(self.bytes(&format!("{name} sums"), accumulator, sums));
        let steps = self.planar_steps(window.node, &mut operands);
        self.call(Producer::Depthwise(depthwise), operands, steps, output, &name);
    }

    #[expect(clippy::too_many_arguments, reason = "a convolution has this many parts")]
    fn groups(
        &mut self,
        window: &Window<'_>,
        groups: usize,
        input: &View,
        output: &View,
        weights: &Data,
        depth: usize,
        bias: Option<&Data>,
        zero: i64,
    ) {
        let n = output.grid.dims[1] / groups;
        let plane = window.kernel[0] * window.kernel[1];
        for group in 0..groups {
            let input = View { offset: input.offset + group * depth, ..input.clone() };
            let runs = window.runs(depth, groups == 1);
            // Element (kx, c) of run ky, or c of run (ky, kx).
            let columns = if runs.len() == window.kernel[0] { window.kernel[1] } else { 1 };
            let weight = |o: usize, run: usize, element: usize| {
                let tap = run * columns + element / depth;
                ((group * n + o) * depth + element % depth) * plane + tap
            };
            let first = group * n;
            let bias_of = |o: usize| first + o;
            let view = View {
                offset: output.offset + first,
                grid: Grid { dims: with(&output.grid.dims, 1, n), strides: output.grid.strides.clone() },
                ..output.clone()
            };
            let product = Product { n, runs, first, zero };
            self.gemm(window, product, input, view, weights, &weight, bias, &bias_of);
        }
    }

    /// Emits one product of matrices with packed constant weights.
    #[expect(clippy::too_many_arguments, reason = "a convolution has this many parts")]
    pub(super) fn gemm(
        &mut self,
        window: &Window<'_>,
        product: Product,
        input: View,
        output: View,
        weights: &Data,
        weight: &dyn Fn(usize, usize, usize) -> usize,
        bias: Option<&Data>,
        bias_of: &dyn Fn(usize) -> usize,
    ) {
        let Product { n, runs, first, zero } = product;
        let lengths: Vec<usize> = runs.iter().map(|r| r.length).collect();
        let tile = pack::choose_tile(self.target, input.dtype, window.pixels[2], n);
        let packed = match weights {
            Data::Float(w) => {
                let sums: Vec<f32> = (0..n).map(|o| floats(bias).map_or(0.0, |b| b[bias_of(o)])).collect();
                pack::gemm_f32(tile, n, &runs, &|o, r, e| w[weight(o, r, e)], &sums)
            }
            Data::Int(w) => {
                let shift = input_shift(input.dtype, zero);
                let sum = |o: usize| -> i64 {
                    let all = lengths.iter().enumerate().flat_map(|(r, l)| (0..*l).map(move |e| (r, e)));
                    all.map(|(r, e)| w[weight(o, r, e)]).sum()
                };
                let sums: Vec<i64> = (0..n).map(|o| int(bias, bias_of(o)) - shift * sum(o)).collect();
                pack::gemm_int(self.target, tile, n, &runs, &|o, r, e| w[weight(o, r, e)] as i32, &sums)
            }
        };
        let name = origin(&window.node.origin);
        let accumulator = if input.dtype == DType::F32 { DType::F32 } else { DType::I32 };
        let weights_type = if input.dtype == DType::F32 { DType::F32 } else { DType::I8 };
        let row_block = pack::row_block(&window.pixels, &window.input_strides, n, input.dtype);
        let gemm = Gemm {
            input: input.dtype,
            pixels: window.pixels,
            input_strides: window.input_strides,
            output_strides: window.output_strides,
            runs,
            n,
            tile,
            extra: packed.extra,
            row_block,
        };
        let mut operands = vec![input, self.bytes(&format!("{name} weights"), weights_type, packed.weights)];
        operands.push(self.bytes(&format!("{name} sums"), accumulator, packed.sums));
        let own = operands.len();
        let steps = self.planar_steps(window.node, &mut operands);
        // Steps saw the whole result's channels; this product yields those from `first` on.
        for view in &mut operands[own..] {
            if view.grid.dims.len() == 4 {
                view.offset = (view.offset as isize + first as isize * view.grid.strides[1]) as usize;
                view.grid.dims[1] = n;
            }
        }
        self.call(Producer::Gemm(gemm), operands, steps, output, &name);
    }

    /// The node's steps with operands as rank 4: rank 3 gets a row axis, of a product of matrices each row is a pixel.
    fn planar_steps(&mut self, node: &Node, operands: &mut Vec<View>) -> Vec<crate::program::Step> {
        let own = operands.len();
        let dims = self.graph.ty(node.output()).shape.to_vec();
        let is_matrix = matches!(node.op, Op::MatMul(_));
        let layout = if is_matrix { Layout::Nchw } else { Layout::Nhwc };
        let steps = self.steps(node, &dims, layout, operands);
        // The 256 entries of a table are not walked.
        for view in operands[own..].iter_mut().filter(|view| view.grid.dims == dims) {
            if is_matrix {
                self.matrix(view, &origin(&node.origin));
            } else if dims.len() == 3 {
                view.grid = Grid { dims: insert(&view.grid.dims, 1), strides: insert(&view.grid.strides, 0) };
            }
        }
        steps
    }

    /// Makes of an operand the matrix whose columns are its last axis, as pixels by channels.
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

    /// A view of packed bytes.
    pub(super) fn bytes(&mut self, name: &str, dtype: DType, bytes: Vec<u8>) -> View {
        let count = bytes.len() / dtype.byte_size();
        let id = self.constant(name.to_owned(), bytes);
        View { storage: Storage::Const(id), dtype, offset: 0, grid: Grid::dense(&[count]) }
    }
}

/// The geometry that all products of one convolution share.
pub(super) struct Window<'n> {
    pub(super) node: &'n Node,
    pub(super) pixels: [usize; 3],
    pub(super) input_strides: [isize; 3],
    pub(super) output_strides: [isize; 3],
    /// Distance in input elements of neighbouring taps.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) kernel: [usize; 2],
}

/// What differs between the products of one convolution.
pub(super) struct Product {
    pub(super) n: usize,
    pub(super) runs: Vec<Run>,
    /// The first output channel.
    pub(super) first: usize,
    /// The stored input that means zero.
    pub(super) zero: i64,
}

impl Window<'_> {
    /// The runs under a pixel: a row of the window is one where its pixels are neighbours in memory.
    fn runs(&self, depth: usize, whole_pixels: bool) -> Vec<Run> {
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

/// What each weight's sum is multiplied by and taken from the bias: kernels see signed inputs with 128 added.
pub(super) fn input_shift(dtype: DType, zero: i64) -> i64 {
    if dtype == DType::I8 { zero + 128 } else { zero }
}

fn floats(data: Option<&Data>) -> Option<&[f32]> {
    match data {
        Some(Data::Float(v)) => Some(v),
        _ => None,
    }
}

fn int(data: Option<&Data>, at: usize) -> i64 {
    match data {
        Some(Data::Int(v)) => v[at],
        _ => 0,
    }
}

fn insert<T: Copy>(list: &[T], row: T) -> Vec<T> {
    [&list[..2], &[row], &list[2..]].concat()
}

fn with(dims: &[usize], axis: usize, extent: usize) -> Vec<usize> {
    let mut dims = dims.to_vec();
    dims[axis] = extent;
    dims
}

/// The strides of `grid` without the row axis that rank 3 was given, for a copy into `place`.
fn drop_row(grid: &Grid, place: &Grid) -> Vec<isize> {
    match place.dims.len() {
        3 => [&grid.strides[..2], &grid.strides[3..]].concat(),
        _ => grid.strides.clone(),
    }
}

//! Convolutions: implicit products of matrices, or channel by channel where each channel is its own group.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{DType, Data, Graph, Layout, Node, Op, ValueId};

use super::matmul::pixels;
use super::placement::wanted_border;
use super::{LowerError, Lowering, origin};
use crate::choice::{Blocking, Geometry};
use crate::pack;
use crate::program::{Depthwise, Gemm, Grid, Producer, Run, Storage, View};

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
            input_strides: [strides[0], strides[2] * stride[0] as isize, strides[3] * stride[1] as isize],
            part: Part::WHOLE,
            row: strides[2] * dilation[0] as isize,
            column: strides[3] * dilation[1] as isize,
            kernel: sums.kernel,
        };
        let corner = pad.map(|pad| -(pad as isize));
        match self.tiled(op, &window, &sums) {
            Some(winograd) => self.winograd(&window, &sums, corner, winograd),
            None => self.window_sums(&window, &sums, corner, &sums.weights),
        }
        self.finish_sums(node, sums);
        Ok(())
    }

    /// The operands of a convolution or its transpose of constant weights, and a place for its result.
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
        let Some(weights) = centered_weights(self.graph, w) else {
            return Err(self.unsupported(node, "weights that are not constant have no kernel"));
        };
        let bias = self.kernel_bias(node);
        let input = self.window_input(node, x, border);
        let input = View { grid: planar(&input.grid), ..input };
        let (output, copy_to) = self.channels_last_place(node.output());
        let output = View { grid: planar(&output.grid), ..output };
        let shape = planar(&Grid::dense(&self.graph.ty(w).shape)).dims;
        let (depth, kernel) = (shape[1], [shape[2], shape[3]]);
        let zero = self.stored_zero(x);
        Ok(Sums { spatial, group, depth, kernel, input, output, weights, bias, zero, copy_to })
    }

    /// The outputs of one window over the input, whose first tap at the first output lies at row and column `corner`;
    /// `weights` are those of the window's taps.
    pub(super) fn window_sums(&mut self, window: &Window<'_>, sums: &Sums, corner: [isize; 2], weights: &Data) {
        let input = sums.input_from(corner);
        let output = window.part.of(&sums.output, window.pixels);
        if sums.group > 1 && sums.depth == 1 && output.grid.dims[1] == sums.group {
            self.depthwise(window, &input, output, weights, sums.bias.as_ref(), sums.zero);
        } else {
            self.groups(window, sums, &input, &output, weights);
        }
    }

    /// Copies a result to its place where it could not be made there.
    pub(super) fn finish_sums(&mut self, node: &Node, sums: Sums) {
        if let Some(place) = sums.copy_to {
            let grid = Grid { dims: place.grid.dims.clone(), strides: drop_row(&sums.output.grid, &place.grid) };
            self.copy(View { grid, ..sums.output }, place, &origin(&node.origin));
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
            output_strides: window.output_strides(&output),
            taps: (0..taps)
                .map(|t| (t / columns) as isize * window.row + (t % columns) as isize * window.column)
                .collect(),
            columns,
            channels,
        };
        let name = origin(&window.node.origin);
        let accumulator = if input.dtype.is_float() { DType::F32 } else { DType::I32 };
        let mut operands = vec![input.clone(), self.bytes(&format!("{name} weights"), DType::I8, packed)];
        operands.push(self.bytes(&format!("{name} sums"), accumulator, sums));
        let steps = self.planar_steps(window, &mut operands);
        self.call(Producer::Depthwise(depthwise), operands, steps, output, &name);
    }

    fn groups(&mut self, window: &Window<'_>, sums: &Sums, input: &View, output: &View, weights: &Data) {
        let (groups, depth) = (sums.group, sums.depth);
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
            let product = Product { n, runs, first, zero: sums.zero };
            let bias = sums.bias.as_ref();
            match weights {
                Data::Float(w) => {
                    let weights = Weights::Float(&|o, r, e| w[weight(o, r, e)]);
                    self.gemm(window, product, input, view, weights, bias, &bias_of);
                }
                Data::Int(w) => {
                    let weights = Weights::Int(&|o, r, e| w[weight(o, r, e)] as i32);
                    self.gemm(window, product, input, view, weights, bias, &bias_of);
                }
            }
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
        weights: Weights<'_>,
        bias: Option<&Data>,
        bias_of: &dyn Fn(usize) -> usize,
    ) {
        let Product { n, runs, first, zero } = product;
        // Integers are packed in single vectors, and joined to blocks once it is known how many extra groups there are.
        let vector = Blocking { mr: 1, nr: self.target.lanes(), rows: 1 }.tile(input.dtype);
        let in_vectors = match weights {
            Weights::Float(_) => None,
            Weights::Int(weight) => {
                // What each weight's sum is multiplied by and taken from the bias.
                let shift = zero + self.target.dot.input_offset(input.dtype);
                let sum = |o: usize| -> i64 {
                    let all = runs.iter().enumerate().flat_map(|(r, run)| (0..run.length).map(move |e| (r, e)));
                    all.map(|(r, e)| i64::from(weight(o, r, e))).sum()
                };
                let sums: Vec<i64> = (0..n).map(|o| int(bias, bias_of(o)) - shift * sum(o)).collect();
                Some(match input.dtype {
                    DType::I16 => pack::gemm_words(vector, n, &runs, weight, &sums),
                    _ => pack::gemm_int(self.target, vector, n, &runs, weight, &sums),
                })
            }
        };
        let name = origin(&window.node.origin);
        let accumulator = if input.dtype.is_float() { DType::F32 } else { DType::I32 };
        let weights_type = if input.dtype == DType::U8 { DType::I8 } else { input.dtype };
        let output_strides = window.output_strides(&output);
        let geometry = Geometry {
            input: input.dtype,
            output: output.dtype,
            pixels: window.pixels,
            input_strides: window.input_strides,
            output_strides,
            runs: &runs,
            n,
            extra: in_vectors.iter().flat_map(|packed| &packed.extra).map(Vec::len).sum(),
            joined: in_vectors.as_ref().is_some_and(|packed| packed.joined),
        };
        let choice = self.choices.product(&geometry, self.target);
        let tile = choice.tile(input.dtype);
        let packed = match (weights, in_vectors) {
            (_, Some(packed)) => packed.regrouped(self.target, n, geometry.groups(), vector.nr, tile.nr),
            (Weights::Float(weight), _) => {
                let sums: Vec<f32> = (0..n).map(|o| floats(bias).map_or(0.0, |b| b[bias_of(o)])).collect();
                pack::gemm_float(input.dtype, tile, n, &runs, weight, &sums)
            }
            (Weights::Int(_), None) => unreachable!("integers have been packed"),
        };
        let gemm = Gemm {
            input: input.dtype,
            pixels: window.pixels,
            input_strides: window.input_strides,
            output_strides,
            runs,
            n,
            tile,
            extra: packed.extra,
            joined: packed.joined,
            row_block: choice.rows,
        };
        let mut operands = vec![input, self.bytes(&format!("{name} weights"), weights_type, packed.weights)];
        operands.push(self.bytes(&format!("{name} sums"), accumulator, packed.sums));
        let own = operands.len();
        let steps = self.planar_steps(window, &mut operands);
        // Steps saw the whole result's channels; this product yields those from `first` on.
        for view in &mut operands[own..] {
            if view.grid.dims.len() == 4 {
                view.offset = (view.offset as isize + first as isize * view.grid.strides[1]) as usize;
                view.grid.dims[1] = n;
            }
        }
        self.call(Producer::Gemm(gemm), operands, steps, output, &name);
    }

    /// The node's steps with operands as rank 4, at the window's part of the result: rank 3 gets a row axis, of a product
    /// of matrices each row is a pixel.
    pub(super) fn planar_steps(&mut self, window: &Window<'_>, operands: &mut Vec<View>) -> Vec<crate::program::Step> {
        let (own, node) = (operands.len(), window.node);
        let dims = self.graph.ty(node.output()).shape.to_vec();
        let is_matrix = matches!(node.op, Op::MatMul(_));
        let layout = if is_matrix { Layout::Nchw } else { Layout::Nhwc };
        let steps = self.steps(node, &dims, layout, operands);
        // The 256 entries of a table are not walked.
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
        View::new(Storage::Const(id), dtype, 0, Grid::dense(&[count]))
    }
}

/// What the sums of a convolution or its transpose read and write, as planes: rank 3 is rank 4 with one row.
pub(super) struct Sums {
    /// Spatial axes of the node.
    pub(super) spatial: usize,
    pub(super) group: usize,
    /// Input channels of a group.
    pub(super) depth: usize,
    /// Rows and columns of the weights.
    pub(super) kernel: [usize; 2],
    pub(super) input: View,
    pub(super) output: View,
    pub(super) weights: Data,
    pub(super) bias: Option<Data>,
    /// The stored input that means zero.
    pub(super) zero: i64,
    /// The value's own place, where the output is not that.
    copy_to: Option<View>,
}

impl Sums {
    /// The input from this row and column on, which may lie in its border.
    pub(super) fn input_from(&self, [row, column]: [isize; 2]) -> View {
        let View { offset, grid, .. } = &self.input;
        let offset = *offset as isize + row * grid.strides[2] + column * grid.strides[3];
        View { offset: offset as usize, ..self.input.clone() }
    }
}

/// The geometry that all products of one window share.
pub(super) struct Window<'n> {
    pub(super) node: &'n Node,
    pub(super) pixels: [usize; 3],
    pub(super) input_strides: [isize; 3],
    /// Which pixels of the node's result the window yields.
    pub(super) part: Part,
    /// Distance in input elements of neighbouring taps.
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) kernel: [usize; 2],
}

/// Rows and columns of a result at one distance.
pub(super) struct Part {
    /// First row and column.
    pub(super) first: [usize; 2],
    /// Distance of rows and of columns.
    pub(super) step: [usize; 2],
}

impl Part {
    pub(super) const WHOLE: Part = Part { first: [0; 2], step: [1; 2] };

    /// The part of `view`, which has rank 4, with this many pixels.
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

/// Constant weights by channel, run and element of the run: integers less their zero points, floats as they are.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// Of a product of floats.
    Float(&'a dyn Fn(usize, usize, usize) -> f32),
    /// Of a product of integers.
    Int(&'a dyn Fn(usize, usize, usize) -> i32),
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
    /// Distances of neighbouring pixels in a result.
    pub(super) fn output_strides(&self, output: &View) -> [isize; 3] {
        let strides = &output.grid.strides;
        [strides[0], strides[2], strides[3]]
    }

    /// The runs under a pixel: a row of the window is one where its pixels are neighbours in memory.
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

/// Constant weights as numbers less their zero points; floats as they are.
pub(super) fn centered_weights(graph: &Graph, w: ValueId) -> Option<Data> {
    let tensor = graph.constant(w)?;
    Some(match tensor.data() {
        Data::Float(v) => Data::Float(v),
        Data::Int(v) => {
            let Some(q) = graph.quant(w) else { return Some(Data::Int(v)) };
            let entry = eightfold_ir::op::quantize_linear::entries(tensor.shape(), q);
            Data::Int(v.iter().enumerate().map(|(i, x)| x - i64::from(q.zero_point[entry(i)])).collect())
        }
    })
}

fn floats(data: Option<&Data>) -> Option<&[f32]> {
    match data {
        Some(Data::Float(v)) => Some(v),
        _ => None,
    }
}

pub(super) fn int(data: Option<&Data>, at: usize) -> i64 {
    match data {
        Some(Data::Int(v)) => v[at],
        _ => 0,
    }
}

/// Rank 3 as rank 4 with one row.
fn planar(grid: &Grid) -> Grid {
    match grid.dims.len() {
        3 => Grid { dims: insert(&grid.dims, 1), strides: insert(&grid.strides, 0) },
        _ => grid.clone(),
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

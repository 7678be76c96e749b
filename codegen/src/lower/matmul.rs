//! Products of matrices: with constant weights as a convolution over one row of pixels, otherwise by strides.

use eightfold_ir::op::matmul::MatMul;
use eightfold_ir::{DType, Layout, Node};

use super::conv::{Part, Product, Window, pixels};
use super::{LowerError, Lowering, origin, shared_weights};
use crate::kernel;
use crate::kernel::{Producer, Run};
use crate::program::BufferKind;
use crate::view::{Grid, Storage, View};

impl Lowering<'_> {
    pub(super) fn matmul(&mut self, node: &Node, _op: &MatMul) -> Result<(), LowerError> {
        let x = node.operands[0].expect("verified");
        let dtype = self.graph.ty(x).dtype;
        if !matches!(dtype, DType::F32 | DType::Bf16 | DType::U8 | DType::I8) {
            return Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype });
        }
        match shared_weights(self.graph, node) {
            Some(_) => self.product(node),
            None => self.general(node),
        }
    }

    /// The weights are constant and shared by the whole batch: one product of all rows.
    fn product(&mut self, node: &Node) -> Result<(), LowerError> {
        let (x, w, y) = (node.operands[0].expect("verified"), node.operands[1].expect("verified"), node.output());
        let ws = self.graph.ty(w).shape.clone();
        let (k, n) = (ws[ws.rank() - 2], ws[ws.rank() - 1]);
        let xs = self.graph.ty(x).shape.clone();
        let m = xs[..xs.rank() - 1].iter().product();
        let name = origin(&node.origin);
        let view = self.view(x);
        let input_type = view.dtype;
        let ours = match view.storage {
            Storage::Const(_) => false,
            Storage::Buffer(id) => matches!(self.buffers[id.0].kind, BufferKind::Arena { .. }),
        };
        let rows = view.grid.reshaped(&[m, k]).filter(|g| g.strides[1] == 1 || k == 1);
        // Kernels read whole groups of four elements, which may exceed the end of a caller's buffer.
        let input = match rows {
            Some(grid) if ours || view.dtype.is_float() => View { grid, ..view },
            _ => {
                let dims = view.grid.dims.clone();
                let place = self.arena(&format!("{} rows", self.name(x)), view.dtype, &dims, Layout::Nchw, [0; 4]);
                self.copy(view, place.clone(), &name);
                View { grid: Grid::dense(&[m, k]), ..place }
            }
        };
        let place = self.place(y);
        let rows = place.grid.reshaped(&[m, n]).filter(|g| g.strides[1] == 1 || n == 1);
        let (rows, copy_to) = match rows {
            Some(grid) => (View { grid, ..place }, None),
            None => {
                let temporary = self.arena(&name, place.dtype, &place.grid.dims.clone(), Layout::Nchw, [0; 4]);
                (View { grid: Grid::dense(&[m, n]), ..temporary }, Some(place))
            }
        };
        let input = View { grid: pixels(&input.grid), ..input };
        let output = View { grid: pixels(&rows.grid), ..rows.clone() };
        let window =
            Window { node, pixels: [1, 1, m], strides: [1; 2], part: Part::WHOLE, row: 0, column: 0, kernel: [1, 1] };
        let weights = self.plain_weights(node, w).unwrap_or_else(|| unreachable!("the weights are constant"));
        let strides = weights.grid.strides[ws.rank() - 2..].to_vec();
        let grid = Grid { dims: vec![n, 1, 1, k], strides: vec![strides[1], 0, 0, strides[0]] };
        let bias = self.plain_bias(node, input_type, n);
        let product =
            Product { runs: vec![Run { offset: 0, length: k }], first: 0, zero_point: self.stored_zero(x) as i32 };
        self.gemm(&window, product, [input, View { grid, ..weights }, bias], output);
        if let Some(place) = copy_to {
            let from = View { grid: Grid::dense(&place.grid.dims), ..rows };
            self.copy(from, place, &name);
        }
        Ok(())
    }

    /// Both matrices are known at run time only, or there is a batch of weights.
    fn general(&mut self, node: &Node) -> Result<(), LowerError> {
        let (x, w, y) = (node.operands[0].expect("verified"), node.operands[1].expect("verified"), node.output());
        if self.graph.quant(w).is_some_and(|q| !q.is_per_tensor()) {
            return Err(self.unsupported(node, "per-channel quantization of a variable matrix has no kernel"));
        }
        let zero_points = [self.stored_zero(x) as i32, self.stored_zero(w) as i32];
        let batch = self.graph.ty(y).shape.to_vec();
        let batch = &batch[..batch.len() - 2];
        // The kernel multiplies equal types, so quantized weights are dequantized for a product with floats.
        let weights = match self.graph.ty(x).dtype.is_float() {
            true => self.plain_weights(node, w).unwrap_or_else(|| self.view(w)),
            false => self.view(w),
        };
        let mut operands: Vec<View> = [self.view(x), weights]
            .map(|view| {
                let rank = view.grid.dims.len();
                let dims = [batch, &view.grid.dims[rank - 2..]].concat();
                View { grid: view.grid.broadcast(&dims), ..view }
            })
            .into();
        let output = self.place(y);
        let steps = self.steps(node, &output.grid.dims.clone(), Layout::Nchw, &mut operands);
        self.call(Producer::MatMul(kernel::MatMul { zero_points }), operands, steps, output, &origin(&node.origin));
        Ok(())
    }
}

//! Products of two matrices, neither of them constant.
//!
//! The accumulators of a tile of a few rows by two registers of columns stay in registers; the innermost loop is `k`.
//! Floats are added in the order of `k`; each product and each sum is rounded. Integers minus their zero points fit 16
//! bits: two of them along `k` are interleaved, multiplied and added in pairs, exactly.

use eightfold_ir::DType;

use crate::kernel::finish::Finish;
use crate::kernel::nest::{Stretch, moved, nest, read, row, walk};
use crate::kernel::{Call, steps};
use crate::vector::{Emitter, Kind, Ptr, State, Vector};
use crate::view::View;

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, zero_points: [i32; 2], parameters: &[Ptr<'ctx>]) {
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(2, parameters);
    let (batch, rank) = (call.output.grid.dims.len() - 2, call.output.grid.dims.len());
    let strides = |axis: usize| views.iter().map(|view| bytes(view, axis)).collect::<Vec<_>>();
    let (mut rows, mut columns) = (strides(rank - 2), strides(rank - 1));
    // The other axis of each factor is `k`.
    let depth_strides = [columns[0], rows[1]];
    (columns[0], rows[1]) = (0, 0);
    let depth = call.operands[0].grid.dims[rank - 1];
    let axes = nest(0..batch, &views);
    let product = Product { e, call, zero_points, depth, depth_strides, rows, columns, finish, parameters };
    walk(e, &axes, &pointers, &mut |at| product.matrix(at));
}

/// Bytes between neighbouring elements of a view along an axis.
fn bytes(view: &View, axis: usize) -> isize {
    view.grid.strides[axis] * view.dtype.byte_size() as isize
}

struct Product<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    call: &'k Call,
    zero_points: [i32; 2],
    /// Products per result.
    depth: usize,
    /// The strides of the factors along `k`, in bytes.
    depth_strides: [isize; 2],
    /// The strides of the factors, the step operands and the result from row to row, in bytes.
    rows: Vec<isize>,
    /// The same from column to column.
    columns: Vec<isize>,
    finish: Finish<'k>,
    parameters: &'k [Ptr<'ctx>],
}

impl<'ctx> Product<'_, '_, 'ctx> {
    fn is_float(&self) -> bool {
        self.call.operands[0].dtype.is_float()
    }

    /// Computes one pair of matrices.
    fn matrix(&self, pointers: &[Ptr<'ctx>]) {
        let e = self.e;
        let [.., m, n] = self.call.output.grid.dims[..] else { unreachable!("matrices have two axes") };
        // Accumulators, one register of each factor, and temporaries.
        let tile = e.target().vector_registers * if self.is_float() { 3 } else { 2 } / 8;
        row(e, n, &[2 * e.lanes(), e.lanes()], &mut |start, stretch| {
            let at = moved(e, pointers, start, &self.columns);
            let rows: Vec<_> = self.rows.iter().map(|stride| stride * tile as isize).collect();
            e.repeat(e.int(m / tile), |i| self.tile(tile, &moved(e, &at, i, &rows), stretch));
            if m % tile > 0 {
                self.tile(m % tile, &moved(e, &at, e.int(m / tile), &rows), stretch);
            }
        });
    }

    /// Computes `mr` rows by one stretch of columns.
    fn tile(&self, mr: usize, at: &[Ptr<'ctx>], stretch: Stretch) {
        let e = self.e;
        let (kind, together) = if self.is_float() { (Kind::F32, 1) } else { (Kind::I32, 2) };
        let vectors = vec![e.zero(kind, stretch.lanes); mr];
        let state = State { pointers: at[..2].to_vec(), vectors, ..State::default() };
        let mut state = e.carry(e.int(self.depth / together), state, |_, state| {
            self.accumulate(together, state, stretch);
            for (pointer, stride) in state.pointers.iter_mut().zip(self.depth_strides) {
                *pointer = e.offset(*pointer, stride * together as isize);
            }
        });
        if !self.depth.is_multiple_of(together) {
            self.accumulate(1, &mut state, stretch);
        }
        let dtype = if self.is_float() { DType::F32 } else { DType::I32 };
        for (index, sums) in state.vectors.into_iter().enumerate() {
            let at = moved(e, &at[2..], e.int(index), &self.rows[2..]);
            self.finish.store(e, self.parameters, (&at, &self.columns[2..]), (sums, dtype), stretch);
        }
    }

    /// Adds the next `count` products to each accumulator: one, or up to two of integers.
    fn accumulate(&self, count: usize, state: &mut State<'ctx>, stretch: Stretch) {
        let e = self.e;
        let kind = |factor: usize| steps::kind(self.call.operands[factor].dtype);
        let [x, w] = [state.pointers[0], state.pointers[1]];
        let row = |index: usize| e.offset(x, index as isize * self.rows[0]);
        if self.is_float() {
            let worked = |factor: usize, stored| steps::worked(e, stored, self.call.operands[factor].dtype);
            let w = worked(1, read(e, w, self.columns[1], kind(1), stretch));
            for (index, sum) in state.vectors.iter_mut().enumerate() {
                *sum = e.accumulate(worked(0, e.broadcast(row(index), kind(0), stretch.lanes)), w, *sum);
            }
            return;
        }
        let mut pair: Vec<_> = (0..count)
            .map(|k| read(e, e.offset(w, k as isize * self.depth_strides[1]), self.columns[1], kind(1), stretch))
            .map(|stored| self.centered(1, stored))
            .collect();
        // If a pair is incomplete, its second element is zero.
        pair.resize(2, e.zero(Kind::I16, stretch.lanes));
        let zip: Vec<_> = (0..stretch.lanes).flat_map(|lane| [lane, stretch.lanes + lane]).collect();
        let w = e.shuffle(pair[0], pair[1], &zip);
        for (index, sum) in state.vectors.iter_mut().enumerate() {
            let x = read(e, row(index), self.depth_strides[0], kind(0), Stretch { count, lanes: 2 });
            let x = e.bits_as(self.centered(0, x), Kind::I32);
            let x = e.bits_as(e.shuffle(x, x, &vec![0; stretch.lanes]), Kind::I16);
            *sum = e.add(*sum, e.multiply_pairs(x, w));
        }
    }

    /// Stored integers minus the factor's zero point.
    fn centered(&self, factor: usize, stored: Vector<'ctx>) -> Vector<'ctx> {
        let e = self.e;
        let wide = e.widen(stored, Kind::I16, self.call.operands[factor].dtype == DType::I8);
        e.sub(wide, e.splat_int(self.zero_points[factor].into(), Kind::I16, stored.lanes))
    }
}

//! Softmax along an axis: the maximum, the sum of exponentials, and a quotient for each element.
//!
//! For 8-bit integers the exponentials are table entries and the sum is exact, so results are the same bits on every
//! target. For floats the exponentials are computed twice instead of stored. Vectors run along the innermost other
//! axis, or along the softmax axis if its elements are adjacent in memory. Only strides decide.

use eightfold_ir::DType;

use crate::kernel::finish::Finish;
use crate::kernel::fold::{Folding, over};
use crate::kernel::math::{self, Vectors};
use crate::kernel::nest::{Axis, Stretch, along, moved, nest, read, row, walk, widths};
use crate::kernel::{Call, Fold, steps};
use crate::vector::{Emitter, Kind, Ptr, Vector};

/// The largest number of table entries, each at most 2^22, whose sum fits 31 bits.
const SHORT: usize = 511;

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, axis: usize, parameters: &[Ptr<'ctx>]) {
    let input = &call.operands[0];
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let axis_loop = along(axis, &views);
    let mut kept = nest((0..input.grid.dims.len()).filter(|other| *other != axis), &views);
    let summed = match input.dtype {
        DType::F32 => DType::F32,
        _ if axis_loop.extent <= SHORT => DType::I32,
        _ => DType::I64,
    };
    let softmax = Softmax {
        e,
        dtype: input.dtype,
        top: Folding::of(Fold::Max, input.dtype, axis_loop.extent),
        sum: Folding::of(Fold::Sum { zero_point: 0 }, summed, axis_loop.extent),
        summed: steps::kind(summed),
        axis: axis_loop,
        finish,
        parameters,
    };
    let neighbours = |axis: &Axis| axis.strides[0] == input.dtype.byte_size() as isize;
    if neighbours(&softmax.axis) && !kept.last().is_some_and(neighbours) {
        walk(e, &kept, &pointers, &mut |at| softmax.along(at));
        return;
    }
    let inner = kept.pop().unwrap_or_else(|| Axis { extent: 1, strides: vec![0; pointers.len()] });
    walk(e, &kept, &pointers, &mut |pointers| {
        row(e, inner.extent, &widths(e), &mut |start, stretch| {
            softmax.across(&moved(e, pointers, start, &inner.strides), &inner.strides, stretch);
        });
    });
}

struct Softmax<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    dtype: DType,
    top: Folding,
    sum: Folding,
    /// The lanes of the sum.
    summed: Kind,
    axis: Axis,
    finish: Finish<'k>,
    parameters: &'k [Ptr<'ctx>],
}

impl<'ctx> Softmax<'_, '_, 'ctx> {
    /// Computes a stretch of softmaxes, one per lane.
    fn across(&self, at: &[Ptr<'ctx>], strides: &[isize], stretch: Stretch) {
        let e = self.e;
        let turns = [(e.int(self.axis.extent), self.axis.strides[0])];
        let load = |pointer| read(e, pointer, strides[0], steps::kind(self.dtype), stretch);
        let top = over(e, &turns, at[0], self.top.start(e, stretch.lanes), &mut |x, top| {
            self.top.take(e, top, self.top.read(e, load(x)))
        });
        let sum = over(e, &turns, at[0], self.sum.start(e, stretch.lanes), &mut |x, sum| {
            self.sum.take(e, sum, self.widened(self.exponentials(load(x), top)))
        });
        let sum = self.float(sum);
        e.repeat(e.int(self.axis.extent), |i| {
            let at = moved(e, at, i, &self.axis.strides);
            self.store(&at, strides, load(at[0]), (top, sum), stretch);
        });
    }

    /// Computes one softmax, whose elements are adjacent.
    fn along(&self, at: &[Ptr<'ctx>]) {
        let e = self.e;
        let splat = |one: Vector<'ctx>, lanes: usize| e.shuffle(one, one, &vec![0; lanes]);
        let top = self.fold(self.top, at[0], &|x| self.top.read(e, x));
        let sum = self.fold(self.sum, at[0], &|x| self.widened(self.exponentials(x, splat(top, x.lanes))));
        let sum = self.float(sum);
        let strides = &self.axis.strides;
        row(e, self.axis.extent, &widths(e), &mut |start, stretch| {
            let at = moved(e, at, start, strides);
            let x = read(e, at[0], strides[0], steps::kind(self.dtype), stretch);
            self.store(&at, strides, x, (splat(top, stretch.lanes), splat(sum, stretch.lanes)), stretch);
        });
    }

    /// Folds `of(x)` over all elements of the axis, which are adjacent; returns one lane.
    fn fold(&self, folding: Folding, pointer: Ptr<'ctx>, of: &dyn Fn(Vector<'ctx>) -> Vector<'ctx>) -> Vector<'ctx> {
        let (e, kind, extent) = (self.e, steps::kind(self.dtype), self.axis.extent);
        let lanes = widths(e)[0].min(extent.next_power_of_two());
        let (turns, tail) = (extent / lanes, extent % lanes);
        let whole = [(e.int(turns), (lanes * kind.bytes()) as isize)];
        let mut folded = over(e, &whole, pointer, folding.start(e, lanes), &mut |x, folded| {
            folding.take(e, folded, of(e.load(x, kind, lanes)))
        });
        if tail > 0 {
            let rest = e.offset(pointer, (turns * lanes * kind.bytes()) as isize);
            // Lanes after the last element hold the neutral element.
            let picks: Vec<_> = (0..lanes).map(|lane| if lane < tail { lane } else { lanes + lane }).collect();
            let x = of(e.load_first(rest, kind, tail, lanes));
            folded = folding.take(e, folded, e.shuffle(x, folding.start(e, lanes), &picks));
        }
        folding.across(e, folded)
    }

    /// `exp(x - top)` of stored elements; of integers `2^22 exp(x - top)`, in I32.
    fn exponentials(&self, x: Vector<'ctx>, top: Vector<'ctx>) -> Vector<'ctx> {
        let e = self.e;
        match self.dtype {
            DType::F32 => math::exp(&Vectors { emitter: e, lanes: x.lanes }, e.sub(x, top)),
            // The difference of two bytes fits an unsigned byte.
            _ => e.lookup(self.parameters[1], Kind::I32, e.sub(top, x)),
        }
    }

    /// Converts exponentials to the lanes of the sum.
    fn widened(&self, x: Vector<'ctx>) -> Vector<'ctx> {
        if x.kind.is_float() { x } else { self.e.widen(x, self.summed, true) }
    }

    fn float(&self, x: Vector<'ctx>) -> Vector<'ctx> {
        if x.kind.is_float() { x } else { self.e.to_float(x, Kind::F32, true) }
    }

    fn store(
        &self,
        at: &[Ptr<'ctx>],
        strides: &[isize],
        x: Vector<'ctx>,
        (top, sum): (Vector<'ctx>, Vector<'ctx>),
        stretch: Stretch,
    ) {
        let quotient = self.e.div(self.float(self.exponentials(x, top)), sum);
        self.finish.store(self.e, self.parameters, (&at[1..], &strides[1..]), (quotient, DType::F32), stretch);
    }
}

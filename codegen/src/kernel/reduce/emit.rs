//! Folds along axes: sums, means, minima, maxima and products.
//!
//! If the reduced elements are not adjacent in memory, vectors run along the innermost remaining axis, and each lane
//! folds its elements one by one. If they are adjacent, vectors run along them, and the lanes are folded at the end.
//! Only strides and extents decide, so the order of float sums does not depend on the number of results.

use crate::kernel::finish::Finish;
use crate::kernel::fold::{Folding, Turns, over};
use crate::kernel::nest::{Axis, Stretch, merged, moved, nest, read, row, walk, widths};
use crate::kernel::{Call, Fold, steps};
use crate::vector::{Emitter, Kind, Ptr, Vector};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, fold: Fold, parameters: &[Ptr<'ctx>]) {
    let input = &call.operands[0];
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let rank = input.grid.dims.len();
    let is_folded = |axis: usize| input.grid.dims[axis] != call.output.grid.dims[axis];
    let folded = (0..rank).filter(|axis| is_folded(*axis)).map(|axis| Axis {
        extent: input.grid.dims[axis],
        strides: vec![input.grid.strides[axis] * input.dtype.byte_size() as isize],
    });
    let folded = merged(folded.collect());
    let count = folded.iter().map(|axis| axis.extent).product();
    let folding = Folding::of(fold, input.dtype, count);
    let kind = steps::kind(input.dtype);
    let reduce = Reduce { e, folding, kind, folded, count, finish, parameters };
    reduce.emit(nest((0..rank).filter(|axis| !is_folded(*axis)), &views), &pointers);
}

struct Reduce<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    folding: Folding,
    /// The lanes in which the input is stored.
    kind: Kind,
    /// The loops over the folded axes.
    folded: Vec<Axis>,
    /// Number of elements folded into each result.
    count: usize,
    finish: Finish<'k>,
    parameters: &'k [Ptr<'ctx>],
}

impl<'ctx> Reduce<'_, '_, 'ctx> {
    fn emit(&self, mut kept: Vec<Axis>, pointers: &[Ptr<'ctx>]) {
        let e = self.e;
        let size = self.kind.bytes() as isize;
        let neighbours = |axes: &[Axis]| axes.last().is_some_and(|axis| axis.strides[0] == size);
        if neighbours(&self.folded) && !neighbours(&kept) {
            let still = vec![0; pointers.len()];
            walk(e, &kept, pointers, &mut |at| {
                self.store(at, &still, self.along(at[0]), Stretch { count: 1, lanes: 1 })
            });
            return;
        }
        let inner = kept.pop().unwrap_or_else(|| Axis { extent: 1, strides: vec![0; pointers.len()] });
        walk(e, &kept, pointers, &mut |pointers| {
            row(e, inner.extent, &widths(e), &mut |start, stretch| {
                let at = moved(e, pointers, start, &inner.strides);
                let folded = over(
                    e,
                    &self.turns(&self.folded),
                    at[0],
                    self.folding.start(e, stretch.lanes),
                    &mut |x, folded| {
                        let x = read(e, x, inner.strides[0], self.kind, stretch);
                        self.folding.take(e, folded, self.folding.read(e, x))
                    },
                );
                self.store(&at, &inner.strides, folded, stretch);
            });
        });
    }

    fn turns(&self, axes: &[Axis]) -> Vec<Turns<'ctx>> {
        axes.iter().map(|axis| (self.e.int(axis.extent), axis.strides[0])).collect()
    }

    /// The fold of adjacent elements, as a vector of one lane.
    fn along(&self, pointer: Ptr<'ctx>) -> Vector<'ctx> {
        let (e, folding) = (self.e, self.folding);
        let (inner, outer) = self.folded.split_last().unwrap_or_else(|| unreachable!("an axis is folded"));
        let size = self.kind.bytes() as isize;
        let lanes = widths(e)[0].min(inner.extent.next_power_of_two());
        let tail = inner.extent % lanes;
        let folded = over(e, &self.turns(outer), pointer, folding.start(e, lanes), &mut |pointer, folded| {
            let whole = [(e.int(inner.extent / lanes), lanes as isize * size)];
            let folded = over(e, &whole, pointer, folded, &mut |x, folded| {
                folding.take(e, folded, folding.read(e, e.load(x, self.kind, lanes)))
            });
            if tail == 0 {
                return folded;
            }
            // Lanes after the last element hold the neutral element.
            let x = e.offset(pointer, (inner.extent - tail) as isize * size);
            let x = folding.read(e, e.load_first(x, self.kind, tail, lanes));
            let picks: Vec<_> = (0..lanes).map(|lane| if lane < tail { lane } else { lanes + lane }).collect();
            folding.take(e, folded, e.shuffle(x, folding.start(e, lanes), &picks))
        });
        folding.across(e, folded)
    }

    fn store(&self, at: &[Ptr<'ctx>], strides: &[isize], folded: Vector<'ctx>, stretch: Stretch) {
        let produced = (self.folding.finish(self.e, folded, self.e.int(self.count)), self.folding.produced);
        self.finish.store(self.e, self.parameters, (&at[1..], &strides[1..]), produced, stretch);
    }
}

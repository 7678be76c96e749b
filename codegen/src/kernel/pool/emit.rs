//! Pools: sums, means, minima and maxima of windows, channel by channel.
//!
//! Vectors run along the channels. Windows that lie inside the input are unrolled. At the edges, and for large windows,
//! loops run over the part inside the input. Nothing outside the input is read.

use std::ops::Range;

use crate::kernel::finish::Finish;
use crate::kernel::fold::{Folding, Turns, over};
use crate::kernel::nest::{moved, read, row, widths};
use crate::kernel::{Call, steps};
use crate::vector::{Emitter, Int, Ptr};
use crate::view::View;

/// Windows of at most this many elements are unrolled.
const STRAIGHT: usize = 16;

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, pool: &super::Pool, parameters: &[Ptr<'ctx>]) {
    let super::Pool { fold, kernel, strides, dilations, pads, include_pad } = pool;
    let input = &call.operands[0];
    let finish = Finish::of(call);
    let views = [vec![input], finish.views()].concat();
    let side = |side: usize| Side {
        positions: call.output.grid.dims[2 + side],
        length: input.grid.dims[2 + side],
        kernel: kernel[side],
        stride: strides[side],
        dilation: dilations[side],
        before: pads[side],
        padded: include_pad.map(|after| input.grid.dims[2 + side] + pads[side] + after[side]),
        bytes: bytes(input, 2 + side),
    };
    let folding = Folding::of(*fold, input.dtype, kernel[0] * kernel[1]);
    let pool = Pool { e, call, folding, sides: [side(0), side(1)], finish, views, parameters };
    pool.emit();
}

/// Bytes between neighbouring elements of a view along an axis.
fn bytes(view: &View, axis: usize) -> isize {
    view.grid.strides[axis] * view.dtype.byte_size() as isize
}

/// The window and the input along one axis.
struct Side {
    /// Number of positions of the window.
    positions: usize,
    /// Extent of the input.
    length: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// Padding before the input.
    before: usize,
    /// The extent including all padding, if padding counts in the divisor of a mean.
    padded: Option<usize>,
    /// Bytes between neighbouring elements of the input.
    bytes: isize,
}

/// The elements of a window along one axis: the first one inside the input, their count, and their number in the
/// divisor.
#[derive(Clone, Copy)]
struct Taps<'ctx> {
    first: Int<'ctx>,
    count: Int<'ctx>,
    divisor: Int<'ctx>,
}

impl Side {
    /// The positions at which the whole window lies inside the input.
    fn inside(&self) -> Range<usize> {
        let reach = (self.kernel - 1) * self.dilation;
        let end = (self.length + self.before).checked_sub(reach + 1).map_or(0, |last| last / self.stride + 1);
        let end = end.min(self.positions);
        self.before.div_ceil(self.stride).min(end)..end
    }

    fn whole<'ctx>(&self, e: &Emitter<'_, 'ctx>) -> Taps<'ctx> {
        let count = e.int(self.kernel);
        Taps { first: e.int(0), count, divisor: count }
    }

    /// The part of the window at `position` that lies inside the input.
    fn clipped<'ctx>(&self, e: &Emitter<'_, 'ctx>, position: Int<'ctx>) -> Taps<'ctx> {
        let start = e.scale(position, self.stride as isize);
        // The number of window elements before this coordinate of the padded input.
        let before = |coordinate: usize| {
            let room = e.minus(e.int(coordinate + self.dilation - 1), start);
            let (count, _) = e.quotient(e.greater(room, e.int(0)), self.dilation);
            e.lesser(count, e.int(self.kernel))
        };
        let first = before(self.before);
        let count = e.minus(before(self.before + self.length), first);
        let divisor = self.padded.map_or(count, before);
        Taps { first, count, divisor: e.greater(divisor, e.int(1)) }
    }
}

struct Pool<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    call: &'k Call,
    folding: Folding,
    /// Rows and columns.
    sides: [Side; 2],
    finish: Finish<'k>,
    /// The input, the step operands, the result.
    views: Vec<&'k View>,
    parameters: &'k [Ptr<'ctx>],
}

impl<'ctx> Pool<'_, '_, 'ctx> {
    fn emit(&self) {
        let e = self.e;
        let [rows, cols] = &self.sides;
        let first = -((rows.before as isize) * rows.bytes + cols.before as isize * cols.bytes);
        let input = e.offset(self.parameters[0], first);
        let pointers = [vec![input], self.finish.pointers(self.parameters)].concat();
        let strides: Vec<_> = self.views.iter().map(|view| bytes(view, 0)).collect();
        e.repeat(e.int(self.call.output.grid.dims[0]), |batch| {
            let at = moved(e, &pointers, batch, &strides);
            self.positions(0, true, &at, &mut |at, rows, inside| {
                self.positions(1, inside, at, &mut |at, cols, inside| self.pixel(at, [rows, cols], inside));
            });
        });
    }

    /// Runs `body` at each position of the window along a side, with the pointers, the window's elements, and whether
    /// the whole window lies inside the input. If `split`, positions inside the input have a loop of their own.
    fn positions(
        &self,
        side: usize,
        split: bool,
        pointers: &[Ptr<'ctx>],
        body: &mut dyn FnMut(&[Ptr<'ctx>], Taps<'ctx>, bool),
    ) {
        let e = self.e;
        let Side { positions, kernel, stride, .. } = self.sides[side];
        let mut strides: Vec<_> = self.views.iter().map(|view| bytes(view, 2 + side)).collect();
        strides[0] *= stride as isize;
        let small = kernel * self.sides[1 - side].kernel <= STRAIGHT;
        let inside = if split && small { self.sides[side].inside() } else { 0..0 };
        for (range, whole) in [(0..inside.start, false), (inside.clone(), true), (inside.end..positions, false)] {
            e.repeat(e.int(range.len()), |i| {
                let position = e.plus(e.int(range.start), i);
                let taps = if whole { self.sides[side].whole(e) } else { self.sides[side].clipped(e, position) };
                body(&moved(e, pointers, position, &strides), taps, whole);
            });
        }
    }

    /// Computes all channels of one window.
    fn pixel(&self, pointers: &[Ptr<'ctx>], taps: [Taps<'ctx>; 2], inside: bool) {
        let (e, folding) = (self.e, self.folding);
        let strides: Vec<_> = self.views.iter().map(|view| bytes(view, 1)).collect();
        let kind = steps::kind(self.views[0].dtype);
        let distance = |side: usize| self.sides[side].dilation as isize * self.sides[side].bytes;
        row(e, self.call.output.grid.dims[1], &widths(e), &mut |start, stretch| {
            let at = moved(e, pointers, start, &strides);
            let mut take = |pointer, folded| {
                let x = read(e, pointer, strides[0], kind, stretch);
                folding.take(e, folded, folding.read(e, x))
            };
            let mut folded = folding.start(e, stretch.lanes);
            if inside {
                let [rows, cols] = [0, 1].map(|side| self.sides[side].kernel as isize);
                for (y, x) in (0..rows).flat_map(|y| (0..cols).map(move |x| (y, x))) {
                    folded = take(e.offset(at[0], y * distance(0) + x * distance(1)), folded);
                }
            } else {
                let loops: [Turns<'ctx>; 2] = [0, 1].map(|side| (taps[side].count, distance(side)));
                let skip = |side: usize| e.scale(taps[side].first, distance(side));
                let first = e.offset_by(at[0], e.plus(skip(0), skip(1)));
                folded = over(e, &loops, first, folded, &mut take);
            }
            let count = match self.folding.mean() {
                true => e.times(taps[0].divisor, taps[1].divisor),
                false => e.times(taps[0].count, taps[1].count),
            };
            let produced = (folding.finish(e, folded, count), folding.produced);
            self.finish.store(e, self.parameters, (&at[1..], &strides[1..]), produced, stretch);
        });
    }
}

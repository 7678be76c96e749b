//! Elementwise operators, copies, layout changes and broadcasts: operand 0 at the same coordinates, with any strides.
//!
//! - If all operands are adjacent in memory (or repeat one element) along the result's innermost axis, vectors run
//!   along it.
//! - If an operand is adjacent along another axis (a change of layout), small tiles are transposed in registers.
//! - If the result's innermost axis is very short (images of three channels), vectors run along the other axis and are
//!   interleaved before the store.
//! - Everything else is gathered element by element.

use crate::kernel::finish::Finish;
use crate::kernel::nest::{Axis, Stretch, moved, nest, read, row, walk, widths, write};
use crate::kernel::{Call, steps};
use crate::vector::{Emitter, Kind, Ptr, Vector};
use crate::view::View;

/// Axes of at most this many elements are interleaved instead of vectorised.
const SHORT: usize = 4;

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let axes = nest(0..call.output.grid.dims.len(), &views);
    emit_axes(e, call, axes, &pointers, parameters);
}

/// Emits the loops over `axes`, starting at `pointers`. Along these axes operand 0, the step operands and the result
/// move.
pub(crate) fn emit_axes<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    axes: Vec<Axis>,
    pointers: &[Ptr<'ctx>],
    parameters: &[Ptr<'ctx>],
) {
    let finish = Finish::of(call);
    let (views, _) = finish.moving(1, parameters);
    Pointwise { e, call, finish, views, parameters }.emit(axes, pointers);
}

struct Pointwise<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    call: &'k Call,
    finish: Finish<'k>,
    /// Operand 0, the step operands, the result. Pointers and strides have the same order.
    views: Vec<&'k View>,
    parameters: &'k [Ptr<'ctx>],
}

impl<'ctx> Pointwise<'_, '_, 'ctx> {
    fn emit(&self, mut axes: Vec<Axis>, pointers: &[Ptr<'ctx>]) {
        let Some(inner) = axes.pop() else {
            let still = vec![0; self.views.len()];
            return self.stretch(pointers, &still, Stretch { count: 1, lanes: 1 });
        };
        match self.crossing(&axes, &inner) {
            Some(position) => {
                let across = axes.remove(position);
                walk(self.e, &axes, pointers, &mut |pointers| match inner.extent <= SHORT {
                    true => self.interleave(pointers, &across, &inner),
                    false => self.turn(pointers, &across, &inner),
                });
            }
            None => walk(self.e, &axes, pointers, &mut |pointers| {
                row(self.e, inner.extent, &widths(self.e), &mut |start, stretch| {
                    self.stretch(&moved(self.e, pointers, start, &inner.strides), &inner.strides, stretch);
                });
            }),
        }
    }

    /// Bytes of an element of view `index`.
    fn size(&self, index: usize) -> isize {
        self.views[index].dtype.byte_size() as isize
    }

    fn kind(&self, index: usize) -> Kind {
        steps::kind(self.views[index].dtype)
    }

    /// Whether the elements of view `index` are not adjacent along the axis, so that they must be gathered.
    fn strided(&self, index: usize, axis: &Axis) -> bool {
        axis.strides[index] != 0 && axis.strides[index] != self.size(index)
    }

    /// The position in `axes` of an axis along which an operand is adjacent that is not adjacent along `inner`; `None`
    /// if there is no such axis, or if the result is not adjacent along `inner`.
    fn crossing(&self, axes: &[Axis], inner: &Axis) -> Option<usize> {
        let result = self.views.len() - 1;
        if self.strided(result, inner) {
            return None;
        }
        let crossed = (0..result).find(|index| self.strided(*index, inner))?;
        axes.iter().position(|axis| axis.strides[crossed] == self.size(crossed))
    }

    /// Computes elements along one axis.
    fn stretch(&self, at: &[Ptr<'ctx>], strides: &[isize], stretch: Stretch) {
        let current = read(self.e, at[0], strides[0], self.kind(0), stretch);
        let produced = (current, self.call.operands[0].dtype);
        self.finish.store(self.e, self.parameters, (&at[1..], &strides[1..]), produced, stretch);
    }

    /// Computes one vector along `across` for each of the few elements of `inner`, interleaves them and stores them
    /// together.
    fn interleave(&self, pointers: &[Ptr<'ctx>], across: &Axis, inner: &Axis) {
        let (e, result) = (self.e, self.views.len() - 1);
        row(e, across.extent, &widths(e), &mut |start, stretch| {
            let at = moved(e, pointers, start, &across.strides);
            let columns = (0..inner.extent).map(|index| {
                let at = moved(e, &at, e.int(index), &inner.strides);
                let load = |view: usize| read(e, at[view], across.strides[view], self.kind(view), stretch);
                let produced = (load(0), self.call.operands[0].dtype);
                self.finish.apply(e, self.parameters, produced, |position| load(position + 1))
            });
            let all = interleaved(e, &columns.collect::<Vec<_>>());
            let gap = across.strides[result];
            if gap == inner.extent as isize * self.size(result) {
                e.store_first(at[result], all, stretch.count * inner.extent);
                return;
            }
            for pixel in 0..stretch.count {
                let elements = e.slice(all, pixel * inner.extent, inner.extent);
                e.store_first(e.offset(at[result], pixel as isize * gap), elements, inner.extent);
            }
        });
    }

    /// Computes tiles of `across` by `inner`: rows along `inner` are computed and stored; operands that are adjacent
    /// along `across` are transposed.
    fn turn(&self, pointers: &[Ptr<'ctx>], across: &Axis, inner: &Axis) {
        let e = self.e;
        // If the other axis is so short that a vector holds whole rows, vectors are wide.
        let tile = if self.size(0) < 4 { 16 } else { e.lanes().min(8) };
        let (inner_widths, across_widths) = match across.extent <= SHORT {
            true => (widths(e).to_vec(), vec![]),
            false => (vec![tile], vec![tile]),
        };
        row(e, inner.extent, &inner_widths, &mut |start, columns| {
            let pointers = moved(e, pointers, start, &inner.strides);
            row(e, across.extent, &across_widths, &mut |start, rows| {
                let at = moved(e, &pointers, start, &across.strides);
                self.tile(&at, (across, rows), (inner, columns));
            });
        });
    }

    fn tile(&self, at: &[Ptr<'ctx>], (across, rows): (&Axis, Stretch), (inner, columns): (&Axis, Stretch)) {
        let (e, result) = (self.e, self.views.len() - 1);
        let load = |view: usize| -> Vec<Vector<'ctx>> {
            let (down, right) = (across.strides[view], inner.strides[view]);
            let (kind, size) = (self.kind(view), self.size(view));
            if !self.strided(view, inner) || down != size {
                let one = |row| read(e, e.offset(at[view], row as isize * down), right, kind, columns);
                return (0..rows.count).map(one).collect();
            }
            if right == size * rows.count as isize && rows.count <= SHORT {
                let block = e.load_first(at[view], kind, rows.count * columns.count, rows.count * columns.lanes);
                let picks = |row| (0..columns.lanes).map(|c| c * rows.count + row).collect::<Vec<_>>();
                return (0..rows.count).map(|row| e.shuffle(block, block, &picks(row))).collect();
            }
            let one = |column| e.load_first(e.offset(at[view], column as isize * right), kind, rows.count, rows.lanes);
            let mut lines: Vec<_> = (0..columns.count).map(one).collect();
            lines.resize(columns.lanes, e.zero(kind, rows.lanes));
            let mut turned = e.split(interleaved(e, &lines), columns.lanes);
            turned.truncate(rows.count);
            turned
        };
        let (first, others) = (load(0), (1..result).map(load).collect::<Vec<_>>());
        for (row, elements) in first.into_iter().enumerate() {
            let produced = (elements, self.call.operands[0].dtype);
            let vector = self.finish.apply(e, self.parameters, produced, |position| others[position][row]);
            let place = e.offset(at[result], row as isize * across.strides[result]);
            write(e, place, inner.strides[result], vector, columns);
        }
    }
}

/// Interleaves the vectors: the first lanes of all, then the second lanes, and so on.
fn interleaved<'ctx>(e: &Emitter<'_, 'ctx>, vectors: &[Vector<'ctx>]) -> Vector<'ctx> {
    let (count, lanes) = (vectors.len(), vectors[0].lanes);
    match vectors {
        [one] => *one,
        _ if count.is_power_of_two() => {
            let (low, high) = vectors.split_at(count / 2);
            let zip: Vec<usize> = (0..lanes).flat_map(|lane| [lane, lanes + lane]).collect();
            let pairs: Vec<_> = low.iter().zip(high).map(|(a, b)| e.shuffle(*a, *b, &zip)).collect();
            interleaved(e, &pairs)
        }
        _ => {
            // Two vectors of equal length need one shuffle.
            let half = count.next_power_of_two() / 2;
            let mut padded = vectors.to_vec();
            padded.resize(2 * half, vectors[0]);
            let (low, high) = (e.concat(&padded[..half]), e.concat(&padded[half..]));
            let picks: Vec<usize> = (0..lanes).flat_map(|lane| (0..count).map(move |v| v * lanes + lane)).collect();
            e.shuffle(low, high, &picks)
        }
    }
}

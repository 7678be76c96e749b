//! Loop nests over the elements of several views of one shape.
//!
//! Axes that are contiguous in every view become one loop. The axis along which the result's elements are adjacent
//! becomes the innermost loop, which kernels vectorise.

use crate::vector::{Emitter, Int, Kind, Ptr, Vector};
use crate::view::View;

/// A loop: its number of turns, and the bytes by which each view moves per turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) extent: usize,
    pub(crate) strides: Vec<isize>,
}

/// The loops over `axes` of these views, outermost first. The last view is the result: its strides set the order of the
/// loops, its extents the turns.
pub(crate) fn nest(axes: impl Iterator<Item = usize>, views: &[&View]) -> Vec<Axis> {
    merged(axes.map(|axis| along(axis, views)).collect())
}

/// The loop along one axis of these views.
pub(crate) fn along(axis: usize, views: &[&View]) -> Axis {
    Axis {
        extent: views[views.len() - 1].grid.dims[axis],
        strides: views.iter().map(|view| view.grid.strides[axis] * view.dtype.byte_size() as isize).collect(),
    }
}

/// The loops outside and inside the loop along `axis`, in the order of the result's elements.
pub(crate) fn around(axis: usize, views: &[&View]) -> (Vec<Axis>, Vec<Axis>) {
    let grid = &views[views.len() - 1].grid;
    let is_outer = |other: usize| grid.strides[other].abs() > grid.strides[axis].abs();
    let (outer, inner): (Vec<_>, Vec<_>) =
        (0..grid.dims.len()).filter(|other| *other != axis).partition(|other| is_outer(*other));
    (nest(outer.into_iter(), views), nest(inner.into_iter(), views))
}

/// Merges loops that are contiguous in every view, and sorts them: the smallest stride of the last view is innermost.
pub(crate) fn merged(mut axes: Vec<Axis>) -> Vec<Axis> {
    axes.retain(|axis| axis.extent != 1);
    // The sort is stable, so that axes with stride 0 in the result keep their order.
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.strides.last().map_or(0, |s| s.unsigned_abs())));
    let mut loops: Vec<Axis> = Vec::with_capacity(axes.len());
    for axis in axes {
        match loops.last_mut() {
            Some(outer) if outer.strides.iter().zip(&axis.strides).all(|(o, i)| *o == i * axis.extent as isize) => {
                *outer = Axis { extent: outer.extent * axis.extent, strides: axis.strides };
            }
            _ => loops.push(axis),
        }
    }
    loops
}

/// Runs `body` in each turn of the loops, with the addresses of that turn.
pub(crate) fn walk<'ctx>(
    e: &Emitter<'_, 'ctx>,
    axes: &[Axis],
    pointers: &[Ptr<'ctx>],
    body: &mut dyn FnMut(&[Ptr<'ctx>]),
) {
    match axes.split_first() {
        None => body(pointers),
        Some((axis, inner)) => {
            e.repeat(e.int(axis.extent), |i| walk(e, inner, &moved(e, pointers, i, &axis.strides), body));
        }
    }
}

/// Each pointer, moved by `index` times its own stride.
pub(crate) fn moved<'ctx>(
    e: &Emitter<'_, 'ctx>,
    pointers: &[Ptr<'ctx>],
    index: Int<'ctx>,
    strides: &[isize],
) -> Vec<Ptr<'ctx>> {
    let step = |(pointer, stride): (&Ptr<'ctx>, &isize)| match *stride {
        0 => *pointer,
        stride => e.offset_by(*pointer, e.scale(index, stride)),
    };
    pointers.iter().zip(strides).map(step).collect()
}

/// A part of an axis: `count` elements in a vector of `lanes`. If `lanes > count`, the last lanes are unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) count: usize,
    pub(crate) lanes: usize,
}

/// Cuts `extent` elements into stretches of the given `widths`, widest first, and a rest. Runs `body` with the start of
/// each stretch.
pub(crate) fn row<'ctx>(
    e: &Emitter<'_, 'ctx>,
    extent: usize,
    widths: &[usize],
    body: &mut dyn FnMut(Int<'ctx>, Stretch),
) {
    let mut start = 0;
    for &lanes in widths {
        let turns = (extent - start) / lanes;
        let first = e.int(start);
        e.repeat(e.int(turns), |i| {
            body(e.plus(first, e.scale(i, lanes as isize)), Stretch { count: lanes, lanes });
        });
        start += turns * lanes;
    }
    let count = extent - start;
    if count > 0 {
        body(e.int(start), Stretch { count, lanes: count.next_power_of_two() });
    }
}

/// The vector widths of elementwise kernels: four registers of 32-bit numbers, then one.
pub(crate) fn widths(e: &Emitter<'_, '_>) -> [usize; 2] {
    [4 * e.lanes(), e.lanes()]
}

/// Reads the stretch's elements, which lie `stride` bytes apart.
pub(crate) fn read<'ctx>(
    e: &Emitter<'_, 'ctx>,
    pointer: Ptr<'ctx>,
    stride: isize,
    kind: Kind,
    stretch: Stretch,
) -> Vector<'ctx> {
    let Stretch { count, lanes } = stretch;
    if stride == kind.bytes() as isize || count == 1 {
        return e.load_first(pointer, kind, count, lanes);
    }
    if stride == 0 {
        return e.broadcast(pointer, kind, lanes);
    }
    let mut elements: Vec<_> =
        (0..count).map(|lane| e.load(e.offset(pointer, lane as isize * stride), kind, 1)).collect();
    elements.resize(lanes, e.zero(kind, 1));
    e.concat(&elements)
}

/// Writes the stretch's elements `stride` bytes apart.
pub(crate) fn write<'ctx>(
    e: &Emitter<'_, 'ctx>,
    pointer: Ptr<'ctx>,
    stride: isize,
    vector: Vector<'ctx>,
    stretch: Stretch,
) {
    if stride == vector.kind.bytes() as isize {
        return e.store_first(pointer, vector, stretch.count);
    }
    for lane in 0..stretch.count {
        e.store(e.offset(pointer, lane as isize * stride), e.lane(vector, lane));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(extent: usize, strides: &[isize]) -> Axis {
        Axis { extent, strides: strides.to_vec() }
    }

    #[test]
    fn neighbouring_axes_become_one_loop_where_all_views_agree() {
        // A row-major copy of 2 x 3 x 4 bytes, then a copy from rows of 5.
        let dense = [axis(2, &[12, 12]), axis(3, &[4, 4]), axis(4, &[1, 1])];
        assert_eq!(merged(dense.to_vec()), [axis(24, &[1, 1])]);
        let padded = [axis(2, &[15, 12]), axis(3, &[5, 4]), axis(4, &[1, 1])];
        assert_eq!(merged(padded.to_vec()), [axis(6, &[5, 4]), axis(4, &[1, 1])]);
    }

    #[test]
    fn the_results_neighbours_are_innermost() {
        // NCHW to NHWC: 3 channels of 4 x 5 pixels.
        let axes = [axis(1, &[60, 60]), axis(3, &[20, 1]), axis(4, &[5, 15]), axis(5, &[1, 3])];
        assert_eq!(merged(axes.to_vec()), [axis(20, &[1, 3]), axis(3, &[20, 1])]);
    }

    #[test]
    fn broadcast_axes_merge_with_each_other() {
        let axes = [axis(2, &[0, 12]), axis(3, &[0, 4]), axis(4, &[1, 1])];
        assert_eq!(merged(axes.to_vec()), [axis(6, &[0, 4]), axis(4, &[1, 1])]);
    }
}

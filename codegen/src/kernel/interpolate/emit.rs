//! Linear interpolation along an axis: each result mixes two elements, with weights given by a tensor.
//!
//! Loops run over the axes outside the interpolated axis and over this axis. Vectors run along the axes inside it.

use crate::kernel::finish::Finish;
use crate::kernel::gather::position;
use crate::kernel::nest::{Stretch, along, around, moved, read, row, walk, widths};
use crate::kernel::{Call, steps};
use crate::vector::{Compare, Emitter, Kind, Ptr};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, axis: usize, parameters: &[Ptr<'ctx>]) {
    let [source, positions] = [&call.operands[0], &call.operands[1]];
    let kind = steps::kind(source.dtype);
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let (outer, mut inner) = around(axis, &views);
    let along = along(axis, &views);
    let last = inner.pop();
    let (extent, strides) = last.map_or((1, vec![0; views.len()]), |axis| (axis.extent, axis.strides));
    walk(e, &outer, &pointers, &mut |pointers| {
        e.repeat(e.int(along.extent), |i| {
            let pair = [0, 1].map(|neighbour| {
                let index = e.plus(e.scale(i, 2), e.int(neighbour));
                let distance = e.scale(position(e, positions, parameters[1], index), along.strides[0]);
                (distance, e.offset_by(parameters[2], e.scale(index, Kind::F32.bytes() as isize)))
            });
            let at = [vec![pointers[0]], moved(e, &pointers[1..], i, &along.strides[1..])].concat();
            walk(e, &inner, &at, &mut |at| {
                row(e, extent, &widths(e), &mut |start, stretch: Stretch| {
                    let at = moved(e, at, start, &strides);
                    let [low, high] = pair.map(|(distance, weight)| {
                        let x = read(e, e.offset_by(at[0], distance), strides[0], kind, stretch);
                        (steps::worked(e, x, source.dtype), e.broadcast(weight, Kind::F32, stretch.lanes))
                    });
                    let first = e.mul(low.0, low.1);
                    let is_alone = e.compare(Compare::Equal, high.1, e.zero(Kind::F32, stretch.lanes), true);
                    let mixed = e.select(is_alone, first, e.fma(high.0, high.1, first));
                    finish.store(e, parameters, (&at[1..], &strides[1..]), (mixed, eightfold_ir::DType::F32), stretch);
                });
            });
        });
    });
}

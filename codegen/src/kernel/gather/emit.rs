//! Takes elements along an axis at positions given by a tensor.
//!
//! Loops run over the axes outside the gathered one and over the positions. The axes inside it are an elementwise copy.

use super::{Blocks, Gather};
use crate::kernel::finish::Finish;
use crate::kernel::nest::{along, around, moved, walk};
use crate::kernel::{Call, pointwise, steps};
use crate::vector::{Compare, Emitter, Int, Kind, Ptr, State};
use crate::view::View;

/// Emits the body of the kernel. Negative positions count from the end. Positions outside the axis are clamped, so that
/// no byte outside the source is read; [`emit_check`] reports them.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, gather: &Gather, parameters: &[Ptr<'ctx>]) {
    let Gather { axis, blocks } = *gather;
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let (outer, inner) = around(axis, &views);
    let along = along(axis, &views);
    let length = call.operands[0].grid.dims[axis];
    walk(e, &outer, &pointers, &mut |pointers| {
        e.repeat(e.int(along.extent), |i| {
            let position = position(e, &call.operands[1], parameters[1], i);
            let from_end = e.plus(position, e.int(length));
            let position = e.choose(e.holds(Compare::Less, position, e.int(0)), from_end, position);
            let position = e.lesser(e.greater(position, e.int(0)), e.int(length - 1));
            let mut at = moved(e, pointers, i, &along.strides);
            let distance = match blocks {
                None => e.scale(position, along.strides[0]),
                Some(Blocks { size, distance }) => {
                    let (block, within) = e.quotient(position, size);
                    let block = e.scale(block, distance * call.operands[0].dtype.byte_size() as isize);
                    e.plus(block, e.scale(within, along.strides[0]))
                }
            };
            at[0] = e.offset_by(pointers[0], distance);
            pointwise::emit_axes(e, call, inner.clone(), &at, parameters);
        });
    });
}

/// Emits the body of `void (ptr positions, ptr status)`. It stores `failure` to `status` if a position lies outside
/// `length`.
pub(crate) fn emit_check<'ctx>(
    e: &Emitter<'_, 'ctx>,
    (positions, length): (&View, usize),
    failure: i32,
    parameters: &[Ptr<'ctx>],
) {
    let state = State { ints: vec![e.int(0), e.int(0)], ..State::default() };
    let ends = e.carry(e.int(positions.grid.dims[0]), state, |i, state| {
        let position = position(e, positions, parameters[0], i);
        state.ints = vec![e.lesser(state.ints[0], position), e.greater(state.ints[1], position)];
    });
    let status = e.load_int(parameters[1], Kind::I32, true);
    let failure = e.signed(failure as isize);
    let status = e.choose(e.holds(Compare::Less, ends.ints[0], e.signed(-(length as isize))), failure, status);
    let status = e.choose(e.holds(Compare::GreaterOrEqual, ends.ints[1], e.int(length)), failure, status);
    e.store(parameters[1], e.narrow(e.splat_index(status, 1), Kind::I32));
}

/// Element `index` of a vector of integers.
pub(crate) fn position<'ctx>(e: &Emitter<'_, 'ctx>, view: &View, pointer: Ptr<'ctx>, index: Int<'ctx>) -> Int<'ctx> {
    let stride = view.grid.strides[0] * view.dtype.byte_size() as isize;
    e.load_int(e.offset_by(pointer, e.scale(index, stride)), steps::kind(view.dtype), true)
}

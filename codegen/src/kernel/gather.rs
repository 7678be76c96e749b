//! Elements along an axis at positions that a tensor holds.
//!
//! Positions are walked where the axis lies among the result's; what lies inside is an elementwise copy.

use super::finish::Finish;
use super::nest::{along, around, moved, walk};
use super::pointwise;
use crate::llvm::steps;
use crate::llvm::vector::{Compare, Emitter, Int, Ptr};
use crate::program::{Call, View};

/// Emits the body of the kernel. Negative positions count from the end; those outside are clamped.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, axis: usize, parameters: &[Ptr<'ctx>]) {
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
            at[0] = e.offset_by(pointers[0], e.scale(position, along.strides[0]));
            pointwise::emit_axes(e, call, inner.clone(), &at, parameters);
        });
    });
}

/// Element `index` of a vector of integers.
pub(crate) fn position<'ctx>(e: &Emitter<'_, 'ctx>, view: &View, pointer: Ptr<'ctx>, index: Int<'ctx>) -> Int<'ctx> {
    let stride = view.grid.strides[0] * view.dtype.byte_size() as isize;
    e.load_int(e.offset_by(pointer, e.scale(index, stride)), steps::kind(view.dtype), true)
}

#[cfg(test)]
mod tests;

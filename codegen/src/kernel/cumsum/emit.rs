//! Running sums along an axis: one addition per element, in the order of the axis.
//!
//! Vectors run along another axis: each lane holds one sum, and its additions keep their order. If the summed axis is
//! the only one, vectors have one lane.

use crate::kernel::finish::Finish;
use crate::kernel::nest::{Axis, along, moved, nest, read, row, walk, widths};
use crate::kernel::{Call, CumSum, steps};
use crate::vector::{Emitter, Ptr, State};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, cumsum: CumSum, parameters: &[Ptr<'ctx>]) {
    let source = &call.operands[0];
    let kind = steps::kind(source.dtype);
    let finish = Finish::of(call);
    let (views, pointers) = finish.moving(1, parameters);
    let Axis { extent, strides } = along(cumsum.axis, &views);
    let mut others = nest((0..source.grid.dims.len()).filter(|axis| *axis != cumsum.axis), &views);
    let inner = others.pop().unwrap_or_else(|| Axis { extent: 1, strides: vec![0; views.len()] });
    let last = e.int(extent.saturating_sub(1));
    walk(e, &others, &pointers, &mut |pointers| {
        row(e, inner.extent, &widths(e), &mut |start, stretch| {
            let at = moved(e, pointers, start, &inner.strides);
            let sum = State { vectors: vec![e.zero(kind, stretch.lanes)], ..State::default() };
            e.carry(e.int(extent), sum, |i, sum| {
                let at = moved(e, &at, if cumsum.reverse { e.minus(last, i) } else { i }, &strides);
                let before = sum.vectors[0];
                sum.vectors[0] = e.add(before, read(e, at[0], inner.strides[0], kind, stretch));
                let produced = if cumsum.exclusive { before } else { sum.vectors[0] };
                finish.store(e, parameters, (&at[1..], &inner.strides[1..]), (produced, source.dtype), stretch);
            });
        });
    });
}

//! Writes one number everywhere: the borders of padded buffers.

use crate::kernel::Call;
use crate::kernel::nest::{nest, row, walk};
use crate::vector::{Emitter, Kind, Ptr};

/// Emits the body of the kernel, which stores the little-endian bytes `element` to the whole result.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, element: [u8; 8], parameters: &[Ptr<'ctx>]) {
    let output = &call.output;
    let size = output.dtype.byte_size();
    let kind = match size {
        1 => Kind::I8,
        2 => Kind::I16,
        4 => Kind::I32,
        _ => Kind::I64,
    };
    let number = i64::from_le_bytes(element);
    let store = |place, count, lanes| e.store_first(place, e.splat_int(number, kind, lanes), count);
    let mut axes = nest(0..output.grid.dims.len(), &[output]);
    // The innermost loop uses vectors if its elements are adjacent.
    let inner = axes.pop_if(|axis| axis.strides == [size as isize]);
    walk(e, &axes, &parameters[call.operands.len()..], &mut |at| match &inner {
        None => store(at[0], 1, 1),
        Some(inner) => {
            let register = e.target().vector_bits / kind.bits();
            row(e, inner.extent, &[4 * register, register], &mut |start, stretch| {
                store(e.offset_by(at[0], e.scale(start, size as isize)), stretch.count, stretch.lanes);
            });
        }
    });
}

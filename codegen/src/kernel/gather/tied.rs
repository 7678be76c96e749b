//! Tables that equal the weights of a product (tied embeddings of language models): both are stored once.
//!
//! A table `[rows, columns]` whose rows are taken by position and the weights `[columns, rows]` of a product may hold
//! the same numbers, transposed. The product needs packed weights, so `gather` reads the rows from the packed weights.
//! This touches more cache lines per row, but few compared to the product, which reads all weights.
//!
//! The numbers are compared; how the graph arrived at them does not matter.

use super::{Blocks, Gather};
use crate::kernel::Call;
use crate::kernel::plain::PackedMatrix;
use crate::view::{Const, ConstId, Grid, Storage, View};

/// Smaller tables are not worth the comparison.
const LEAST_ELEMENTS: usize = 1 << 10;

/// The call changed to read the rows of its table from packed weights that hold the same numbers, if there are any.
pub(super) fn take_rows(
    gather: &Gather,
    call: &Call,
    packed: &[(ConstId, PackedMatrix)],
    consts: &[Const],
) -> Option<Call> {
    let extents = table(gather, call)?;
    let view = &call.operands[0];
    let same = |matrix: &PackedMatrix| {
        matrix.extents == extents && matrix.plain.dtype == view.dtype && holds(matrix, view, consts)
    };
    let (id, matrix) = packed.iter().find(|(_, matrix)| same(matrix))?;
    let ([rows, columns], together) = (extents, matrix.together);
    let strides = [together, together * matrix.block, 1].map(|stride| stride as isize).to_vec();
    let grid = Grid { dims: vec![rows, columns / together, together], strides };
    let blocks = Blocks { size: matrix.block, distance: matrix.distance };
    let mut call = Call { producer: Gather { axis: 0, blocks: Some(blocks) }.into(), ..call.clone() };
    call.operands[0] = View::new(Storage::Const(*id), view.dtype, 0, grid);
    let Grid { dims, strides } = &call.output.grid;
    let (count, row, step) = (dims[0], strides[0], strides[1]);
    call.output.grid =
        Grid { dims: vec![count, columns / together, together], strides: vec![row, step * together as isize, step] };
    Some(call)
}

/// Rows and columns of the table whose rows the call takes, if the table is a whole constant.
fn table(gather: &Gather, call: &Call) -> Option<[usize; 2]> {
    let view = &call.operands[0];
    let ([rows, columns], Storage::Const(_)) = (&*view.grid.dims, view.storage) else { return None };
    let whole = view.offset == 0 && view.grid == Grid::dense(&view.grid.dims);
    let takes_rows = gather.axis == 0 && gather.blocks.is_none() && call.output.grid.dims.len() == 2;
    (whole && takes_rows && rows * columns >= LEAST_ELEMENTS).then_some([*rows, *columns])
}

/// Whether the plain weights of output channel `r` are row `r` of the table.
fn holds(matrix: &PackedMatrix, table: &View, consts: &[Const]) -> bool {
    let (Storage::Const(ours), Storage::Const(theirs)) = (matrix.plain.storage, table.storage) else { return false };
    let (ours, theirs) = (&consts[ours.0].bytes, &consts[theirs.0].bytes);
    let size = table.dtype.byte_size();
    let ([rows, columns], strides) = (matrix.extents, &matrix.plain.grid.strides);
    let at = |row: usize, column: usize| {
        let place = matrix.plain.offset as isize + row as isize * strides[0] + column as isize * strides[3];
        &ours[place as usize * size..][..size]
    };
    let positions = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    theirs.chunks_exact(size).zip(positions).all(|(element, (row, column))| element == at(row, column))
}

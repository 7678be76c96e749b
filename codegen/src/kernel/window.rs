//! Windows: the runs of input elements from which each pixel of the result is computed.

use std::ops::Range;

use crate::kernel::Call;
use crate::view::{Grid, View, within_reach};

/// Runs of input elements. Their distances from the first element of a pixel are the same for all pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Pixels of the result: batch, rows, columns.
    pub(crate) pixels: [usize; 3],
    /// Distance between neighbouring pixels, in input elements.
    pub(crate) strides: [isize; 3],
    /// Each run's distance from the pixel's first element, and its length.
    pub(crate) runs: Vec<(isize, usize)>,
}

impl Window {
    /// The window of a call whose neighbouring pixels are `strides` rows and columns of operand 0 apart.
    pub(crate) fn of(call: &Call, strides: [usize; 2], runs: Vec<(isize, usize)>) -> Window {
        Window { pixels: call.output.grid.pixels(), strides: distances(&call.operands[0], strides), runs }
    }

    /// The elements of `input` that all pixels read: one view per run.
    pub(crate) fn views(&self, input: &View) -> Vec<View> {
        let [batch, rows, columns] = self.strides;
        let [b, r, c] = self.pixels;
        let view = |&(distance, length): &(isize, usize)| {
            let grid = Grid { dims: vec![b, r, c, length], strides: vec![batch, rows, columns, 1] };
            View { offset: (input.offset as isize + distance) as usize, grid, ..input.clone() }
        };
        self.runs.iter().map(view).collect()
    }
}

/// Distances between neighbouring pixels in elements of `input`, if they are `strides` rows and columns of `input`
/// apart.
pub(crate) fn distances(input: &View, strides: [usize; 2]) -> [isize; 3] {
    let times = |stride: isize, times: usize| within_reach(stride.saturating_mul(times as isize));
    let [batch, row, column] = input.grid.pixel_strides();
    [batch, times(row, strides[0]), times(column, strides[1])]
}

/// Restricts `input` to the elements that the pixels in `range` of the result's `axis` read. Pixels are `strides` rows
/// and columns of the input apart. `reach` is the distance from a pixel's first element to its farthest run.
pub(crate) fn narrow(input: &mut View, strides: [usize; 2], reach: isize, axis: usize, range: &Range<usize>) {
    let distance = distances(input, strides)[axis.saturating_sub(1)];
    input.offset = (input.offset as isize + range.start as isize * distance) as usize;
    let last = (range.len() as isize - 1) * distance + reach;
    if let Some(covered) = last.checked_div(input.grid.strides[axis]) {
        let extent = &mut input.grid.dims[axis];
        *extent = (covered as usize + 1).min(*extent);
    }
}

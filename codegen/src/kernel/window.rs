//! Windows: the runs of input elements that each pixel of the result is computed from.

use std::ops::Range;

use crate::view::{Grid, View};

/// Runs of elements at fixed distances from the first element of each pixel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Pixels of the result: batch, rows, columns.
    pub(crate) pixels: [usize; 3],
    /// Distance in input elements of neighbouring pixels.
    pub(crate) strides: [isize; 3],
    /// Distance from the pixel's first element, and length, of each run.
    pub(crate) runs: Vec<(isize, usize)>,
}

impl Window {
    /// The elements of `input` that all pixels read, one view for each run.
    pub(crate) fn views(&self, input: &View) -> Vec<View> {
        let [batch, rows, columns] = self.strides;
        let [b, r, c] = self.pixels;
        let view = |&(distance, length): &(isize, usize)| {
            let grid = Grid { dims: vec![b, r, c, length], strides: vec![batch, rows, columns, 1] };
            View { offset: (input.offset as isize + distance) as usize, grid, ..input.clone() }
        };
        self.runs.iter().map(view).collect()
    }

    /// Restricts the window to `range` of the result's `axis` and `input` to what these pixels read; returns the pixels left.
    pub(crate) fn part(&self, input: &mut View, axis: usize, range: &Range<usize>) -> [usize; 3] {
        let Window { mut pixels, strides, ref runs } = *self;
        let reach = runs.iter().map(|(distance, _)| *distance).max().unwrap_or(0);
        // Results have their channels between batch and rows, inputs of products of matrices only rows.
        let pixel_axis = axis.saturating_sub(1);
        pixels[pixel_axis] = range.len();
        input.offset = (input.offset as isize + range.start as isize * strides[pixel_axis]) as usize;
        let axis = if input.grid.dims.len() == 4 { axis } else { 0 };
        let last = (range.len() as isize - 1) * strides[pixel_axis] + reach;
        if let Some(covered) = last.checked_div(input.grid.strides[axis]) {
            let extent = &mut input.grid.dims[axis];
            *extent = (covered as usize + 1).min(*extent);
        }
        pixels
    }
}

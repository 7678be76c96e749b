//! Transposed convolutions: strides `s` and `t` give `s * t` ordinary convolutions of stride 1.
//!
//! Along an axis of stride s, every s-th output uses the same taps: every s-th of the weights (for dilation 1),
//! mirrored. So outputs fall into s *phases*. Each phase is a convolution that reads the input without gaps and writes
//! outputs with gaps. Zeros between inputs are never multiplied.
//!
//! If the stride is larger than the kernel, some outputs have no taps. Then one call first writes the bias to all
//! outputs, and the phases that have taps overwrite theirs. So the number of calls depends on the kernel, not on the
//! stride.

use eightfold_ir::Node;
use eightfold_ir::op::conv_transpose::ConvTranspose;

use super::conv::{Part, Sums, Window};
use super::window::{Phase, phases};
use super::{LowerError, Lowering, origin};
use crate::kernel::{Pointwise, Producer};
use crate::view::{Grid, View};

impl Lowering<'_> {
    pub(super) fn conv_transpose(&mut self, node: &Node, op: &ConvTranspose) -> Result<(), LowerError> {
        let sums = self.sums(node, op.group)?;
        let out = [sums.output.grid.dims[2], sums.output.grid.dims[3]];
        let along = |axis: usize| phases(op, axis, sums.kernel[axis + 2 - sums.spatial], out[axis + 2 - sums.spatial]);
        let [rows, columns] = match sums.spatial {
            1 => [vec![Phase { first: 0, count: 1, taps: vec![0], start: 0, step: 1 }], along(0)],
            _ => [along(0), along(1)],
        };
        let step = [rows.len(), columns.len()];
        let [tapped_rows, tapped_columns] =
            [&rows, &columns].map(|phases| phases.iter().filter(|phase| !phase.taps.is_empty()).collect::<Vec<_>>());
        if [tapped_rows.len(), tapped_columns.len()] != step {
            self.bare_bias(node, &sums);
        }
        for (row, column) in tapped_rows.iter().flat_map(|row| tapped_columns.iter().map(move |column| (row, column))) {
            self.phase(node, &sums, step, row, column);
        }
        self.finish_sums(node, sums);
        Ok(())
    }

    /// Computes the outputs of one phase of rows and columns; neighbouring outputs are `step` apart.
    fn phase(&mut self, node: &Node, sums: &Sums, step: [usize; 2], row: &Phase, column: &Phase) {
        let strides = &sums.input.grid.strides;
        let window = Window {
            node,
            pixels: [sums.output.grid.dims[0], row.count, column.count],
            strides: [1; 2],
            part: Part { first: [row.first, column.first], step },
            row: strides[2] * row.step as isize,
            column: strides[3] * column.step as isize,
            kernel: [row.taps.len(), column.taps.len()],
        };
        let mut weights = sums.weights.clone();
        for (axis, phase) in [(1, row), (2, column)] {
            // Taps are equally spaced. The last one in the weights comes first.
            let stride = weights.grid.strides[axis];
            let first = phase.taps[0] as isize;
            let step = phase.taps.get(1).map_or(1, |second| *second as isize - first);
            weights.offset = (weights.offset as isize + first * stride) as usize;
            (weights.grid.dims[axis], weights.grid.strides[axis]) = (phase.taps.len(), step * stride);
        }
        self.window_sums(&window, sums, [row.start, column.start], &weights);
    }

    /// Computes all outputs as if they had no taps: the bias and the steps.
    fn bare_bias(&mut self, node: &Node, sums: &Sums) {
        let output = sums.output.clone();
        let [batch, rows, columns] = [0, 2, 3].map(|axis| output.grid.dims[axis]);
        let window = Window {
            node,
            pixels: [batch, rows, columns],
            strides: [1; 2],
            part: Part::WHOLE,
            row: 0,
            column: 0,
            kernel: [0, 0],
        };
        let grid = Grid { dims: output.grid.dims.clone(), strides: vec![0, sums.bias.grid.strides[0], 0, 0] };
        let mut operands = vec![View { grid, ..sums.bias.clone() }];
        let steps = self.planar_steps(&window, &mut operands);
        self.call(Producer::Pointwise(Pointwise), operands, steps, output, &origin(&node.origin));
    }
}

//! Transposed convolutions: strides of `s` and `t` make `s * t` ordinary convolutions of stride 1.
//!
//! Along an axis of stride s, every s-th output reads the input through the same taps, every s-th or so of the weights,
//! mirrored. So the outputs fall into s *phases*, each of which is a convolution of the input, without gaps, into
//! outputs with gaps. No product with a zero between inputs is ever made.
//!
//! If the stride is larger than the kernel, no tap reaches some outputs. One call writes the bias to all outputs first;
//! then the phases that have taps overwrite theirs. So the number of calls follows the kernel, not the stride.

use eightfold_ir::Node;
use eightfold_ir::op::conv_transpose::ConvTranspose;

use super::conv::{Part, Sums, Window};
use super::{LowerError, Lowering, origin};
use crate::program::{Grid, Pointwise, Producer, View};

/// The outputs along one axis that one set of taps yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// The first output; the next is one stride further.
    first: usize,
    /// How many outputs.
    count: usize,
    /// Positions in the weights in the order in which the window meets them; there may be none.
    taps: Vec<usize>,
    /// The input that the first tap of the first output reads; negative before the input's first.
    start: isize,
    /// Distance of the inputs that neighbouring taps read.
    step: usize,
}

/// The phases along spatial axis `axis`, which has `out` outputs, for weights of extent `kernel`.
pub(super) fn phases(op: &ConvTranspose, axis: usize, kernel: usize, out: usize) -> Vec<Phase> {
    let conv = op.transposed();
    let (stride, dilation, before) = (conv.stride(axis), conv.dilation(axis), conv.pad(axis).0);
    let phase = |first: usize| {
        let input = |tap: usize| {
            let at = (first + before) as isize - (tap * dilation) as isize;
            (at % stride as isize == 0).then_some(at / stride as isize)
        };
        let (taps, inputs): (Vec<usize>, Vec<isize>) =
            (0..kernel).rev().filter_map(|tap| Some((tap, input(tap)?))).unzip();
        let start = inputs.first().copied().unwrap_or(0);
        let step = inputs.get(1).map_or(1, |second| (second - start) as usize);
        Phase { first, count: (out - first).div_ceil(stride), taps, start, step }
    };
    (0..stride.min(out)).map(phase).collect()
}

/// How far windows reach over the edges of an axis of extent `extent`, before and after.
pub(super) fn reach(phases: &[Phase], extent: usize) -> [usize; 2] {
    let mut reach = [0; 2];
    for phase in phases.iter().filter(|phase| !phase.taps.is_empty()) {
        let end = phase.start + ((phase.taps.len() - 1) * phase.step + phase.count) as isize;
        reach[0] = reach[0].max(usize::try_from(-phase.start).unwrap_or(0));
        reach[1] = reach[1].max(usize::try_from(end - extent as isize).unwrap_or(0));
    }
    reach
}

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

    /// The outputs that are `step` apart from that of `row` and `column` on.
    fn phase(&mut self, node: &Node, sums: &Sums, step: [usize; 2], row: &Phase, column: &Phase) {
        let strides = &sums.input.grid.strides;
        let window = Window {
            node,
            pixels: [sums.output.grid.dims[0], row.count, column.count],
            input_strides: [strides[0], strides[2], strides[3]],
            part: Part { first: [row.first, column.first], step },
            row: strides[2] * row.step as isize,
            column: strides[3] * column.step as isize,
            kernel: [row.taps.len(), column.taps.len()],
        };
        let mut weights = sums.weights.clone();
        for (axis, phase) in [(1, row), (2, column)] {
            // Taps lie at one distance, the last of the weights first.
            let stride = weights.grid.strides[axis];
            let first = phase.taps[0] as isize;
            let step = phase.taps.get(1).map_or(1, |second| *second as isize - first);
            weights.offset = (weights.offset as isize + first * stride) as usize;
            (weights.grid.dims[axis], weights.grid.strides[axis]) = (phase.taps.len(), step * stride);
        }
        self.window_sums(&window, sums, [row.start, column.start], &weights);
    }

    /// All outputs as if no tap reached them: the bias alone, and the steps.
    fn bare_bias(&mut self, node: &Node, sums: &Sums) {
        let output = sums.output.clone();
        let [batch, rows, columns] = [0, 2, 3].map(|axis| output.grid.dims[axis]);
        let strides = &sums.input.grid.strides;
        let window = Window {
            node,
            pixels: [batch, rows, columns],
            input_strides: [strides[0], strides[2], strides[3]],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn along(stride: usize, dilation: usize, before: usize, kernel: usize, out: usize) -> Vec<Phase> {
        let op = ConvTranspose {
            pads: [before, 0].into_iter().collect(),
            strides: [stride].into_iter().collect(),
            dilations: [dilation].into_iter().collect(),
            output_padding: Default::default(),
            group: 1,
        };
        phases(&op, 0, kernel, out)
    }

    /// Each input and tap that meets an output is in just one phase, at that output.
    #[test]
    fn phases_hold_each_product_once() {
        for (stride, dilation, before, kernel, extent) in
            [(2, 1, 0, 2, 4), (2, 1, 1, 3, 5), (3, 2, 2, 4, 3), (4, 2, 1, 3, 4), (2, 2, 0, 3, 1), (5, 1, 0, 2, 3)]
        {
            let out = (extent - 1) * stride + (kernel - 1) * dilation + 1 - before;
            let mut expected = vec![Vec::new(); out];
            for (input, tap) in (0..extent).flat_map(|i| (0..kernel).map(move |k| (i, k))) {
                if let Some(at) = (input * stride + tap * dilation).checked_sub(before) {
                    expected[at].push((input as isize, tap));
                }
            }
            let phases = along(stride, dilation, before, kernel, out);
            let [least, most] = reach(&phases, extent);
            let mut got = vec![Vec::new(); out];
            for (phase, turn) in phases.iter().flat_map(|p| (0..p.count).map(move |turn| (p, turn))) {
                for (index, tap) in phase.taps.iter().enumerate() {
                    let input = phase.start + (turn + index * phase.step) as isize;
                    assert!((-(least as isize)..(extent + most) as isize).contains(&input));
                    if (0..extent as isize).contains(&input) {
                        got[phase.first + turn * stride].push((input, *tap));
                    }
                }
            }
            assert_eq!(got, expected, "stride {stride} dilation {dilation} pad {before} kernel {kernel}");
        }
    }

    #[test]
    fn a_window_as_wide_as_the_stride_needs_no_border() {
        let phases = along(2, 1, 0, 2, 16);
        assert_eq!(reach(&phases, 8), [0, 0]);
        assert_eq!(phases[1], Phase { first: 1, count: 8, taps: vec![1], start: 0, step: 1 });
    }
}

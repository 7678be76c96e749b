//! The reach of windows: which inputs the outputs of convolutions and transposed convolutions read.

use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::{Graph, Node, Op, ValueId};

/// The input of which `node` reads windows, and how far the windows reach beyond its edges.
pub(super) fn wanted_border(graph: &Graph, node: &Node) -> Option<(ValueId, [usize; 4])> {
    if !matches!(node.op, Op::Conv(_) | Op::ConvTranspose(_)) {
        return None;
    }
    let (x, w) = (node.operand(0)?, node.operand(1)?);
    let spatial = graph.ty(x).shape.rank() - 2;
    let reach = |axis: usize| {
        let [extent, kernel, out] = [x, w, node.output()].map(|id| graph.ty(id).shape[axis + 2]);
        match &node.op {
            Op::Conv(conv) => {
                let (before, _) = conv.pad(axis);
                // The part of the last window beyond the end of the input; it may be less than the padding.
                let end = (out - 1) * conv.stride(axis) + (kernel - 1) * conv.dilation(axis) + 1;
                [before, end.saturating_sub(before + extent)]
            }
            Op::ConvTranspose(op) => reach(&phases(op, axis, kernel, out), extent),
            _ => unreachable!("no other operator reads windows of sums of products"),
        }
    };
    let border = match spatial {
        1 => [[0, 0], reach(0)],
        2 => [reach(0), reach(1)],
        _ => return None,
    };
    Some((x, [border[0][0], border[0][1], border[1][0], border[1][1]]))
}

/// The outputs along one axis that use the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    /// The first output. Neighbouring outputs are one stride apart.
    pub(super) first: usize,
    /// Number of outputs.
    pub(super) count: usize,
    /// Positions in the weights, in the order of the inputs; may be empty.
    pub(super) taps: Vec<usize>,
    /// The input of the first output's first tap; negative if it lies before the first input.
    pub(super) start: isize,
    /// Distance between the inputs of neighbouring taps.
    pub(super) step: usize,
}

/// The phases along spatial axis `axis`, which has `out` outputs; the weights have extent `kernel`.
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

/// How far windows reach beyond the edges of an axis of extent `extent`: before and after.
fn reach(phases: &[Phase], extent: usize) -> [usize; 2] {
    let mut reach = [0; 2];
    for phase in phases.iter().filter(|phase| !phase.taps.is_empty()) {
        let end = phase.start + ((phase.taps.len() - 1) * phase.step + phase.count) as isize;
        reach[0] = reach[0].max(usize::try_from(-phase.start).unwrap_or(0));
        reach[1] = reach[1].max(usize::try_from(end - extent as isize).unwrap_or(0));
    }
    reach
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

    /// Each pair of input and tap that contributes to an output occurs in exactly one phase, at this output.
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

//! Cutting a call into parts: the same call on ranges of one dimension of its result.
//!
//! Invariant: an element of the result is computed in a part by the same operations in the same order as in the whole
//! call. So no dimension is cut along which numbers are added up, none in a way that would change how a kernel goes
//! about its sums, and inputs of windows keep their padding.

use std::ops::Range;

use crate::llvm::steps::elementwise;
use crate::program::{Call, Depthwise, Gemm, Grid, Producer, View, Winograd, WinogradInput};

/// All ways to cut `call` into `count` parts or, where there is less to cut, fewer, but at least two: each with the axis
/// of the result. Parts do not begin inside a run of `line` bytes of the result.
pub(super) fn ways(call: &Call, count: usize, line: usize) -> Vec<(usize, Vec<Call>)> {
    let mut axes: Vec<usize> = (0..call.output.grid.dims.len()).collect();
    // Outermost first.
    axes.sort_by_key(|axis| std::cmp::Reverse(call.output.grid.strides[*axis].unsigned_abs()));
    let cut = |axis: usize| {
        let (extent, unit) = (call.output.grid.dims[axis], unit(call, axis, line)?);
        let ranges = ranges(extent, unit, count);
        // One result fewer than two would change along which axis vectors run, and so the order of sums.
        let least = match call.producer {
            Producer::Reduce { .. } | Producer::Softmax { .. } => 2,
            _ => 1,
        };
        let enough = ranges.len() > 1 && ranges.iter().all(|range| range.len() >= least);
        enough.then(|| (axis, ranges.into_iter().map(|range| part(call, axis, range)).collect()))
    };
    axes.into_iter().filter_map(cut).collect()
}

/// `extent` in at most `count` ranges of nearly one length, which all but the last are multiples of `unit`.
fn ranges(extent: usize, unit: usize, count: usize) -> Vec<Range<usize>> {
    let units = extent.div_ceil(unit);
    let count = count.min(units);
    // The last unit may be short, so the larger ranges come last.
    let start = |index: usize| (index * units / count.max(1) * unit).min(extent);
    (0..count).map(|index| start(index)..start(index + 1)).collect()
}

/// The multiples at which the result can be cut along `axis`; `None` if it cannot.
fn unit(call: &Call, axis: usize, line: usize) -> Option<usize> {
    let output = &call.output;
    // So many neighbours along the axis lie in one cache line.
    let stride = output.grid.strides[axis].unsigned_abs() * output.dtype.byte_size();
    let line = (line / stride.max(1)).max(1);
    match &call.producer {
        // Axes of products by channel and pixel: batch, channels, rows, columns.
        Producer::Gemm(gemm) => match axis {
            1 => Some(multiple(gemm.tile.nr, line)),
            3 if gemm.pixels[0] * gemm.pixels[1] > 1 => None,
            3 => Some(multiple(gemm.tile.mr, line)),
            _ => Some(line),
        },
        Producer::Depthwise(_) | Producer::WinogradInput(_) => matches!(axis, 0 | 2).then_some(line),
        Producer::Winograd(winograd) => match axis {
            1 => Some(multiple(winograd.tile.nr, line)),
            3 => None,
            _ => Some(multiple(rows_together(call, axis), line)),
        },
        Producer::Pool { .. } => (axis < 3).then_some(line),
        Producer::Reduce { .. } => (call.operands[0].grid.dims[axis] == output.grid.dims[axis]).then_some(line),
        Producer::Softmax { axis: own } | Producer::Gather { axis: own } | Producer::Interpolate { axis: own } => {
            (axis != *own).then_some(line)
        }
        Producer::MatMul { .. } => (axis + 1 < output.grid.dims.len()).then_some(line),
        Producer::Pointwise | Producer::Fill { .. } => Some(line),
    }
}

/// Neighbours along an axis of the result that are computed together, so that parts hold whole ones.
pub(crate) fn rows_together(call: &Call, axis: usize) -> usize {
    match call.producer {
        Producer::Winograd(_) if axis == 2 => Winograd::YIELD,
        _ => 1,
    }
}

fn multiple(a: usize, b: usize) -> usize {
    (1..).map(|times| times * a).find(|product| product % b == 0).unwrap_or(a)
}

/// The call on `range` of its result's `axis`.
pub(crate) fn part(call: &Call, axis: usize, range: Range<usize>) -> Call {
    let mut part = call.clone();
    for index in elementwise(&call.steps) {
        narrow(&mut part.operands[index], axis, &range);
    }
    narrow(&mut part.output, axis, &range);
    let operands = &mut part.operands;
    match &mut part.producer {
        Producer::Gemm(gemm) if axis == 1 => cut_blocks(gemm, operands, &range),
        Producer::Gemm(Gemm { pixels, input_strides, runs, .. }) => {
            let reach = runs.iter().map(|run| run.offset).max().unwrap_or(0);
            cut_pixels(pixels, *input_strides, reach, &mut operands[0], axis, &range);
        }
        Producer::Depthwise(Depthwise { pixels, input_strides, taps, .. }) => {
            let reach = taps.iter().copied().max().unwrap_or(0);
            cut_pixels(pixels, *input_strides, reach, &mut operands[0], axis, &range);
        }
        Producer::WinogradInput(input) => {
            let reach = input.taps().into_iter().max().unwrap_or(0);
            let WinogradInput { tiles, input_strides, .. } = input;
            cut_pixels(tiles, *input_strides, reach, &mut operands[0], axis, &range);
        }
        Producer::Winograd(winograd) if axis == 1 => {
            let block = Winograd::POSITIONS * winograd.position_bytes();
            leave_blocks(operands, winograd.tile.nr, &range, |blocks| block * blocks);
            winograd.n = range.len();
        }
        Producer::Winograd(winograd) => {
            let together = rows_together(call, axis);
            let range = range.start / together..range.end / together;
            winograd.tiles[axis.saturating_sub(1)] = range.len();
            narrow(&mut operands[0], axis, &range);
        }
        Producer::Pool { .. } if axis == 2 => cut_windows(&mut part.producer, &mut operands[0], &range),
        Producer::MatMul { .. } => {
            // Rows are the first matrix's alone, batches both have.
            let is_row = axis + 2 == call.output.grid.dims.len();
            for factor in &mut operands[..if is_row { 1 } else { 2 }] {
                narrow(factor, axis, &range);
            }
        }
        Producer::Fill { .. } => {}
        Producer::Pool { .. } | Producer::Reduce { .. } | Producer::Softmax { .. } => {
            narrow(&mut operands[0], axis, &range)
        }
        Producer::Pointwise | Producer::Gather { .. } | Producer::Interpolate { .. } => {
            narrow(&mut operands[0], axis, &range)
        }
    }
    part
}

/// Leaves of a view what lies in `range` of its `axis`.
fn narrow(view: &mut View, axis: usize, range: &Range<usize>) {
    view.offset = (view.offset as isize + range.start as isize * view.grid.strides[axis]) as usize;
    view.grid.dims[axis] = range.len();
}

/// Leaves of the pixels those in `range`, and of the input what lies under them; windows reach `reach` elements further
/// than their first one.
fn cut_pixels(
    pixels: &mut [usize; 3],
    strides: [isize; 3],
    reach: isize,
    input: &mut View,
    axis: usize,
    range: &Range<usize>,
) {
    // Results have their channels between batch and rows, inputs of products of matrices only rows.
    let pixel_axis = axis.saturating_sub(1);
    pixels[pixel_axis] = range.len();
    input.offset = (input.offset as isize + range.start as isize * strides[pixel_axis]) as usize;
    let axis = if input.grid.dims.len() == 4 { axis } else { 0 };
    if let Some(covered) =
        ((range.len() as isize - 1) * strides[pixel_axis] + reach).checked_div(input.grid.strides[axis])
    {
        let extent = &mut input.grid.dims[axis];
        *extent = (covered as usize + 1).min(*extent);
    }
}

/// Leaves of the channels those in `range`, which begins with a block of weights.
fn cut_blocks(gemm: &mut Gemm, operands: &mut [View], range: &Range<usize>) {
    let blocks = leave_blocks(operands, gemm.tile.nr, range, |blocks| gemm.weight_bytes(0..blocks));
    let vectors = gemm.vectors();
    gemm.extra = gemm.extra[vectors * blocks.start..vectors * blocks.end].to_vec();
    gemm.n = range.len();
}

/// Leaves of the packed weights and sums the blocks of `nr` channels that `range` begins and ends in, and says which;
/// `bytes` are those that the weights of so many blocks take.
fn leave_blocks(
    operands: &mut [View],
    nr: usize,
    range: &Range<usize>,
    bytes: impl Fn(usize) -> usize,
) -> Range<usize> {
    let blocks = range.start / nr..range.end.div_ceil(nr);
    leave(&mut operands[1], bytes(blocks.start)..bytes(blocks.end));
    leave(&mut operands[2], 4 * nr * blocks.start..4 * nr * blocks.end);
    blocks
}

/// Leaves these bytes of packed numbers.
fn leave(view: &mut View, bytes: Range<usize>) {
    let size = view.dtype.byte_size();
    (view.offset, view.grid) = (view.offset + bytes.start / size, Grid::dense(&[bytes.len() / size]));
}

/// Leaves of a pool's rows those in `range`: the input begins where the first of their windows does, and padding before
/// it is left where that lies outside.
fn cut_windows(producer: &mut Producer, input: &mut View, range: &Range<usize>) {
    let Producer::Pool { kernel, strides, dilations, pads, include_pad, .. } = producer else {
        unreachable!("the call is a pool")
    };
    let rows = input.grid.dims[2];
    // All counted from the first row of padding.
    let first = range.start * strides[0];
    let end = (range.end - 1) * strides[0] + (kernel[0] - 1) * dilations[0] + 1;
    let inside = first.max(pads[0]).min(pads[0] + rows)..end.clamp(pads[0], pads[0] + rows);
    let padded = include_pad.map(|after| pads[0] + rows + after[0]);
    let before = pads[0];
    narrow(input, 2, &(inside.start - before..inside.end.max(inside.start) - before));
    pads[0] = inside.start - first.min(inside.start);
    if let (Some(after), Some(padded)) = (include_pad, padded) {
        // The rows that count end where they did.
        after[0] = padded - first - pads[0] - input.grid.dims[2];
    }
}

#[cfg(test)]
mod tests;

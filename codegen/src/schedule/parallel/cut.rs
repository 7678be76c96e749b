//! Cuts a call into parts: the same call on ranges of one axis of its result.
//!
//! Invariant: a part computes each element of the result by the same operations in the same order as the whole call. So
//! reduction axes are not cut, no cut changes the order of a reduction, and inputs of windows keep their padding.

use std::ops::Range;

use crate::kernel::Call;
use crate::step::elementwise;

/// All ways to cut `call` into 2 to `count` parts, each with the axis of the result that it cuts. A part begins at a
/// multiple of `line` bytes of the result, so that threads do not share cache lines.
pub(super) fn ways(call: &Call, count: usize, line: usize) -> Vec<(usize, Vec<Call>)> {
    let mut axes: Vec<usize> = (0..call.output.grid.dims.len()).collect();
    // Outermost first.
    axes.sort_by_key(|axis| std::cmp::Reverse(call.output.grid.strides[*axis].unsigned_abs()));
    let cut = |axis: usize| {
        let (extent, unit) = (call.output.grid.dims[axis], unit(call, axis, line)?);
        let ranges = ranges(extent, unit, count);
        let least = call.producer.def().least_part();
        let enough = ranges.len() > 1 && ranges.iter().all(|range| range.len() >= least);
        enough.then(|| (axis, ranges.into_iter().map(|range| part(call, axis, range)).collect()))
    };
    axes.into_iter().filter_map(cut).collect()
}

/// `extent` in at most `count` ranges of nearly equal length. All lengths but the last are multiples of `unit`.
fn ranges(extent: usize, unit: usize, count: usize) -> Vec<Range<usize>> {
    let units = extent.div_ceil(unit);
    let count = count.min(units);
    // The last unit may be short, so the larger ranges come last.
    let start = |index: usize| (index * units / count.max(1) * unit).min(extent);
    (0..count).map(|index| start(index)..start(index + 1)).collect()
}

/// The unit in elements: cuts along `axis` lie at multiples of it, and never inside a cache line. `None` if the axis
/// cannot be cut.
fn unit(call: &Call, axis: usize, line: usize) -> Option<usize> {
    let output = &call.output;
    let stride = output.grid.strides[axis].unsigned_abs() * output.dtype.byte_size();
    let line = (line / stride.max(1)).max(1);
    Some(multiple(call.producer.def().unit(call, axis)?, line))
}

fn multiple(a: usize, b: usize) -> usize {
    (1..).map(|times| times * a).find(|product| product % b == 0).unwrap_or(a)
}

/// The call on `range` of its result's `axis`.
pub(crate) fn part(call: &Call, axis: usize, range: Range<usize>) -> Call {
    let mut part = call.clone();
    for index in elementwise(&call.steps) {
        part.operands[index].narrow(axis, &range);
    }
    part.output.narrow(axis, &range);
    part.producer.def_mut().take_part(&mut part.operands, &part.output, axis, &range);
    part
}

#[cfg(test)]
mod tests;

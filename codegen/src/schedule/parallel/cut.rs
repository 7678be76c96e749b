//! Cutting a call into parts: the same call on ranges of one dimension of its result.
//!
//! Invariant: an element of the result is computed in a part by the same operations in the same order as in the whole
//! call. So no dimension is cut along which numbers are added up, none in a way that would change how a kernel goes
//! about its sums, and inputs of windows keep their padding.

use std::ops::Range;

use crate::kernel::Call;
use crate::step::elementwise;

/// All ways to cut `call` into at most `count` parts and at least two, each with the axis of the result along which it cuts. Parts
/// do not begin inside a run of `line` bytes of the result.
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

/// `extent` in at most `count` ranges of nearly one length, which all but the last are multiples of `unit`.
fn ranges(extent: usize, unit: usize, count: usize) -> Vec<Range<usize>> {
    let units = extent.div_ceil(unit);
    let count = count.min(units);
    // The last unit may be short, so the larger ranges come last.
    let start = |index: usize| (index * units / count.max(1) * unit).min(extent);
    (0..count).map(|index| start(index)..start(index + 1)).collect()
}

/// The multiples at which the result is cut along `axis`, none of them within a cache line; `None` if it cannot be cut.
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

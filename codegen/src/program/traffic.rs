//! Reuse distances: how many bytes the program touches between two accesses to the same data.
//!
//! The analysis assumes that the program runs again and again, and that caches keep the most recently used bytes. An
//! access hits the first level that can hold all bytes touched since the previous access, including its own. Within a
//! call each byte is touched once. The order within a call is unknown, so a distance may be too large by the bytes of
//! one call.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{BufferKind, Program};
use crate::kernel::Call;
use crate::view::{Storage, View};

/// Granularity of the analysis: bytes that are tracked together.
const LINE: usize = 1 << 10;

/// The bytes of a call that have the same reuse distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Bytes that the program has touched since the previous access, including these.
    pub distance: u64,
    /// Number of bytes with this distance.
    pub bytes: f64,
}

impl Program {
    /// For each of the [executions](Program::executions), the bytes that it reads and writes by reuse distance, nearest
    /// first.
    #[must_use]
    pub fn traffic(&self) -> Vec<Vec<Reach>> {
        let places = Places::of(self);
        let executions = self.executions();
        let calls = executions.len();
        // For each line, the time of its last access. For each time, the number of lines whose last access it is.
        let mut last: Vec<Option<usize>> = vec![None; places.lines];
        let mut touched = vec![0_u64; 2 * calls];
        let mut traffic = Vec::with_capacity(calls);
        for time in 0..2 * calls {
            let call = &executions[time % calls].call;
            let mut bytes_since: BTreeMap<usize, f64> = BTreeMap::new();
            for (lines, bytes) in places.moved(call) {
                let share = bytes as f64 / lines.len().max(1) as f64;
                for line in lines {
                    *bytes_since.entry(last[line].unwrap_or(0)).or_default() += share;
                }
            }
            // The first run only records accesses. In the second run every line has a previous access.
            if time >= calls {
                let distance = |since: usize| LINE as u64 * touched[since..].iter().sum::<u64>();
                let reach = |(since, bytes): (usize, f64)| Reach { distance: distance(since), bytes };
                traffic.push(bytes_since.into_iter().rev().map(reach).collect());
            }
            for line in places.moved(call).into_iter().flat_map(|(lines, _)| lines) {
                if let Some(before) = last[line].replace(time) {
                    touched[before] -= 1;
                }
                touched[time] += 1;
            }
        }
        traffic
    }
}

/// Addresses of buffers and constants, in one space of `lines` lines: the arena comes first, then all others in
/// sequence.
struct Places {
    buffers: Vec<usize>,
    consts: Vec<usize>,
    lines: usize,
}

impl Places {
    fn of(program: &Program) -> Places {
        let mut end = (program.arena_size + Program::SLACK).next_multiple_of(LINE);
        let mut after = |bytes: usize| {
            let start = end;
            end += (bytes + Program::SLACK).next_multiple_of(LINE);
            start
        };
        let buffers = program.buffers.iter().map(|buffer| match buffer.kind {
            BufferKind::Arena { offset } => offset,
            BufferKind::Input(_) | BufferKind::Output(_) => after(buffer.byte_size),
        });
        let buffers = buffers.collect();
        let consts = program.consts.iter().map(|constant| after(constant.bytes.len())).collect();
        Places { buffers, consts, lines: end / LINE }
    }

    /// The lines and the number of bytes that each operand and the result touch.
    fn moved(&self, call: &Call) -> Vec<(Range<usize>, u64)> {
        let operands = call.operands.iter().enumerate().map(|(index, view)| (view, call.operand_bytes(index)));
        let result = (&call.output, call.output_bytes());
        operands.chain([result]).map(|(view, bytes)| (self.span(view), bytes)).collect()
    }

    /// The lines from a view's first byte to its last.
    fn span(&self, view: &View) -> Range<usize> {
        if view.grid.elements() == 0 {
            return 0..0;
        }
        let start = match view.storage {
            Storage::Buffer(id) => self.buffers[id.0],
            Storage::Const(id) => self.consts[id.0],
        };
        let reaches = view.grid.dims.iter().zip(&view.grid.strides).map(|(dim, stride)| (*dim as isize - 1) * stride);
        let (before, behind) =
            reaches.fold((0, 0), |(before, behind), reach| (before + reach.min(0), behind + reach.max(0)));
        let line = |distance: isize| {
            let element = view.offset.saturating_add_signed(distance);
            ((start + element * view.dtype.byte_size()) / LINE).min(self.lines - 1)
        };
        line(before)..line(behind) + 1
    }
}

#[cfg(test)]
mod tests;

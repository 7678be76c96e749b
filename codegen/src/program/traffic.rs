//! How far the bytes of each call have travelled: of all that it reads and writes, what else was touched since.
//!
//! The program is taken to run again and again, and a cache to keep what was touched last: bytes are found in the first
//! level that holds all that was touched since they were, themselves included. Within a call each byte is touched once,
//! and what a call touches has no order, so that distances are upper bounds by one call's bytes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{BufferKind, Program};
use crate::kernel::Call;
use crate::view::{Storage, View};

/// Bytes that are followed together.
const LINE: usize = 1 << 10;

/// Bytes of a call that were all touched last at the same distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// Bytes that the program has touched since, these included.
    pub distance: u64,
    /// How many they are.
    pub bytes: f64,
}

impl Program {
    /// For each of its [executions](Program::executions), the bytes that it reads and writes by their distance, the nearest
    /// first.
    #[must_use]
    pub fn traffic(&self) -> Vec<Vec<Reach>> {
        let places = Places::of(self);
        let executions = self.executions();
        let calls = executions.len();
        // When each line was touched last, and how many lines were touched last at each time.
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
            // The program has run once: all that it touches was touched before.
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

/// Where buffers and constants lie, in lines: the arena, then all others one after the other.
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

    /// The lines and bytes of each operand and of the result.
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

//! Proves that a program loses no data, independently of the code that planned it: [`check`] interprets the program.

use std::ops::Range;

use rangemap::RangeMap;

use super::footprint::{Footprint, reads, writes};
use super::{Buffer, BufferKind, Item, Parallel, Program, calls, executions};
use crate::kernel::Call;
use crate::view::BufferId;

/// Lost data: a bug in the compiler, never the user's mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A call reads a buffer whose bytes another buffer has overwritten.
    #[error("call {call} reads {buffer}, whose bytes {overwritten_by} has overwritten")]
    Overwritten {
        /// Number of the call.
        call: usize,
        /// The buffer that is read.
        buffer: String,
        /// The buffer that was written there last.
        overwritten_by: String,
    },
    /// Two threads touch the same bytes without a barrier in between.
    #[error("call {call} touches bytes of {buffer} that call {writer} writes at the same time")]
    Race {
        /// Number of the call.
        call: usize,
        /// The buffer that the call reads or writes.
        buffer: String,
        /// Number of the other call.
        writer: usize,
    },
}

/// Interprets the program. Every read must find bytes that its own buffer has written last, and no thread may touch
/// bytes that another thread writes at the same time.
///
/// # Errors
/// Fails at the first call that violates this.
pub fn check(program: &Program) -> Result<(), PlanError> {
    check_order(program)?;
    let mut number = 0;
    for item in &program.body {
        if let Item::Parallel(parallel) = item {
            check_threads(program, parallel, number)?;
        }
        number += calls(std::slice::from_ref(item)).len();
    }
    Ok(())
}

/// The bytes of the arena that a footprint covers.
fn in_arena<'f>(program: &Program, touched: &'f Footprint) -> impl Iterator<Item = Range<usize>> + 'f {
    let offset = match program.buffers[touched.buffer.0].kind {
        BufferKind::Arena { offset } => Some(offset),
        BufferKind::Input(_) | BufferKind::Output(_) => None,
    };
    offset.into_iter().flat_map(|offset| touched.bytes.iter().map(move |r| offset + r.start..offset + r.end))
}

/// Tracks which buffer wrote each byte of the arena last.
fn check_order(program: &Program) -> Result<(), PlanError> {
    let mut owners: RangeMap<usize, BufferId> = RangeMap::new();
    for run in program.executions() {
        for read in reads(&run.call) {
            let mut found = in_arena(program, &read).flat_map(|range| owners.overlapping(range).collect::<Vec<_>>());
            if let Some((_, other)) = found.find(|(_, owner)| **owner != read.buffer) {
                let name = |id: BufferId| program.buffers[id.0].name.clone();
                let (buffer, overwritten_by) = (name(read.buffer), name(*other));
                return Err(PlanError::Overwritten { call: run.number, buffer, overwritten_by });
            }
        }
        if let Some(written) = writes(&run.call) {
            in_arena(program, &written).for_each(|range| owners.insert(range, written.buffer));
        }
    }
    Ok(())
}

/// An access by a call on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    number: usize,
    thread: usize,
}

/// Finds bytes that one thread writes and another touches in a parallel region whose first call has the number `first`.
fn check_threads(program: &Program, parallel: &Parallel, first: usize) -> Result<(), PlanError> {
    let mut number = first;
    let mut accesses: Vec<(Access, Call)> = Vec::new();
    for (thread, body) in parallel.threads.iter().enumerate() {
        let runs = executions(body).into_iter();
        accesses.extend(runs.map(|run| (Access { number: number + run.number, thread }, run.call)));
        number += calls(body).len();
    }
    // The last writer of each byte, of each buffer and, at the end, of the arena.
    let mut writers: Vec<RangeMap<usize, Access>> = vec![RangeMap::new(); program.buffers.len() + 1];
    let mut visit = |access: Access, touched: &Footprint, write: bool| {
        let (place, ranges) = ranges(program, touched);
        for range in ranges {
            let mut others = writers[place].overlapping(range.clone()).map(|(_, other)| *other);
            if let Some(other) = others.rfind(|other| other.thread != access.thread) {
                let buffer = program.buffers[touched.buffer.0].name.clone();
                return Err(PlanError::Race { call: access.number, buffer, writer: other.number });
            }
            if write {
                writers[place].insert(range, access);
            }
        }
        Ok(())
    };
    for (access, call) in &accesses {
        writes(call).map_or(Ok(()), |written| visit(*access, &written, true))?;
    }
    for (access, call) in &accesses {
        reads(call).iter().try_for_each(|read| visit(*access, read, false))?;
    }
    Ok(())
}

/// The place of a footprint (the index of its buffer, or the number of buffers for the arena), and its bytes there.
fn ranges(program: &Program, touched: &Footprint) -> (usize, Vec<Range<usize>>) {
    let Buffer { kind, byte_size, .. } = &program.buffers[touched.buffer.0];
    let (place, offset, size) = match kind {
        BufferKind::Arena { offset } => (program.buffers.len(), *offset, program.arena_size),
        BufferKind::Input(_) | BufferKind::Output(_) => (touched.buffer.0, 0, *byte_size),
    };
    // The last row of a window may end in slack that the call does not use.
    let inside = touched.bytes.iter().map(|range| offset + range.start..(offset + range.end).min(size));
    (place, inside.filter(|range| !range.is_empty()).collect())
}

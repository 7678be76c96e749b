//! The memory plan: where in the arena each buffer lies, from when it is live.
//!
//! Greedy by size, as TFLite's planner (Pisarchyk and Lee, 2020): the largest buffer first, each at the lowest offset
//! that no buffer alive at the same time overlaps. An elementwise call's result takes its operand's bytes where the
//! operand dies there. [`check`] proves a plan by interpreting it, without looking at how it was made.

use std::collections::BTreeMap;

use crate::footprint::{Footprint, reads, writes};
use crate::program::{Buffer, BufferId, BufferKind, Call, Phase, Program, Storage};

/// Finds for each buffer the first and the last call that touch it.
pub(crate) fn find_live(buffers: &mut [Buffer], calls: &[Call]) {
    for buffer in buffers.iter_mut() {
        buffer.live = (usize::MAX, 0);
    }
    for (at, call) in calls.iter().enumerate() {
        for view in call.operands.iter().chain([&call.output]) {
            if let Storage::Buffer(BufferId(buffer)) = view.storage {
                let live = &mut buffers[buffer].live;
                *live = (live.0.min(at), live.1.max(at));
            }
        }
    }
}

/// Gives each arena buffer its offset; returns the arena's size in bytes.
///
/// `in_place` lists pairs `(from, to)` of equal size of which `to` may take the bytes of `from` if that dies where `to`
/// is made. `moments` says for each call when it runs: at one moment, several may.
pub(crate) fn plan(buffers: &mut [Buffer], in_place: &[(BufferId, BufferId)], moments: &[usize]) -> usize {
    let Lives { leader, live } = Lives::of(buffers, in_place, moments);
    let mut order: Vec<usize> = (0..buffers.len()).filter(|b| leader[*b] == *b && arena(&buffers[*b])).collect();
    order.sort_by_key(|b| (std::cmp::Reverse(buffers[*b].byte_size), live[*b].0, *b));
    let mut placed: Vec<(usize, usize, (usize, usize))> = Vec::new();
    let mut offsets: BTreeMap<usize, usize> = BTreeMap::new();
    for b in order {
        let size = aligned(buffers[b].byte_size);
        let overlaps = |other: &(usize, usize)| live[b].0 <= other.1 && other.0 <= live[b].1;
        let mut busy: Vec<(usize, usize)> = placed.iter().filter(|p| overlaps(&p.2)).map(|p| (p.0, p.1)).collect();
        busy.sort_unstable();
        let mut offset = 0;
        for (start, end) in busy {
            if offset + size <= start {
                break;
            }
            offset = offset.max(end);
        }
        placed.push((offset, offset + size, live[b]));
        offsets.insert(b, offset);
    }
    for b in 0..buffers.len() {
        if arena(&buffers[b]) {
            buffers[b].kind = BufferKind::Arena { offset: offsets[&leader[b]] };
        }
    }
    placed.iter().map(|p| p.1).max().unwrap_or(0)
}

/// The most bytes of arena buffers that are alive at one moment, each with its slack and aligned: no plan of these lives
/// takes fewer.
pub(crate) fn bound(buffers: &[Buffer], in_place: &[(BufferId, BufferId)], moments: &[usize]) -> usize {
    let Lives { leader, live } = Lives::of(buffers, in_place, moments);
    let leaders: Vec<usize> = (0..buffers.len()).filter(|b| leader[*b] == *b && arena(&buffers[*b])).collect();
    let taken_at = |moment: usize| -> usize {
        let alive = leaders.iter().filter(|b| live[**b].0 <= moment && moment <= live[**b].1);
        alive.map(|b| aligned(buffers[*b].byte_size)).sum()
    };
    // The sum is greatest where some life begins.
    leaders.iter().map(|b| taken_at(live[*b].0)).max().unwrap_or(0)
}

/// From when to when bytes are taken.
struct Lives {
    /// The first of the buffers that one takes its bytes from in place.
    leader: Vec<usize>,
    /// The first and the last moment, of leaders those of all that follow them.
    live: Vec<(usize, usize)>,
}

impl Lives {
    fn of(buffers: &[Buffer], in_place: &[(BufferId, BufferId)], moments: &[usize]) -> Lives {
        let mut leader: Vec<usize> = (0..buffers.len()).collect();
        let mut live: Vec<(usize, usize)> = buffers.iter().map(|b| b.live).collect();
        for (BufferId(from), BufferId(to)) in in_place.iter().copied() {
            let first = leader[from];
            // The chain grows at its end only: its last buffer dies where the next is made.
            if live[first].1 == live[to].0 && leader[to] == to {
                live[first].1 = live[to].1;
                leader[to] = first;
            }
        }
        for (first, last) in live.iter_mut().filter(|live| live.0 != usize::MAX) {
            (*first, *last) = (moments[*first], moments[*last]);
        }
        Lives { leader, live }
    }
}

/// Bytes of the arena that a buffer of so many takes.
fn aligned(bytes: usize) -> usize {
    (bytes + Program::SLACK).next_multiple_of(Program::ARENA_ALIGN)
}

/// Whether the buffer lies in the arena, and anything touches it.
fn arena(buffer: &Buffer) -> bool {
    matches!(buffer.kind, BufferKind::Arena { .. }) && buffer.live.0 != usize::MAX
}

/// A program that loses data: our own mistake, never the user's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A buffer lies where another is still needed.
    #[error("call {call} reads {buffer}, whose bytes {overwritten_by} has overwritten")]
    Overwritten {
        /// Position of the call.
        call: usize,
        /// The buffer read.
        buffer: String,
        /// Who wrote there last.
        overwritten_by: String,
    },
    /// Threads touch the same bytes without waiting for each other.
    #[error("call {call} touches bytes of {buffer} that call {writer} writes at the same time")]
    Race {
        /// Position of the call.
        call: usize,
        /// The buffer that it reads or writes.
        buffer: String,
        /// Position of the other call.
        writer: usize,
    },
}

/// Interprets the calls, tracking for each byte of the arena which buffer wrote there last, and asserts that every read
/// finds its own buffer's bytes; then that no thread touches what another writes in the same phase.
///
/// # Errors
/// The first call that does.
pub fn check(program: &Program) -> Result<(), PlanError> {
    check_order(program)?;
    program.phases.iter().filter(|phase| phase.is_shared()).try_for_each(|phase| check_phase(program, phase))
}

fn check_order(program: &Program) -> Result<(), PlanError> {
    let mut owners: Vec<Option<usize>> = vec![None; program.arena_size];
    let bytes = |touched: &Footprint| match program.buffers[touched.buffer.0].kind {
        BufferKind::Arena { offset } => touched.bytes.iter().map(|r| offset + r.start..offset + r.end).collect(),
        _ => Vec::new(),
    };
    for (at, call) in program.calls.iter().enumerate() {
        for read in reads(call) {
            let BufferId(b) = read.buffer;
            let mut found = bytes(&read).into_iter().flat_map(|range| owners.get(range).unwrap_or_default());
            if let Some(Some(other)) = found.find(|owner| owner.is_some_and(|owner| owner != b)) {
                let (buffer, overwritten_by) = (program.buffers[b].name.clone(), program.buffers[*other].name.clone());
                return Err(PlanError::Overwritten { call: at, buffer, overwritten_by });
            }
        }
        if let Some(written) = writes(call) {
            bytes(&written).into_iter().for_each(|range| owners[range].fill(Some(written.buffer.0)));
        }
    }
    Ok(())
}

fn check_phase(program: &Program, phase: &Phase) -> Result<(), PlanError> {
    // Bytes of the arena and of each other buffer, and who writes them.
    let room = |b: &Buffer| if matches!(b.kind, BufferKind::Arena { .. }) { 0 } else { b.byte_size };
    let mut writers: Vec<Vec<Option<Access>>> = program.buffers.iter().map(|b| vec![None; room(b)]).collect();
    writers.push(vec![None; program.arena_size]);
    let arena = writers.len() - 1;
    let accesses = || {
        let numbered = phase.threads.iter().enumerate();
        numbered.flat_map(|(thread, calls)| calls.clone().map(move |call| Access { call, thread }))
    };
    let mut visit = |access: Access, touched: Footprint, write: bool| {
        let buffer = &program.buffers[touched.buffer.0];
        let (bytes, start) = match buffer.kind {
            BufferKind::Arena { offset } => (&mut writers[arena], offset),
            _ => (&mut writers[touched.buffer.0], 0),
        };
        for byte in touched.bytes.into_iter().flatten() {
            // A window's last row may end in slack that it does not use.
            let Some(writer) = bytes.get_mut(start + byte) else { continue };
            if let Some(other) = writer.filter(|other| other.thread != access.thread) {
                return Err(PlanError::Race { call: access.call, buffer: buffer.name.clone(), writer: other.call });
            }
            if write {
                *writer = Some(access);
            }
        }
        Ok(())
    };
    let of = |access: Access| -> &Call { &program.calls[access.call] };
    accesses().try_for_each(|access| writes(of(access)).map_or(Ok(()), |written| visit(access, written, true)))?;
    accesses().try_for_each(|access| reads(of(access)).into_iter().try_for_each(|read| visit(access, read, false)))
}

/// A call on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    call: usize,
    thread: usize,
}

//! The memory plan: where in the arena each buffer lies, from when it is live.
//!
//! Greedy by size, as TFLite's planner (Pisarchyk and Lee, 2020): the largest buffer first, each at the lowest offset
//! that no buffer alive at the same time overlaps. An elementwise call's result takes its operand's bytes where the
//! operand dies there. [`check`] proves a plan by interpreting it, without looking at how it was made.

use std::collections::BTreeMap;

use crate::program::{Buffer, BufferId, BufferKind, Program, Storage};

/// Gives each arena buffer its offset; returns the arena's size in bytes.
///
/// `in_place` lists pairs `(from, to)` of equal size of which `to` may take the bytes of `from` if that dies where `to`
/// is made.
pub(crate) fn plan(buffers: &mut [Buffer], in_place: &[(BufferId, BufferId)]) -> usize {
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
    let aligned = |bytes: usize| (bytes + Program::SLACK).next_multiple_of(Program::ARENA_ALIGN);
    let arena = |b: &Buffer| matches!(b.kind, BufferKind::Arena { .. }) && b.live.0 != usize::MAX;
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

/// A plan that loses data: our own mistake, never the user's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("call {call} reads {buffer}, whose bytes {overwritten_by} has overwritten")]
pub struct PlanError {
    /// Position of the call.
    pub call: usize,
    /// The buffer read.
    pub buffer: String,
    /// Who wrote there last.
    pub overwritten_by: String,
}

/// Interprets the calls, tracking for each 64 bytes of the arena which buffer wrote there last, and asserts that every
/// read finds its own buffer's bytes.
///
/// # Errors
/// The first read that does not.
pub fn check(program: &Program) -> Result<(), PlanError> {
    const UNIT: usize = Program::ARENA_ALIGN;
    let mut owner: Vec<Option<usize>> = vec![None; program.arena_size.div_ceil(UNIT)];
    let units = |b: usize| match program.buffers[b].kind {
        BufferKind::Arena { offset } => offset / UNIT..(offset + program.buffers[b].byte_size).div_ceil(UNIT),
        _ => 0..0,
    };
    for (at, call) in program.calls.iter().enumerate() {
        for operand in &call.operands {
            let Storage::Buffer(BufferId(b)) = operand.storage else { continue };
            if let Some(Some(other)) = owner[units(b)].iter().find(|o| **o != Some(b)) {
                let (buffer, overwritten_by) = (program.buffers[b].name.clone(), program.buffers[*other].name.clone());
                return Err(PlanError { call: at, buffer, overwritten_by });
            }
        }
        if let Storage::Buffer(BufferId(b)) = call.output.storage {
            owner[units(b)].fill(Some(b));
        }
    }
    Ok(())
}

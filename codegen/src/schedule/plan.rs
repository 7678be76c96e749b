//! `plan`: gives each buffer its offset in the arena, by live ranges.
//!
//! The algorithm is greedy by size, as in TFLite (Pisarchyk and Lee, 2020): buffers are placed from the largest to the
//! smallest, each at the lowest offset where it overlaps no buffer that is live at the same time. An elementwise call
//! writes its result over its operand if it is the operand's last reader. [`check`](crate::program::check) proves a
//! plan by interpreting the program.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{ScheduleContext, SchedulePass};
use crate::kernel::Call;
use crate::program::liveness::{Span, liveness, users};
use crate::program::{Buffer, BufferKind, Program};
use crate::view::{BufferId, Storage};

/// The pass.
pub struct PlanArena;

impl SchedulePass for PlanArena {
    fn name(&self) -> &'static str {
        "plan"
    }

    fn summary(&self) -> &'static str {
        "gives each buffer its offset in the arena, by live ranges"
    }

    fn run(&self, program: &mut Program, _cx: &ScheduleContext<'_>) {
        let Lives { leader, live } = Lives::of(program);
        let buffers = &mut program.buffers;
        let mut order: Vec<(usize, Span)> = leaders(buffers, &leader, &live).collect();
        order.sort_by_key(|(b, span)| (Reverse(buffers[*b].byte_size), span.first, *b));
        let mut placed: Vec<(usize, usize, Span)> = Vec::new();
        let mut offsets = vec![0; buffers.len()];
        for (b, span) in order {
            let size = aligned(buffers[b].byte_size);
            let mut busy: Vec<(usize, usize)> = placed
                .iter()
                .filter(|(_, _, other)| span.meets(*other))
                .map(|(start, end, _)| (*start, *end))
                .collect();
            busy.sort_unstable();
            let mut offset = 0;
            for (start, end) in busy {
                if offset + size <= start {
                    break;
                }
                offset = offset.max(end);
            }
            placed.push((offset, offset + size, span));
            offsets[b] = offset;
        }
        for b in 0..buffers.len() {
            if let BufferKind::Arena { offset } = &mut buffers[b].kind {
                *offset = offsets[leader[b]];
            }
        }
        program.arena_size = placed.iter().map(|(_, end, _)| *end).max().unwrap_or(0);
    }
}

/// The most bytes of arena buffers that are live at one moment, with slack and alignment: a lower bound of every plan.
#[must_use]
pub fn arena_bound(program: &Program) -> usize {
    let Lives { leader, live } = Lives::of(program);
    let leaders: Vec<(usize, Span)> = leaders(&program.buffers, &leader, &live).collect();
    let taken_at = |moment: usize| -> usize {
        let alive = leaders.iter().filter(|(_, span)| span.first <= moment && moment <= span.last);
        alive.map(|(b, _)| aligned(program.buffers[*b].byte_size)).sum()
    };
    // The sum is greatest where some live range begins.
    leaders.iter().map(|(_, span)| taken_at(span.first)).max().unwrap_or(0)
}

/// The calls that read one buffer and write another.
struct Between {
    /// Number of the first call.
    first: usize,
    /// Number of the last call.
    last: usize,
    /// How many calls there are.
    count: usize,
    /// Whether each call writes every element at the position where it reads it.
    keeps_places: bool,
}

/// Pairs of buffers of equal size whose second may take the bytes of the first, in the order of the calls between them.
/// These calls are one elementwise call, or its consecutive parts on several threads. No other call touches the first
/// buffer after them, or the second before them.
pub(super) fn in_place(program: &Program) -> Vec<(BufferId, BufferId)> {
    let mut between: BTreeMap<(BufferId, BufferId), Between> = BTreeMap::new();
    for (number, call) in program.calls().into_iter().enumerate() {
        let Storage::Buffer(to) = call.output.storage else { continue };
        let own = overwritable(call, &program.buffers);
        let read: BTreeSet<Storage> = call.operands.iter().map(|view| view.storage).collect();
        for storage in read {
            let Storage::Buffer(from) = storage else { continue };
            let new = Between { first: number, last: number, count: 0, keeps_places: true };
            let calls = between.entry((from, to)).or_insert(new);
            calls.last = number;
            calls.count += 1;
            calls.keeps_places &= own == Some((from, to));
        }
    }
    let users = users(program);
    let is_alone = |((BufferId(from), BufferId(to)), calls): &((BufferId, BufferId), Between)| {
        let Between { first, last, count, keeps_places } = *calls;
        let dies = users[*from].is_some_and(|users| users.last == last);
        let is_made = users[*to].is_some_and(|users| users.first == first);
        keeps_places && dies && is_made && last + 1 == first + count
    };
    let mut pairs: Vec<((BufferId, BufferId), Between)> = between.into_iter().filter(is_alone).collect();
    pairs.sort_by_key(|(_, calls)| calls.first);
    pairs.into_iter().map(|(pair, _)| pair).collect()
}

/// The buffers that the call reads and writes, if it could write each element over the one that it reads.
pub(super) fn overwritable(call: &Call, buffers: &[Buffer]) -> Option<(BufferId, BufferId)> {
    let (read, written) = (call.operands.first()?, &call.output);
    let (Storage::Buffer(from), Storage::Buffer(to)) = (read.storage, written.storage) else { return None };
    let [source, result] = [from, to].map(|id| &buffers[id.0]);
    let arena = [source, result].iter().all(|buffer| matches!(buffer.kind, BufferKind::Arena { .. }));
    let alike = read.offset == written.offset
        && read.loops == written.loops
        && read.dtype.byte_size() == written.dtype.byte_size()
        && read.grid.coincides(&written.grid)
        && source.byte_size == result.byte_size;
    // Operands of steps may read elements that the result has overwritten, unless they lie elsewhere.
    let alone = call.operands[1..]
        .iter()
        .all(|o| o.storage != read.storage || o.offset == read.offset && o.grid.coincides(&read.grid));
    let fits = from != to && arena && alike && alone && call.producer.def().may_overwrite_input();
    fits.then_some((from, to))
}

/// Live ranges, with buffers that share bytes in place counted as one.
struct Lives {
    /// For each buffer, the first of those that share its bytes in place; the buffer itself if it shares none.
    leader: Vec<usize>,
    /// For each leader, the span of all buffers that share its bytes.
    live: Vec<Option<Span>>,
}

impl Lives {
    fn of(program: &Program) -> Lives {
        let mut leader: Vec<usize> = (0..program.buffers.len()).collect();
        let mut live = liveness(program);
        for (BufferId(from), BufferId(to)) in in_place(program) {
            let first = leader[from];
            // A sequence grows at its end only: its last buffer dies where the next is made. In a loop this does not
            // hold.
            if let (Some(before), Some(after)) = (live[first], live[to])
                && before.last == after.first
                && leader[to] == to
            {
                live[first] = Some(Span { first: before.first, last: after.last });
                leader[to] = first;
            }
        }
        Lives { leader, live }
    }
}

/// The arena buffers that are leaders, and their live ranges.
fn leaders<'l>(
    buffers: &'l [Buffer],
    leader: &'l [usize],
    live: &'l [Option<Span>],
) -> impl Iterator<Item = (usize, Span)> + 'l {
    let own = (0..buffers.len()).filter(|b| leader[*b] == *b && matches!(buffers[*b].kind, BufferKind::Arena { .. }));
    own.filter_map(|b| Some((b, live[b]?)))
}

/// Bytes that a buffer takes in the arena, with its slack and alignment.
fn aligned(byte_size: usize) -> usize {
    (byte_size + Program::SLACK).next_multiple_of(Program::ARENA_ALIGN)
}

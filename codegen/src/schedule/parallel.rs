//! `parallel`: decides which thread runs which call, and where threads wait for each other.
//!
//! A call that is faster when shared is cut into one part for each thread (`cut`); all others stay whole, on the first
//! thread. A measured choice decides about a call; without one, the cost model does. Nothing is shared unless all
//! shared calls together save more than it takes to wake the threads. There is a barrier between two shared calls.
//! Whole calls run before the first thread's part of the next shared call, without a barrier if the other threads'
//! parts do not depend on them.
//!
//! Invariant: parts of one call write different elements, and each element is computed as in the whole call, so results
//! are the same bytes for any number of threads. Within a parallel region no thread touches bytes that another writes;
//! [`check`](crate::program::check) proves this for scheduled programs.

pub(crate) mod cut;
mod decisions;

pub use decisions::splits;

use super::plan::in_place;
use super::{ScheduleContext, SchedulePass};
use crate::choice::Split;
use crate::cpu::{CpuModel, LINE};
use crate::decision::key;
use crate::kernel::Call;
use crate::program::footprint::{Footprint, reads, writes};
use crate::program::{If, Item, Parallel, Program, executions, walk};
use crate::target::Target;
use crate::view::{BufferId, Storage, View};

/// A call may be shared if its time on one thread is at least this many times that of a barrier.
const WORTH_SHARING: f64 = 3.0;

/// An outer axis is preferred if its longest part takes at most `ALIKE` times as long as that of the best axis. Max
/// pools of 13 and 27 rows, cut by rows, take a third to a fifth of their time when cut by channels, although only
/// channels split evenly.
const ALIKE: f64 = 1.1;

/// The number of threads that a program is for, and which calls they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    pub(crate) count: usize,
    pub(crate) eager: bool,
}

impl Threads {
    /// `count` threads, at least one, that share calls where this saves time.
    ///
    /// # Panics
    /// If there is no thread.
    #[must_use]
    pub fn new(count: usize) -> Threads {
        assert!(count > 0, "a program runs on at least one thread");
        Threads { count, eager: false }
    }

    /// `count` threads that share every call that can be cut. For tests.
    ///
    /// # Panics
    /// If there is no thread.
    #[must_use]
    pub fn eager(count: usize) -> Threads {
        Threads { eager: true, ..Threads::new(count) }
    }
}

/// The pass.
pub struct ShareAmongThreads;

impl SchedulePass for ShareAmongThreads {
    fn name(&self) -> &'static str {
        "parallel"
    }

    fn summary(&self) -> &'static str {
        "cuts calls into parts that threads run at the same time"
    }

    fn run(&self, program: &mut Program, cx: &ScheduleContext<'_>) {
        let threads = cx.threads;
        program.threads = threads.count;
        if threads.count < 2 {
            return;
        }
        let is_shared = program.body.iter().any(|item| matches!(item, Item::Parallel(_)));
        let parts = all_parts(program, cx);
        if !is_shared && !worth_waking(program, &parts, cx) {
            return;
        }
        let in_place = in_place(program);
        let mut sharing = Sharing { in_place, threads: threads.count, body: Vec::new() };
        let mut before = Vec::new();
        for (item, parts) in std::mem::take(&mut program.body).into_iter().zip(parts) {
            match (parts, item) {
                (Some(parts), _) => sharing.parts(std::mem::take(&mut before), parts),
                (None, region @ Item::Parallel(_)) => {
                    sharing.body.append(&mut before);
                    sharing.body.push(region);
                }
                (None, item) => before.push(item),
            }
        }
        sharing.body.append(&mut before);
        program.body = sharing.body;
    }
}

/// For each item of a program, its parts if it is a call that is shared, else `None`.
pub(super) fn all_parts(program: &Program, cx: &ScheduleContext<'_>) -> Vec<Option<Vec<Call>>> {
    let of = |item: &Item| match item {
        Item::Call(call) if cx.threads.count > 1 => parts(call, program.target, cx),
        _ => None,
    };
    program.body.iter().map(of).collect()
}

/// Whether the shared calls together save more time than it takes to wake a thread.
pub(super) fn worth_waking(program: &Program, parts: &[Option<Vec<Call>>], cx: &ScheduleContext<'_>) -> bool {
    let cpu = cx.choices.cpu(program.target);
    let longest = |parts: &[Call]| parts.iter().map(|part| part.cost(cpu)).fold(0.0, f64::max);
    let won = program.body.iter().zip(parts).filter_map(|(item, parts)| match (item, parts) {
        (Item::Call(call), Some(parts)) => Some(call.cost(cpu) - longest(parts)),
        _ => None,
    });
    cx.threads.count > 1 && (cx.threads.eager || won.sum::<f64>() >= cpu.wake)
}

/// The parts of a call if sharing saves time, as measured or, without a measurement, by the cost model.
fn parts(call: &Call, target: &Target, cx: &ScheduleContext<'_>) -> Option<Vec<Call>> {
    let ScheduleContext { threads, choices, .. } = cx;
    let ways = cut::ways(call, threads.count, if threads.eager { 1 } else { LINE });
    match choices.split(|| key::of_split(call, threads.count)) {
        Some(Split::Whole) => return None,
        Some(Split::Axis(axis)) => {
            if let Some((_, parts)) = ways.iter().find(|(own, _)| *own == axis) {
                return Some(parts.clone());
            }
        }
        None => {}
    }
    modelled(call, &ways, choices.cpu(target), threads.eager).map(|best| ways[best].1.clone())
}

/// The position in `ways` of the model's choice; `None` if sharing the call saves no time.
fn modelled(call: &Call, ways: &[(usize, Vec<Call>)], cpu: &CpuModel, eager: bool) -> Option<usize> {
    let alone = call.cost(cpu);
    if alone < WORTH_SHARING * cpu.barrier && !eager {
        return None;
    }
    let longest = |way: &usize| ways[*way].1.iter().map(|part| part.cost(cpu)).fold(0.0, f64::max);
    // Parts of an outer axis are contiguous in memory; the cost model does not know that this is faster.
    let least = (0..ways.len()).map(|way| longest(&way)).fold(f64::INFINITY, f64::min);
    let best = (0..ways.len()).find(|way| longest(way) <= ALIKE * least)?;
    (eager || alone - longest(&best) >= cpu.barrier).then_some(best)
}

/// A program under construction, whose calls are being cut.
struct Sharing {
    in_place: Vec<(BufferId, BufferId)>,
    threads: usize,
    body: Vec<Item>,
}

impl Sharing {
    /// Adds one call in parts. The first thread runs the items `before` it.
    fn parts(&mut self, mut before: Vec<Item>, parts: Vec<Call>) {
        let mut parts = parts.into_iter().map(Item::Call);
        let first = parts.next();
        let mut threads: Vec<Vec<Item>> = parts.map(|part| vec![part]).collect();
        let others: Vec<Touched> = threads.iter().map(|body| Touched::by(body)).collect();
        // Items that the other threads need not wait for go into the region, before the first part.
        let waits = |item: &Item| {
            let touched = Touched::by(std::slice::from_ref(item));
            others.iter().any(|other| self.conflict(&touched, other))
        };
        let free = before.iter().rposition(waits).map_or(0, |last| last + 1);
        let beside = before.split_off(free);
        self.body.append(&mut before);
        threads.insert(0, beside.into_iter().chain(first).collect());
        threads.resize(self.threads, Vec::new());
        self.body.push(Item::Parallel(Parallel { threads }));
    }

    /// Whether one writes bytes that the other reads or writes.
    fn conflict(&self, a: &Touched, b: &Touched) -> bool {
        let meet = |written: &Footprint, touched: &Footprint| {
            // Two buffers that may share their bytes count as one.
            let pair = |(from, to): &(BufferId, BufferId)| {
                let [w, t] = [written.buffer, touched.buffer];
                (*from == w && *to == t) || (*from == t && *to == w)
            };
            written.meets(touched) || self.in_place.iter().any(pair)
        };
        let one_way = |a: &Touched, b: &Touched| {
            a.written.iter().any(|written| b.read.iter().chain(&b.written).any(|touched| meet(written, touched)))
        };
        one_way(a, b) || one_way(b, a)
    }
}

/// The bytes that items read and write.
struct Touched {
    read: Vec<Footprint>,
    written: Vec<Footprint>,
}

impl Touched {
    fn by(items: &[Item]) -> Touched {
        let runs = executions(items);
        // A condition may move with loops around it.
        let mut conditions = Vec::new();
        walk(items, &mut |item| {
            if let Item::If(If { condition: View { storage: Storage::Buffer(buffer), .. }, .. }) = item {
                conditions.push(Footprint { buffer: *buffer, bytes: std::iter::once(0..usize::MAX).collect() });
            }
        });
        Touched {
            read: runs.iter().flat_map(|run| reads(&run.call)).chain(conditions).collect(),
            written: runs.iter().filter_map(|run| writes(&run.call)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;

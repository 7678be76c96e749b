//! Sharing: which thread runs which calls, and where threads wait for each other.
//!
//! A call that is worth it is cut into one part a thread (`cut`); calls that are not stay whole, on the first thread.
//! What was measured of a call decides, or else what it costs; whether anything is shared at all, the
//! costs of all calls together.
//! Between two shared calls all threads wait for each other. Whole calls run before the first thread's part of the next
//! shared call, without a barrier of their own where nothing that the other threads do there needs them.
//!
//! Invariant: parts of one call write different elements and each is computed as in the whole call, so results are the
//! same bytes for any number of threads. Within a phase no thread touches what another writes;
//! [`crate::memory::check`] proves that of finished programs.

mod cost;
pub(crate) mod cut;
mod decisions;

pub use decisions::splits;

use crate::choice::{Choices, Split, key};
use crate::footprint::{Footprint, reads, writes};
use crate::program::{BufferId, Call, Phase};
use crate::target::Target;

/// Nanoseconds of one thread from which a call is shared: many times what the barrier itself costs (58 between two cores
/// of a Zen 3), as threads do not arrive at the same time and each has to fetch what the other wrote.
const WORTH_SHARING: f64 = 3000.0;

/// Bytes of a cache line, which threads should not write to at the same time.
const LINE: usize = 64;

/// Nanoseconds that a program must win by sharing, or nothing of it is: about what it takes to wake a thread.
const WORTH_WAKING: f64 = 30_000.0;

/// The outermost dimension is cut whose longest part takes at most so much of that of the best: max pools of 13 and 27 rows
/// take a third to a fifth of the time by rows of what they take by channels, though halves of those are equal.
const ALIKE: f64 = 1.1;

/// How many threads a program is for, and what they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    pub(crate) count: usize,
    pub(crate) eager: bool,
}

impl Threads {
    /// So many threads, at least one, which share what is worth it.
    ///
    /// # Panics
    /// If there is no thread.
    #[must_use]
    pub fn new(count: usize) -> Threads {
        assert!(count > 0, "a program runs on at least one thread");
        Threads { count, eager: false }
    }

    /// The same, but they share whatever can be cut, however small: for tests.
    ///
    /// # Panics
    /// If there is no thread.
    #[must_use]
    pub fn eager(count: usize) -> Threads {
        Threads { eager: true, ..Threads::new(count) }
    }
}

/// Calls on threads.
pub(crate) struct Shared {
    pub(crate) calls: Vec<Call>,
    pub(crate) phases: Vec<Phase>,
    /// For each call that was given, when it runs: calls of one moment run at the same time.
    pub(crate) moments: Vec<usize>,
}

/// Shares `calls` among threads. `in_place` lists pairs of buffers of which the second may take the bytes of the
/// first.
pub(crate) fn share(
    calls: Vec<Call>,
    in_place: &[(BufferId, BufferId)],
    target: &Target,
    threads: Threads,
    choices: &Choices,
) -> Shared {
    let parts: Vec<Option<Vec<Call>>> = calls.iter().map(|call| parts(call, target, threads, choices)).collect();
    let longest = |parts: &[Call]| parts.iter().map(|part| cost::nanoseconds(part, target)).fold(0.0, f64::max);
    let won = calls.iter().zip(&parts).filter_map(|(call, parts)| {
        let parts = parts.as_ref()?;
        Some(cost::nanoseconds(call, target) - longest(parts))
    });
    let worth_it = threads.eager || won.sum::<f64>() >= WORTH_WAKING;
    let count = threads.count;
    let mut sharing = Sharing { in_place, threads: count, calls: Vec::new(), phases: Vec::new(), moments: Vec::new() };
    if !worth_it {
        sharing.whole(calls);
    } else {
        let mut before = Vec::new();
        for (call, parts) in calls.into_iter().zip(parts) {
            match parts {
                None => before.push(call),
                Some(parts) => sharing.parts(std::mem::take(&mut before), parts),
            }
        }
        sharing.whole(before);
    }
    let Sharing { calls, phases, moments, .. } = sharing;
    Shared { calls, phases, moments }
}

/// The parts of a call that is worth sharing, as measured or by the model.
fn parts(call: &Call, target: &Target, threads: Threads, choices: &Choices) -> Option<Vec<Call>> {
    if threads.count < 2 {
        return None;
    }
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
    modelled(call, &ways, target, threads.eager).map(|best| ways[best].1.clone())
}

/// The way that the model holds best, if it is worth sharing the call.
fn modelled(call: &Call, ways: &[(usize, Vec<Call>)], target: &Target, eager: bool) -> Option<usize> {
    let alone = cost::nanoseconds(call, target);
    if alone < WORTH_SHARING && !eager {
        return None;
    }
    let longest = |way: &usize| ways[*way].1.iter().map(|part| cost::nanoseconds(part, target)).fold(0.0, f64::max);
    // Parts of outer dimensions lie together, which the figures do not know.
    let least = (0..ways.len()).map(|way| longest(&way)).fold(f64::INFINITY, f64::min);
    let best = (0..ways.len()).find(|way| longest(way) <= ALIKE * least)?;
    (eager || alone - longest(&best) >= WORTH_SHARING / 3.0).then_some(best)
}

/// A program that is being shared.
struct Sharing<'a> {
    in_place: &'a [(BufferId, BufferId)],
    threads: usize,
    calls: Vec<Call>,
    phases: Vec<Phase>,
    moments: Vec<usize>,
}

impl Sharing<'_> {
    /// Calls that the first thread runs alone.
    fn whole(&mut self, calls: Vec<Call>) {
        if calls.is_empty() && !self.phases.is_empty() {
            return;
        }
        let start = self.calls.len();
        for call in calls {
            self.moments.push(self.next_moment());
            self.calls.push(call);
        }
        self.phases.push(Phase::alone(start..self.calls.len(), self.threads));
    }

    /// One call in parts, and what the first thread runs before its own.
    fn parts(&mut self, mut before: Vec<Call>, parts: Vec<Call>) {
        let others: Vec<Touched> = parts[1..].iter().map(Touched::by).collect();
        // Calls after the last that the other threads have to wait for.
        let waits = |call: &Call| others.iter().any(|other| self.conflict(&Touched::by(call), other));
        let free = before.iter().rposition(waits).map_or(0, |last| last + 1);
        let beside = before.split_off(free);
        if !before.is_empty() {
            self.whole(before);
        }
        let moment = self.next_moment();
        self.moments.extend(vec![moment; beside.len() + 1]);
        let mut threads = Vec::with_capacity(self.threads);
        let mut parts = parts.into_iter();
        let first: Vec<Call> = beside.into_iter().chain(parts.next()).collect();
        for calls in std::iter::once(first).chain(parts.map(|part| vec![part])) {
            let start = self.calls.len();
            self.calls.extend(calls);
            threads.push(start..self.calls.len());
        }
        threads.resize(self.threads, self.calls.len()..self.calls.len());
        self.phases.push(Phase { threads });
    }

    fn next_moment(&self) -> usize {
        self.moments.last().map_or(0, |moment| moment + 1)
    }

    /// Whether one writes what the other touches.
    fn conflict(&self, a: &Touched, b: &Touched) -> bool {
        let meet = |written: &Footprint, touched: &Footprint| {
            // Buffers that may share their bytes count as one, all of it.
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

/// The bytes that a call reads and writes.
struct Touched {
    read: Vec<Footprint>,
    written: Option<Footprint>,
}

impl Touched {
    fn by(call: &Call) -> Touched {
        Touched { read: reads(call), written: writes(call) }
    }
}

#[cfg(test)]
mod tests;

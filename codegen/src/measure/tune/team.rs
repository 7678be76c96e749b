//! A team of threads that run scripts together.
//!
//! The first thread announces a script and waits until all threads have run it. Waiting threads poll; after some polls
//! they yield the CPU. So a team makes progress, if slowly, even if there are fewer CPUs than threads.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use super::memory::Memory;
use super::script::{Part, Script};

/// The least time of a turn.
const TURN: Duration = Duration::from_micros(400);

/// The number of polls before a waiting thread yields the CPU.
const LOOKS: usize = 10_000;

/// Several threads. The current thread is the first.
pub(super) struct Team<'s, 'c> {
    scripts: &'s [Script<'c>],
    board: &'s Board,
    others: usize,
}

/// The messages between the first thread and the others.
#[derive(Default)]
pub(super) struct Board {
    /// The number of jobs so far. The others poll it.
    jobs: AtomicUsize,
    /// The job: the script's number, whether to run its timed part, and the address of the weights.
    script: AtomicUsize,
    is_timed: AtomicBool,
    weights: AtomicUsize,
    /// The number of other threads that have finished the job.
    done: AtomicUsize,
    is_over: AtomicBool,
}

impl<'s, 'c> Team<'s, 'c> {
    /// A team of `threads` threads for these scripts. Dropping the team ends the threads.
    pub(super) fn new<'scope>(
        scope: &'scope Scope<'scope, '_>,
        scripts: &'s [Script<'c>],
        board: &'s Board,
        threads: usize,
    ) -> Self
    where
        's: 'scope,
        'c: 'scope,
    {
        for thread in 1..threads {
            scope.spawn(move || board.work(scripts, thread));
        }
        Team { scripts, board, others: threads - 1 }
    }

    /// Runs a script repeatedly for a turn; returns the average time of its timed part.
    pub(super) fn turn(&self, index: usize, memory: &mut Memory) -> Duration {
        let script = &self.scripts[index];
        let (mut time, mut runs) = (Duration::ZERO, 0);
        while time < TURN {
            let weights = memory.next_weights(script.weights);
            self.run(index, Part::Before, weights);
            let begin = Instant::now();
            self.run(index, Part::Timed, weights);
            time += begin.elapsed();
            runs += 1;
        }
        time / runs
    }

    fn run(&self, index: usize, part: Part, weights: usize) {
        let (board, script) = (self.board, &self.scripts[index]);
        let is_shared = script.threads(part) > 1;
        if is_shared {
            board.script.store(index, Ordering::Relaxed);
            board.is_timed.store(part == Part::Timed, Ordering::Relaxed);
            board.weights.store(weights, Ordering::Relaxed);
            board.done.store(0, Ordering::Relaxed);
            board.jobs.fetch_add(1, Ordering::Release);
        }
        script.run(part, 0, weights);
        if is_shared {
            wait_until(|| board.done.load(Ordering::Acquire) == self.others);
        }
    }
}

impl Drop for Team<'_, '_> {
    fn drop(&mut self) {
        self.board.is_over.store(true, Ordering::Relaxed);
        self.board.jobs.fetch_add(1, Ordering::Release);
    }
}

impl Board {
    /// The loop of a thread other than the first.
    fn work(&self, scripts: &[Script<'_>], thread: usize) {
        for job in 1.. {
            wait_until(|| self.jobs.load(Ordering::Acquire) >= job);
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let part = if self.is_timed.load(Ordering::Relaxed) { Part::Timed } else { Part::Before };
            let script = &scripts[self.script.load(Ordering::Relaxed)];
            script.run(part, thread, self.weights.load(Ordering::Relaxed));
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    let mut looks = 0;
    while !is_so() {
        looks += 1;
        if looks < LOOKS { hint::spin_loop() } else { thread::yield_now() }
    }
}

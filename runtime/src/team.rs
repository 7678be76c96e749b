//! The threads of a session: the caller's, which is thread 0, and workers, which sleep between runs.
//!
//! A run: the caller's thread writes down the call, counts the run up and wakes whom it must; each worker copies the
//! call, enters the variant's code once with its own number, and notes when it is done. Inside, the code of all threads
//! waits by itself on the team's words; the team lends it sleep ([`Host`]).
//!
//! Invariants: the call changes only while all workers are done with the last one; a thread that is about to sleep says
//! so before it looks at its word for the last time, and who changes a word looks for sleepers after that, so no wake is
//! lost. All of it lies in the session's memory, which must not move.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::abi::{Call, Host, RunFn};
use crate::status::Status;
use crate::thread::{self, Handle};

/// How often a thread looks at a word before it gives way to others: some 50 microseconds.
const SPINS: u32 = 2000;

/// How often it then gives way and looks again before it sleeps: about a millisecond on a CPU that nobody else wants.
/// Whoever sleeps is woken late, above all under a hypervisor, which has lent the CPU to others by then: by ten sleeps a
/// run, two threads were no faster than one.
const YIELDS: u32 = 4000;

/// A run of this number is the end.
const CLOSED: u32 = 0;

/// Threads that run one variant together. Workers lie behind it, then the words.
#[repr(C, align(64))]
pub(crate) struct Team {
    /// Number of the last run begun; it is never [`CLOSED`] before the end.
    number: AtomicU32,
    /// Threads that sleep, or are about to.
    sleepers: AtomicU32,
    run: RunFn,
    /// The run's call, as thread 0 makes it.
    call: UnsafeCell<Call>,
    host: Host,
    first: *mut Worker,
    /// So many of them have begun.
    workers: AtomicU32,
}

/// A thread of the team but the first.
#[repr(C, align(64))]
struct Worker {
    team: *const Team,
    handle: Handle,
    /// Which of the variant's threads it is.
    thread: u32,
    /// Number of the last run that it is done with.
    done: AtomicU32,
}

/// A word on a cache line of its own.
#[repr(C, align(64))]
struct Line(AtomicU32);

/// Bytes of a team of `threads`, at a multiple of [`ALIGN`]; `None` if that is no size at all.
pub(crate) fn size(threads: u32) -> Option<usize> {
    let threads = threads as usize;
    let workers = threads.checked_mul(size_of::<Worker>())?;
    size_of::<Team>().checked_add(workers)?.checked_add(threads.checked_mul(size_of::<Line>())?)
}

/// Alignment of a team.
pub(crate) const ALIGN: usize = align_of::<Team>();

/// Makes a team in `memory` and begins its workers, which sleep.
///
/// # Errors
/// [`Status::THREADS_UNAVAILABLE`]; no worker is left then.
///
/// # Safety
/// `memory` is [`size`] bytes at a multiple of [`ALIGN`] that stay where they are, and nobody else's, until [`stop`].
/// `run` is code of `threads` threads that this CPU can run.
pub(crate) unsafe fn start(memory: *mut c_void, run: RunFn, threads: u32) -> Result<*mut Team, Status> {
    let team = memory.cast::<Team>();
    // SAFETY: `size` counts the team, a worker a thread and a word a thread, and each part keeps the alignment of 64.
    unsafe {
        let first = team.add(1).cast::<Worker>();
        let words = first.add(threads as usize).cast::<Line>();
        for index in 0..threads as usize {
            words.add(index).write(Line(AtomicU32::new(0)));
        }
        let host = Host {
            struct_size: size_of::<Host>() as u32,
            reserved: 0,
            context: team.cast(),
            wait: Some(wait),
            wake: Some(wake),
            words: words.cast(),
        };
        let call = UnsafeCell::new(Call {
            struct_size: size_of::<Call>() as u32,
            thread: 0,
            arena: ptr::null_mut(),
            inputs: ptr::null(),
            outputs: ptr::null(),
            output_shapes: ptr::null(),
            host: ptr::null(),
        });
        let (number, sleepers) = (AtomicU32::new(CLOSED + 1), AtomicU32::new(0));
        team.write(Team { number, sleepers, run, call, host, first, workers: AtomicU32::new(0) });
        for thread in 1..threads {
            let worker = first.add(thread as usize - 1);
            worker.write(Worker { team, handle: 0, thread, done: AtomicU32::new(CLOSED + 1) });
            match thread::spawn(work, worker.cast()) {
                Some(handle) => (&raw mut (*worker).handle).write(handle),
                None => {
                    stop(team);
                    return Err(Status::THREADS_UNAVAILABLE);
                }
            }
            (*team).workers.store(thread, Ordering::Relaxed);
        }
    }
    Ok(team)
}

/// Runs the code once on all threads; `call` is thread 0's, without a host.
///
/// # Safety
/// [`start`] made the team, and nothing else runs it now. `call` is what the code asks for.
pub(crate) unsafe fn run(team: *mut Team, call: Call) -> Status {
    // SAFETY: the team is there, and is only read here but for its atomics and its call.
    let team = unsafe { &*team };
    team.settle();
    let host = &raw const team.host;
    // SAFETY: all workers are done with the last call, and look at this one when they see its number.
    unsafe { team.call.get().write(Call { host, ..call }) };
    let next = match team.number.load(Ordering::Relaxed).wrapping_add(1) {
        CLOSED => CLOSED + 1,
        next => next,
    };
    team.set(&team.number, next);
    // SAFETY: the caller's promise; workers only read the call.
    unsafe { (team.run)(team.call.get()) }
}

/// Ends the workers.
///
/// # Safety
/// As for [`run`]; the team is not used any more.
pub(crate) unsafe fn stop(team: *mut Team) {
    // SAFETY: as in `run`.
    let team = unsafe { &*team };
    team.settle();
    team.set(&team.number, CLOSED);
    for index in 0..team.workers.load(Ordering::Relaxed) as usize {
        // SAFETY: so many workers have begun, and their handles have been written.
        unsafe { thread::join((*team.first.add(index)).handle) };
    }
}

impl Team {
    /// Waits until all workers are done with the last run: they are when it has returned, but for their last steps.
    fn settle(&self) {
        let number = self.number.load(Ordering::Relaxed);
        for index in 0..self.workers.load(Ordering::Relaxed) as usize {
            // SAFETY: so many workers have been written; `done` is only read and written as an atomic.
            let done = unsafe { &(*self.first.add(index)).done };
            loop {
                match done.load(Ordering::Acquire) {
                    seen if seen == number => break,
                    seen => self.wait_while(done, seen),
                }
            }
        }
    }

    /// Returns when `word` is no longer `seen`, or a little early.
    fn wait_while(&self, word: &AtomicU32, seen: u32) {
        for _ in 0..SPINS {
            if word.load(Ordering::Acquire) != seen {
                return;
            }
            spin_loop();
        }
        self.sleep(word, seen);
    }

    /// As [`Self::wait_while`], for who has looked for a while.
    #[cold]
    #[inline(never)]
    fn sleep(&self, word: &AtomicU32, seen: u32) {
        for _ in 0..YIELDS {
            if word.load(Ordering::Acquire) != seen {
                return;
            }
            thread::give_way();
        }
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        thread::sleep(word, seen);
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Sets a word and wakes who sleeps on it.
    fn set(&self, word: &AtomicU32, value: u32) {
        word.store(value, Ordering::SeqCst);
        self.wake(word);
    }

    fn wake(&self, word: &AtomicU32) {
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            thread::wake(word);
        }
    }
}

/// What a worker does all its life.
unsafe extern "C" fn work(worker: *mut c_void) -> *mut c_void {
    thread::leave_signals_to_the_host();
    let worker = worker.cast::<Worker>();
    // SAFETY: `start` has written the worker and its team, which live until it is joined; `handle` may be written while
    // this runs, so no reference to all of the worker is made.
    let (team, thread, done) = unsafe { (&*(*worker).team, (*worker).thread, &(*worker).done) };
    let mut seen = CLOSED + 1;
    loop {
        match team.number.load(Ordering::Acquire) {
            CLOSED => return ptr::null_mut(),
            number if number == seen => team.wait_while(&team.number, seen),
            number => {
                seen = number;
                // SAFETY: the call was written before its number, and stays until this worker is done with it.
                unsafe {
                    let call = Call { thread, ..ptr::read(team.call.get()) };
                    // What it returns, thread 0 returns as well.
                    let _ = (team.run)(&call);
                }
                team.set(done, number);
            }
        }
    }
}

/// [`Host::wait`] of a team.
unsafe extern "C" fn wait(context: *mut c_void, word: *const u32, expected: u32) {
    // SAFETY: the context is the team, the word one of its own.
    unsafe { (*context.cast::<Team>()).sleep(AtomicU32::from_ptr(word.cast_mut()), expected) }
}

/// [`Host::wake`] of a team.
unsafe extern "C" fn wake(context: *mut c_void, word: *const u32) {
    // SAFETY: the context is the team, the word one of its own.
    unsafe { (*context.cast::<Team>()).wake(AtomicU32::from_ptr(word.cast_mut())) }
}

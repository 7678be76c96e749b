//! The threads of a session: the caller's thread, which is thread 0, and workers, which sleep between runs.
//!
//! A run: the caller's thread writes the call, increments the number of the run and wakes sleeping threads. Each worker
//! copies the call, calls the variant's code once with its own thread number, and then stores that it is done. Inside
//! the code, the threads wait for each other on the team's words. The team provides the functions to sleep and wake
//! ([`Host`]).
//!
//! Invariants:
//! - The call changes only while all workers are done with the last one.
//! - No wake-up is lost: a thread announces that it will sleep before it reads its word for the last time, and a thread
//!   that changes a word looks for sleepers afterwards.
//! - The whole team lies in the session's memory, which must not move.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::abi::{Call, Host, RunFn};
use crate::status::Status;
use crate::thread::{self, Handle};

/// The number of times that a thread reads a word before it yields the CPU: about 50 microseconds.
const SPINS: u32 = 2000;

/// The number of times that a thread then yields and reads again before it sleeps: about a millisecond on an idle CPU.
/// Waking a sleeping thread takes long, especially under a hypervisor, which has given the CPU to others by then. With
/// ten sleeps per run, two threads were no faster than one.
const YIELDS: u32 = 4000;

/// The run number that tells workers to exit.
const CLOSED: u32 = 0;

/// The threads that run one variant together. In memory, the workers follow this struct, and the words follow the
/// workers.
#[repr(C, align(64))]
pub(crate) struct Team {
    /// The number of the last run that began. It is [`CLOSED`] only at the end.
    number: AtomicU32,
    /// The number of threads that sleep or are about to.
    sleepers: AtomicU32,
    run: RunFn,
    /// The call of the current run, for thread 0.
    call: UnsafeCell<Call>,
    host: Host,
    first: *mut Worker,
    /// The number of workers that have started.
    workers: AtomicU32,
}

/// A thread of the team other than the first.
#[repr(C, align(64))]
struct Worker {
    team: *const Team,
    handle: Handle,
    /// Its number among the variant's threads.
    thread: u32,
    /// The number of the last run that it has finished.
    done: AtomicU32,
}

/// A word on its own cache line.
#[repr(C, align(64))]
struct Line(AtomicU32);

/// Returns the number of bytes of a team of `threads`, at a multiple of [`ALIGN`]; `None` on overflow.
pub(crate) fn size(threads: u32) -> Option<usize> {
    let threads = threads as usize;
    let workers = threads.checked_mul(size_of::<Worker>())?;
    size_of::<Team>().checked_add(workers)?.checked_add(threads.checked_mul(size_of::<Line>())?)
}

/// The alignment of a team.
pub(crate) const ALIGN: usize = align_of::<Team>();

/// Creates a team in `memory` and starts its workers, which sleep.
///
/// # Errors
/// [`Status::THREADS_UNAVAILABLE`]. No worker is left running then.
///
/// # Safety
/// `memory` is [`size`] bytes at a multiple of [`ALIGN`], which do not move and which nothing else uses until [`stop`].
/// `run` is code for `threads` threads that this CPU supports.
pub(crate) unsafe fn start(memory: *mut c_void, run: RunFn, threads: u32) -> Result<*mut Team, Status> {
    let team = memory.cast::<Team>();
    // SAFETY: `size` includes the team, a worker per thread and a word per thread. Each part keeps the alignment of 64.
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

/// Runs the code once on all threads. `call` is the call of thread 0, without a host.
///
/// # Safety
/// [`start`] created the team, and nothing else is running it. `call` is valid for the code.
pub(crate) unsafe fn run(team: *mut Team, call: Call) -> Status {
    // SAFETY: the team exists. Only its atomics and its call are written here.
    let team = unsafe { &*team };
    team.settle();
    let host = &raw const team.host;
    // SAFETY: all workers are done with the last call. They read this one after they see its number.
    unsafe { team.call.get().write(Call { host, ..call }) };
    let next = match team.number.load(Ordering::Relaxed).wrapping_add(1) {
        CLOSED => CLOSED + 1,
        next => next,
    };
    team.set(&team.number, next);
    // SAFETY: the caller guarantees it. Workers only read the call.
    unsafe { (team.run)(team.call.get()) }
}

/// Ends the workers.
///
/// # Safety
/// As for [`run`]. The team must not be used again.
pub(crate) unsafe fn stop(team: *mut Team) {
    // SAFETY: as in `run`.
    let team = unsafe { &*team };
    team.settle();
    team.set(&team.number, CLOSED);
    for index in 0..team.workers.load(Ordering::Relaxed) as usize {
        // SAFETY: this many workers have started, and their handles have been written.
        unsafe { thread::join((*team.first.add(index)).handle) };
    }
}

impl Team {
    /// Waits until all workers are done with the last run. They are nearly done when it has returned.
    fn settle(&self) {
        let number = self.number.load(Ordering::Relaxed);
        for index in 0..self.workers.load(Ordering::Relaxed) as usize {
            // SAFETY: this many workers have been written. `done` is accessed only as an atomic.
            let done = unsafe { &(*self.first.add(index)).done };
            loop {
                match done.load(Ordering::Acquire) {
                    seen if seen == number => break,
                    seen => self.wait_while(done, seen),
                }
            }
        }
    }

    /// Waits until `word` is no longer `seen`. May return early.
    fn wait_while(&self, word: &AtomicU32, seen: u32) {
        for _ in 0..SPINS {
            if word.load(Ordering::Acquire) != seen {
                return;
            }
            spin_loop();
        }
        self.sleep(word, seen);
    }

    /// Like [`Self::wait_while`], for a thread that has already spun.
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

    /// Sets a word and wakes the threads that sleep on it.
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

/// The main function of a worker.
unsafe extern "C" fn work(worker: *mut c_void) -> *mut c_void {
    thread::leave_signals_to_the_host();
    let worker = worker.cast::<Worker>();
    // SAFETY: `start` has written the worker and its team, which live until the worker is joined. `handle` may be
    // written at the same time, so there is no reference to the whole worker.
    let (team, thread, done) = unsafe { (&*(*worker).team, (*worker).thread, &(*worker).done) };
    let mut seen = CLOSED + 1;
    loop {
        match team.number.load(Ordering::Acquire) {
            CLOSED => return ptr::null_mut(),
            number if number == seen => team.wait_while(&team.number, seen),
            number => {
                seen = number;
                // SAFETY: the call was written before its number, and does not change until this worker is done.
                unsafe {
                    let call = Call { thread, ..ptr::read(team.call.get()) };
                    // Thread 0 returns the same status.
                    let _ = (team.run)(&call);
                }
                team.set(done, number);
            }
        }
    }
}

/// [`Host::wait`] of a team.
unsafe extern "C" fn wait(context: *mut c_void, word: *const u32, expected: u32) {
    // SAFETY: the context is the team, and the word belongs to it.
    unsafe { (*context.cast::<Team>()).sleep(AtomicU32::from_ptr(word.cast_mut()), expected) }
}

/// [`Host::wake`] of a team.
unsafe extern "C" fn wake(context: *mut c_void, word: *const u32) {
    // SAFETY: the context is the team, and the word belongs to it.
    unsafe { (*context.cast::<Team>()).wake(AtomicU32::from_ptr(word.cast_mut())) }
}

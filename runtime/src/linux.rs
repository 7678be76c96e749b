//! What the runtime asks of Linux: a few system calls, and the addresses of functions that the C library may have.
//!
//! Each architecture has a file with the numbers of the calls, and with the assembly that makes them and that reads an
//! address. Other systems have no calls and no functions: sessions there have one thread.

use core::sync::atomic::AtomicU32;

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
#[path = "linux/aarch64.rs"]
mod architecture;
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
#[path = "linux/none.rs"]
mod architecture;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "linux/x86_64.rs"]
mod architecture;

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
pub(crate) use architecture::getauxval;
use architecture::{SYS_FUTEX, SYS_RT_SIGPROCMASK, SYS_SCHED_YIELD, call};
pub(crate) use architecture::{pthread_create, pthread_join};

/// `FUTEX_WAIT_PRIVATE`.
pub(crate) const WAIT: usize = 128;
/// `FUTEX_WAKE_PRIVATE`.
pub(crate) const WAKE: usize = 129;

/// Waits on `word`, or wakes those who do.
pub(crate) fn futex(word: &AtomicU32, operation: usize, value: u32) {
    // SAFETY: the word is readable. There is no timeout.
    unsafe { call(SYS_FUTEX, [word.as_ptr().addr(), operation, value as usize, 0]) };
}

/// Lets other threads run.
pub(crate) fn yield_now() {
    // SAFETY: the call has no arguments.
    unsafe { call(SYS_SCHED_YIELD, [0; 4]) };
}

/// Blocks all signals on this thread but those of its own faults and those of the C library.
pub(crate) fn block_signals() {
    const BLOCK: usize = 0;
    // Signal n is bit n - 1. SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV; 32 and 33 belong to the C library.
    const OPEN: [u32; 7] = [4, 5, 7, 8, 11, 32, 33];
    let mut mask = u64::MAX;
    for signal in OPEN {
        mask &= !(1 << (signal - 1));
    }
    // SAFETY: the mask has 8 bytes. The old mask is not requested.
    unsafe { call(SYS_RT_SIGPROCMASK, [BLOCK, (&raw const mask).addr(), 0, size_of::<u64>()]) };
}

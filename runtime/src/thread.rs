//! The system functions that the workers of a session need: to start and join threads, to sleep on a word, and to wake
//! sleepers. [`crate::linux`] has those of the architecture.
//!
//! Threads come from the C library, so that debuggers, limits and signals of the process apply to them. Every process
//! that loads a shared library has a C library. Its two functions are weak symbols: if they are missing, the library
//! still loads, and sessions with one thread work. Threads wait on words by Linux's futex, without the C library.

use core::ffi::c_void;
use core::sync::atomic::AtomicU32;

use crate::linux as system;

/// A thread of the C library: `pthread_t`.
pub(crate) type Handle = usize;

/// The main function of a thread.
pub(crate) type Main = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts a thread that runs `main` on `argument`; `None` if the system cannot create one.
///
/// # Safety
/// `main` may run on `argument` until [`join`] has returned.
pub(crate) unsafe fn spawn(main: Main, argument: *mut c_void) -> Option<Handle> {
    type Create = unsafe extern "C" fn(*mut Handle, *const c_void, Main, *mut c_void) -> i32;
    let create = system::pthread_create();
    if create == 0 || system::pthread_join() == 0 {
        return None;
    }
    // SAFETY: this is the address of the C library's `pthread_create`, which has this type.
    let create = unsafe { core::mem::transmute::<usize, Create>(create) };
    let mut handle = 0;
    // SAFETY: the handle is writable, and null attributes are the defaults. The caller guarantees the rest.
    let failed = unsafe { create(&mut handle, core::ptr::null(), main, argument) };
    if failed == 0 { Some(handle) } else { None }
}

/// Waits until a thread has ended.
///
/// # Safety
/// [`spawn`] returned the handle, and it has not been joined.
pub(crate) unsafe fn join(handle: Handle) {
    type Join = unsafe extern "C" fn(Handle, *mut *mut c_void) -> i32;
    let join = system::pthread_join();
    if join == 0 {
        return;
    }
    // SAFETY: this is the address of the C library's `pthread_join`, which has this type. The caller guarantees the
    // rest.
    unsafe { core::mem::transmute::<usize, Join>(join)(handle, core::ptr::null_mut()) };
}

/// Yields the CPU to another thread, if one is waiting.
pub(crate) fn give_way() {
    system::yield_now();
}

/// Sleeps while `*word` is `expected`. May return early.
pub(crate) fn sleep(word: &AtomicU32, expected: u32) {
    system::futex(word, system::WAIT, expected);
}

/// Wakes all threads that sleep on `word`.
pub(crate) fn wake(word: &AtomicU32) {
    system::futex(word, system::WAKE, i32::MAX as u32);
}

/// Blocks signals on the calling thread, because the process does not expect this thread. Leaves open the signals of
/// the thread's own faults, and those that the C library sends to all threads.
pub(crate) fn leave_signals_to_the_host() {
    system::block_signals();
}

//! Systems whose calls the runtime does not know: every call is one turn of a loop that spins.

pub(super) const SYS_RT_SIGPROCMASK: usize = 0;
pub(super) const SYS_SCHED_YIELD: usize = 0;
pub(super) const SYS_FUTEX: usize = 0;

/// The C library's function is not known.
pub(crate) fn pthread_create() -> usize {
    0
}

/// The C library's function is not known.
pub(crate) fn pthread_join() -> usize {
    0
}

/// Does nothing.
///
/// # Safety
/// Always safe.
pub(super) unsafe fn call(_number: usize, _arguments: [usize; 4]) {
    core::hint::spin_loop();
}

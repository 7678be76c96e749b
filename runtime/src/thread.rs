//! The system functions that the workers of a session need: to start and join threads, to sleep on a word, and to wake
//! sleepers.
//!
//! Threads come from the C library, so that debuggers, limits and signals of the process apply to them. Every process
//! that loads a shared library has a C library. Its two functions are weak symbols: if they are missing, the library
//! still loads, and sessions with one thread work. Threads wait on words by Linux's futex, without the C library. Other
//! systems have no threads.

use core::ffi::c_void;
use core::sync::atomic::AtomicU32;

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

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod system {
    use core::arch::asm;
    use core::sync::atomic::AtomicU32;

    /// `FUTEX_WAIT_PRIVATE`.
    pub(super) const WAIT: usize = 128;
    /// `FUTEX_WAKE_PRIVATE`.
    pub(super) const WAKE: usize = 129;

    const SYS_RT_SIGPROCMASK: usize = 14;
    const SYS_SCHED_YIELD: usize = 24;
    const SYS_FUTEX: usize = 202;

    /// Returns the address of a function of the C library, or 0 if it is missing.
    macro_rules! weak {
        ($name:ident) => {
            pub(super) fn $name() -> usize {
                let address;
                // SAFETY: reads an entry of the global offset table. This takes assembly, because Rust has no weak
                // symbols.
                unsafe {
                    asm!(
                        concat!(".weak ", stringify!($name)),
                        concat!("mov {}, qword ptr [rip + ", stringify!($name), "@GOTPCREL]"),
                        out(reg) address,
                        options(pure, readonly, nostack, preserves_flags)
                    );
                }
                address
            }
        };
    }
    weak!(pthread_create);
    weak!(pthread_join);

    pub(super) fn futex(word: &AtomicU32, operation: usize, value: u32) {
        // SAFETY: the word is readable. There is no timeout.
        unsafe { call(SYS_FUTEX, [word.as_ptr().addr(), operation, value as usize, 0]) };
    }

    pub(super) fn yield_now() {
        // SAFETY: the call has no arguments.
        unsafe { call(SYS_SCHED_YIELD, [0; 4]) };
    }

    pub(super) fn block_signals() {
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

    /// Makes a system call and ignores its result.
    ///
    /// # Safety
    /// The arguments are valid for the call. Memory at addresses among them outlives it.
    unsafe fn call(number: usize, [a, b, c, d]: [usize; 4]) {
        // SAFETY: the caller guarantees it. The kernel overwrites rax, rcx and r11.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number => _,
                in("rdi") a,
                in("rsi") b,
                in("rdx") c,
                in("r10") d,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack)
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod system {
    use core::sync::atomic::AtomicU32;

    pub(super) const WAIT: usize = 0;
    pub(super) const WAKE: usize = 1;

    pub(super) fn pthread_create() -> usize {
        0
    }

    pub(super) fn pthread_join() -> usize {
        0
    }

    pub(super) fn futex(_word: &AtomicU32, _operation: usize, _value: u32) {
        core::hint::spin_loop();
    }

    pub(super) fn yield_now() {
        core::hint::spin_loop();
    }

    pub(super) fn block_signals() {}
}

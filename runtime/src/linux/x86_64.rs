//! Linux on x86-64.

use core::arch::asm;

pub(super) const SYS_RT_SIGPROCMASK: usize = 14;
pub(super) const SYS_SCHED_YIELD: usize = 24;
pub(super) const SYS_FUTEX: usize = 202;

/// Returns the address of a function of the C library, or 0 if it is missing.
macro_rules! weak {
    ($name:ident) => {
        pub(crate) fn $name() -> usize {
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

/// Makes a system call and ignores its result.
///
/// # Safety
/// The arguments are valid for the call. Memory at addresses among them outlives it.
pub(super) unsafe fn call(number: usize, [a, b, c, d]: [usize; 4]) {
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

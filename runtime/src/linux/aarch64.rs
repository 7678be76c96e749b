//! Linux on aarch64.

use core::arch::asm;

pub(super) const SYS_FUTEX: usize = 98;
pub(super) const SYS_SCHED_YIELD: usize = 124;
pub(super) const SYS_RT_SIGPROCMASK: usize = 135;

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
                    concat!("adrp {0}, :got:", stringify!($name)),
                    concat!("ldr {0}, [{0}, :got_lo12:", stringify!($name), "]"),
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
weak!(getauxval);

/// Makes a system call and ignores its result.
///
/// # Safety
/// The arguments are valid for the call. Memory at addresses among them outlives it.
pub(super) unsafe fn call(number: usize, [a, b, c, d]: [usize; 4]) {
    // SAFETY: the caller guarantees it. The kernel overwrites x0 alone.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => _,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            options(nostack)
        );
    }
}

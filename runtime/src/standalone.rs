//! The root of the object file that is linked into artifacts; see `lib.rs`.
//!
//! It needs no other library, `core` included: what it uses of that is inlined. A test of the linked artifact holds
//! it to that.

#![no_std]

mod abi;
mod features;
mod session;
mod status;
mod team;
mod thread;

/// The table that a model's descriptor refers to, weakly, by [`abi::RUNTIME_SYMBOL`].
#[unsafe(export_name = "eightfold_runtime_v1")]
static RUNTIME: abi::Runtime = session::RUNTIME;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Not reached: no path of the runtime panics. Nothing better can be done without a host.
    loop {}
}

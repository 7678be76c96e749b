//! The root of the object file that is linked into artifacts; see `lib.rs`.
//!
//! It needs no other library, not even `core`: everything that it uses of `core` is inlined. A test of the linked
//! artifact checks this.

#![no_std]

mod abi;
mod features;
mod linux;
mod session;
mod status;
mod team;
mod thread;

/// The table that a model's descriptor refers to by a weak symbol, [`abi::RUNTIME_SYMBOL`].
#[unsafe(export_name = "eightfold_runtime_v1")]
static RUNTIME: abi::Runtime = session::RUNTIME;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Unreachable, because the runtime does not panic. Without a host, there is no better reaction.
    loop {}
}

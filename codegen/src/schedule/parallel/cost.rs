//! What a call takes one thread, roughly: enough to tell calls worth sharing from others, and better cuts from worse.
//!
//! Arithmetic and traffic are added up, from rates that good code reaches; nothing is measured here, so that programs do
//! not depend on the machine that compiles.

use crate::program::Call;
use crate::target::Target;
use crate::work::Arithmetic;

/// Bytes a nanosecond, between what the second- and the third-level cache give.
const BYTES: f64 = 20.0;

/// Vectors of other operations a nanosecond.
const VECTORS: f64 = 6.0;

/// Nanoseconds that the call takes one thread.
pub(crate) fn nanoseconds(call: &Call, target: &Target) -> f64 {
    let work = call.work(target);
    let lanes = target.lanes() as f64;
    // Two fused multiplications and additions a cycle at 4 GHz. Bytes: four products a lane, in one instruction or more.
    let floats = 8.0 * lanes;
    let rate = match work.arithmetic {
        Arithmetic::Bf16 if target.bf16 => 2.0 * floats,
        Arithmetic::Bf16 | Arithmetic::F32 => floats,
        Arithmetic::Int8 => target.dot.products_per_instruction() * floats,
    };
    work.executed_macs as f64 / rate + work.operations / (VECTORS * lanes) + work.bytes() as f64 / BYTES
}

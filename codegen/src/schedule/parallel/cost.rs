//! What a call takes one thread, roughly: enough to tell calls worth sharing from others, and better cuts from worse.
//!
//! Arithmetic and traffic are added up, from rates that good code reaches; nothing is measured here, so that programs do
//! not depend on the machine that compiles.

use crate::program::Call;
use crate::target::{Dot, Target};
use crate::work::Arithmetic;

/// Bytes a nanosecond, between what the second- and the third-level cache give.
const BYTES: f64 = 20.0;

/// Vectors of other operations a nanosecond.
const VECTORS: f64 = 6.0;

/// Nanoseconds that the call takes one thread.
pub(crate) fn nanoseconds(call: &Call, target: &Target) -> f64 {
    let work = call.work(target);
    let lanes = target.lanes() as f64;
    // Two fused multiplications and additions a cycle at 4 GHz; bytes four a lane, in one instruction or in three.
    let floats = 8.0 * lanes;
    let rate = match (work.arithmetic, target.dot) {
        (Arithmetic::Bf16, _) if target.bf16 => 2.0 * floats,
        (Arithmetic::Bf16 | Arithmetic::F32, _) => floats,
        (Arithmetic::Int8, Dot::Vpdpbusd) => 4.0 * floats,
        (Arithmetic::Int8, Dot::Maddubs) => 4.0 / 3.0 * floats,
    };
    work.executed_macs as f64 / rate + work.operations / (VECTORS * lanes) + work.bytes() as f64 / BYTES
}

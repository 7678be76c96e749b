//! A typical CPU for each target, for cost models that do not know the CPU.
//!
//! Each row is a CPU of the target's class. Its values come from the manufacturer's optimization manual, uops.info and
//! Agner Fog's tables, in cycles. Rates are those of the instructions that the target's kernels use. Overheads are
//! properties of the kernels rather than of a CPU, so all rows share them. They were fitted, in cycles, to `eightfold
//! bench --tune` of ten networks (benches/notes/bounds-and-tuning.md).

use std::sync::LazyLock;

use super::{CpuModel, Level};
use crate::target::Target;

/// A CPU. Rates are per cycle unless noted.
struct Row {
    /// The target's name.
    target: &'static str,
    /// Cycles per nanosecond.
    clock: f64,
    /// Kibibytes of the first-level data cache, the second-level cache, and the part of the last-level cache that a
    /// core can use.
    kibibytes: [u64; 3],
    /// Bytes per nanosecond from the second-level cache, the last-level cache, and memory. They differ more within a
    /// class than among classes: the last-level cache of a Zen 3 gives 60, those of servers with a mesh 15 to 25.
    rates: [f64; 3],
    /// Multiply-accumulates of 8-bit integers.
    int8: f64,
    /// Multiply-accumulates of bf16.
    bf16: f64,
    /// Multiply-accumulates of f32.
    f32: f64,
    /// Operations on 32-bit lanes in the usual mix: conversions, multiplications, clamps, packs, stores.
    operations: f64,
    /// Vector loads.
    loads: f64,
    /// Instructions.
    issue: f64,
    /// Cycles between dependent multiply-accumulates of floats.
    float_latency: f64,
    /// Cycles between dependent 8-bit dot products.
    dot_latency: f64,
}

/// One row for each target, in the order of the targets.
const ROWS: &[Row] = &[
    // Core 2 without SSSE3: bytes are widened to 16 bits before they are multiplied, 12 instructions for 16 products.
    Row {
        target: "generic",
        clock: 2.5,
        kibibytes: [32, 256, 4 << 10],
        rates: [20.0, 10.0, 6.0],
        int8: 5.0,
        bf16: 4.0,
        f32: 4.0,
        operations: 4.0,
        loads: 1.0,
        issue: 4.0,
        float_latency: 3.0,
        dot_latency: 4.0,
    },
    // Westmere: one multiplication and one addition of floats a cycle; only one port runs `pmaddubsw` and `pmaddwd`.
    Row {
        target: "x86-64-v2",
        clock: 3.0,
        kibibytes: [32, 256, 8 << 10],
        rates: [24.0, 12.0, 8.0],
        int8: 8.0,
        bf16: 4.0,
        f32: 4.0,
        operations: 6.0,
        loads: 1.0,
        issue: 4.0,
        float_latency: 3.0,
        dot_latency: 1.0,
    },
    // Zen 3: two multiplications of each kind a cycle.
    Row {
        target: "x86-64-v3",
        clock: 3.3,
        kibibytes: [32, 512, 32 << 10],
        rates: [100.0, 25.0, 12.0],
        int8: 31.0,
        bf16: 16.0,
        f32: 16.0,
        operations: 23.0,
        loads: 2.0,
        issue: 6.0,
        float_latency: 4.0,
        dot_latency: 1.0,
    },
    // Alder Lake's performance cores: two `vpdpbusd` a cycle.
    Row {
        target: "x86-64-v3-vnni",
        clock: 4.0,
        kibibytes: [48, 1280, 24 << 10],
        rates: [130.0, 25.0, 15.0],
        int8: 64.0,
        bf16: 16.0,
        f32: 16.0,
        operations: 23.0,
        loads: 2.0,
        issue: 6.0,
        float_latency: 4.0,
        dot_latency: 5.0,
    },
    // Skylake-X: two 512-bit instructions a cycle, including additions.
    Row {
        target: "x86-64-v4",
        clock: 2.8,
        kibibytes: [32, 1 << 10, 16 << 10],
        rates: [130.0, 20.0, 12.0],
        int8: 42.0,
        bf16: 32.0,
        f32: 32.0,
        operations: 28.0,
        loads: 2.0,
        issue: 4.0,
        float_latency: 4.0,
        dot_latency: 1.0,
    },
    // Cascade Lake: Skylake-X with two `vpdpbusd` a cycle.
    Row {
        target: "x86-64-v4-vnni",
        clock: 2.8,
        kibibytes: [32, 1 << 10, 16 << 10],
        rates: [130.0, 20.0, 12.0],
        int8: 128.0,
        bf16: 32.0,
        f32: 32.0,
        operations: 28.0,
        loads: 2.0,
        issue: 4.0,
        float_latency: 4.0,
        dot_latency: 5.0,
    },
    // Ice Lake.
    Row {
        target: "x86-64-v4-vbmi",
        clock: 2.9,
        kibibytes: [48, 1280, 24 << 10],
        rates: [130.0, 20.0, 12.0],
        int8: 128.0,
        bf16: 32.0,
        f32: 32.0,
        operations: 28.0,
        loads: 2.0,
        issue: 5.0,
        float_latency: 4.0,
        dot_latency: 5.0,
    },
    // Sapphire Rapids and Zen 4, with the smaller caches of the two; `vdpbf16ps` has twice the rate of f32.
    Row {
        target: "x86-64-v4-bf16",
        clock: 3.3,
        kibibytes: [32, 1 << 10, 32 << 10],
        rates: [150.0, 25.0, 15.0],
        int8: 128.0,
        bf16: 64.0,
        f32: 32.0,
        operations: 32.0,
        loads: 2.0,
        issue: 6.0,
        float_latency: 4.0,
        dot_latency: 5.0,
    },
    // Cortex-A72: one multiplication of a whole register a cycle, two loads of half a register.
    Row {
        target: "aarch64",
        clock: 1.8,
        kibibytes: [32, 1 << 10, 1 << 10],
        rates: [14.0, 10.0, 4.0],
        int8: 8.0,
        bf16: 4.0,
        f32: 4.0,
        operations: 4.0,
        loads: 1.0,
        issue: 3.0,
        float_latency: 4.0,
        dot_latency: 2.0,
    },
    // Neoverse N1: two `sdot` or `fmla` a cycle.
    Row {
        target: "aarch64-dotprod",
        clock: 2.6,
        kibibytes: [64, 1 << 10, 8 << 10],
        rates: [60.0, 25.0, 12.0],
        int8: 32.0,
        bf16: 8.0,
        f32: 8.0,
        operations: 8.0,
        loads: 2.0,
        issue: 4.0,
        float_latency: 2.0,
        dot_latency: 1.0,
    },
    // Neoverse N2: two `usdot` a cycle.
    Row {
        target: "aarch64-i8mm",
        clock: 2.8,
        kibibytes: [64, 1 << 10, 16 << 10],
        rates: [80.0, 25.0, 15.0],
        int8: 32.0,
        bf16: 8.0,
        f32: 8.0,
        operations: 8.0,
        loads: 2.0,
        issue: 5.0,
        float_latency: 2.0,
        dot_latency: 1.0,
    },
    // Neoverse N2: two `bfdot` a cycle.
    Row {
        target: "aarch64-bf16",
        clock: 2.8,
        kibibytes: [64, 1 << 10, 16 << 10],
        rates: [80.0, 25.0, 15.0],
        int8: 32.0,
        bf16: 16.0,
        f32: 8.0,
        operations: 8.0,
        loads: 2.0,
        issue: 5.0,
        float_latency: 2.0,
        dot_latency: 1.0,
    },
];

/// Cycles to enter and leave a loop of a kernel.
const LOOP: f64 = 6.0;

/// Cycles to store the bytes of a further pixel of a tile.
const SCATTERED_STORE: f64 = 10.0;

/// Nanoseconds of each call besides its work.
const CALL: f64 = 50.0;

/// Nanoseconds of a parallel region besides its calls. The barrier itself takes 58 ns between two cores of a Zen 3, but
/// threads do not arrive at the same time, and each fetches data that the other wrote.
const BARRIER: f64 = 1000.0;

/// Nanoseconds to wake a thread.
const WAKE: f64 = 30_000.0;

/// The models of all targets.
pub(super) fn models() -> &'static [CpuModel] {
    static MODELS: LazyLock<Vec<CpuModel>> = LazyLock::new(|| ROWS.iter().map(Row::model).collect());
    &MODELS
}

impl Row {
    fn model(&self) -> CpuModel {
        let target = Target::find(self.target).unwrap_or_else(|| unreachable!("rows are of targets"));
        let (clock, cycle) = (self.clock, 1.0 / self.clock);
        let first = self.loads * clock * (target.vector_bits / 8) as f64;
        let caches = self.kibibytes.map(|size| Some(size << 10)).into_iter().chain([None]);
        let levels = caches.zip([first].into_iter().chain(self.rates)).map(|(bytes, rate)| Level { bytes, rate });
        CpuModel {
            target,
            levels: levels.collect(),
            int8: self.int8 * clock,
            bf16: self.bf16 * clock,
            f32: self.f32 * clock,
            operations: self.operations * clock,
            loads: self.loads * clock,
            issue: self.issue * clock,
            add_latency: cycle,
            float_latency: self.float_latency * cycle,
            dot_latency: self.dot_latency * cycle,
            loop_overhead: LOOP * cycle,
            scattered_store: SCATTERED_STORE * cycle,
            call_overhead: CALL,
            barrier: BARRIER,
            wake: WAKE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    #[test]
    fn each_target_has_a_row() {
        let rows: Vec<&str> = ROWS.iter().map(|row| row.target).collect();
        let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        assert_eq!(rows, targets);
    }

    #[test]
    fn rows_are_plausible() {
        for row in ROWS {
            let model = row.model();
            let lanes = model.target.lanes() as f64;
            assert!(row.int8 > row.f32 && row.bf16 >= row.f32 && row.f32 >= lanes, "{}", row.target);
            assert_eq!(row.bf16 > row.f32, model.target.bf16, "{}", row.target);
            assert!(model.levels.is_sorted_by(|near, far| near.rate > far.rate), "{}", row.target);
            assert!(row.kibibytes.is_sorted(), "{}", row.target);
        }
    }
}

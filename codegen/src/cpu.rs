//! The model of a CPU for cost estimates: caches, rates and overheads of one core, in bytes and nanoseconds.
//!
//! Every choice without a measurement uses one [`CpuModel`]: tiles, Winograd or direct convolution, bands, threads, and
//! the roofline. Each target has a row in `cpu/rows.rs`: a typical CPU of its class. [`CpuModel::measured`] replaces
//! the row's rates by those of a machine, as `eightfold bench --machine` measures them. `Call::cost` computes the time
//! of a call.
//!
//! Programs depend on the model, never on the machine that compiles.

mod rows;

use crate::target::Target;

/// Bytes of a cache line.
pub const LINE: usize = 64;

/// The share of the peak rate of [operations](CpuModel::operations) that kernels reach. The peak is measured on a
/// single loop.
const REACHED: f64 = 0.8;

/// The type of the factors of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arithmetic {
    /// 8-bit integers, summed in 32 bits.
    Int8,
    /// bf16 numbers, summed in single precision.
    Bf16,
    /// Single-precision floats.
    F32,
}

impl Arithmetic {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Arithmetic::Int8 => "int8",
            Arithmetic::Bf16 => "bf16",
            Arithmetic::F32 => "f32",
        }
    }
}

/// A cache, or memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// Its size; `None` for memory.
    pub bytes: Option<u64>,
    /// Bytes per nanosecond that one core reads from it sequentially.
    pub rate: f64,
}

/// The rates of one core per nanosecond, and its overheads in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct CpuModel {
    /// The target. Rates are those of its instructions.
    pub target: &'static Target,
    /// The caches, nearest first, then memory.
    pub levels: Vec<Level>,
    /// Multiply-accumulates of 8-bit integers per nanosecond, by the target's instruction sequence.
    pub int8: f64,
    /// Multiply-accumulates of bf16 per nanosecond; those of f32 if the target has none.
    pub bf16: f64,
    /// Multiply-accumulates of f32 per nanosecond.
    pub f32: f64,
    /// Operations on 32-bit lanes per nanosecond, as [`Work::operations`](crate::work::Work::operations) counts them.
    pub operations: f64,
    /// Vectors per nanosecond that are loaded from the first-level cache.
    pub loads: f64,
    /// Instructions issued per nanosecond.
    pub issue: f64,
    /// Nanoseconds between two dependent integer additions: a cycle.
    pub add_latency: f64,
    /// Nanoseconds between two multiply-accumulates of floats that use the same accumulator.
    pub float_latency: f64,
    /// Nanoseconds between two 8-bit dot products that use the same accumulator.
    pub dot_latency: f64,
    /// Nanoseconds to enter and leave a loop of a kernel, mispredicted branches included.
    pub loop_overhead: f64,
    /// Nanoseconds to store the bytes of each further pixel of a tile, if they are not adjacent to those of the pixel
    /// before.
    pub scattered_store: f64,
    /// Nanoseconds of each call besides its work: the call itself, and mispredicted ends of loops.
    pub call_overhead: f64,
    /// Nanoseconds that each parallel region costs: the barrier, threads that arrive late, and data that one thread
    /// fetches from another's cache.
    pub barrier: f64,
    /// Nanoseconds to wake a sleeping thread.
    pub wake: f64,
}

/// The measured rates of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    /// See [`CpuModel::int8`].
    pub int8: f64,
    /// Multiply-accumulates of bf16 per nanosecond; `None` if the target has none.
    pub bf16: Option<f64>,
    /// See [`CpuModel::f32`].
    pub f32: f64,
    /// See [`CpuModel::operations`].
    pub operations: f64,
    /// The caches, nearest first, then memory, which is always present.
    pub levels: Vec<Level>,
}

impl CpuModel {
    /// The model of a target if the CPU is not known: the target's row.
    #[must_use]
    pub fn of(target: &Target) -> &'static CpuModel {
        let is_of = |model: &&CpuModel| model.target.name == target.name;
        rows::models().iter().find(is_of).unwrap_or_else(|| unreachable!("each target has a row"))
    }

    /// The model of a machine. Values that are not measured come from the target's row, scaled by the ratio of the
    /// machine's f32 rate to the row's.
    #[must_use]
    pub fn measured(target: &Target, rates: Rates) -> CpuModel {
        let row = CpuModel::of(target);
        let faster = rates.f32 / row.f32;
        CpuModel {
            levels: rates.levels,
            int8: rates.int8,
            bf16: rates.bf16.unwrap_or(rates.f32),
            f32: rates.f32,
            operations: rates.operations,
            loads: row.loads * faster,
            issue: row.issue * faster,
            add_latency: row.add_latency / faster,
            float_latency: row.float_latency / faster,
            dot_latency: row.dot_latency / faster,
            loop_overhead: row.loop_overhead / faster,
            scattered_store: row.scattered_store / faster,
            ..row.clone()
        }
    }

    /// Multiply-accumulates per nanosecond.
    #[must_use]
    pub fn macs(&self, arithmetic: Arithmetic) -> f64 {
        match arithmetic {
            Arithmetic::Int8 => self.int8,
            Arithmetic::Bf16 => self.bf16,
            Arithmetic::F32 => self.f32,
        }
    }

    /// Nanoseconds that a kernel takes for operations on 32-bit lanes.
    pub(crate) fn operations_ns(&self, operations: f64) -> f64 {
        operations / (REACHED * self.operations)
    }

    /// The least nanoseconds to read `bytes` again after `distance` bytes were touched, including these bytes. They
    /// come from the first level that holds `distance` bytes.
    #[must_use]
    pub fn read_ns(&self, bytes: f64, distance: u64) -> f64 {
        bytes / self.level(|size| distance <= size).rate
    }

    /// Nanoseconds that a kernel waits for each byte if `in_use` bytes are in use. The model assumes that half of each
    /// cache is free for them. Loads from the first level are part of the arithmetic.
    pub(crate) fn wait_ns(&self, in_use: f64) -> f64 {
        match in_use <= self.room(1) as f64 {
            true => 0.0,
            false => 1.0 / self.level(|size| in_use <= size as f64 / 2.0).rate,
        }
    }

    /// Bytes that stay in cache level 1 or 2 beside all other data: half of its size.
    pub(crate) fn room(&self, level: usize) -> usize {
        let size = |levels: &[Level]| levels.get(level - 1).and_then(|level| level.bytes);
        let size = size(&self.levels).or_else(|| size(&CpuModel::of(self.target).levels));
        size.map_or(0, |bytes| bytes as usize / 2)
    }

    /// Bytes per nanosecond from the second-level cache.
    pub(crate) fn second_level_rate(&self) -> f64 {
        self.levels[1.min(self.levels.len() - 1)].rate
    }

    /// The first cache whose size `holds` accepts; memory if there is none.
    fn level(&self, holds: impl Fn(u64) -> bool) -> &Level {
        let level = self.levels.iter().find(|level| level.bytes.is_none_or(&holds));
        level.unwrap_or_else(|| unreachable!("memory holds everything"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TARGETS;

    fn levels(sizes: &[Option<u64>]) -> Vec<Level> {
        let rates = [100.0, 10.0, 1.0];
        sizes.iter().zip(rates).map(|(bytes, rate)| Level { bytes: *bytes, rate }).collect()
    }

    fn model(sizes: &[Option<u64>]) -> CpuModel {
        CpuModel { levels: levels(sizes), ..CpuModel::of(&TARGETS[0]).clone() }
    }

    #[test]
    fn bytes_are_read_from_the_first_level_that_holds_what_was_touched_since() {
        let cpu = model(&[Some(1000), Some(10_000), None]);
        assert_eq!([1000, 1001, 20_000].map(|distance| cpu.read_ns(50.0, distance)), [0.5, 5.0, 50.0]);
    }

    #[test]
    fn a_kernel_waits_for_what_exceeds_half_of_a_cache() {
        let cpu = model(&[Some(1000), Some(10_000), None]);
        assert_eq!([500.0, 501.0, 5000.0, 5001.0].map(|bytes| cpu.wait_ns(bytes)), [0.0, 0.1, 0.1, 1.0]);
        assert_eq!([1, 2].map(|level| cpu.room(level)), [500, 5000]);
    }

    #[test]
    fn caches_that_a_machine_does_not_tell_are_those_of_the_row() {
        let (cpu, row) = (model(&[None]), CpuModel::of(&TARGETS[0]));
        assert_eq!([1, 2].map(|level| cpu.room(level)), [1, 2].map(|level| row.room(level)));
        assert_eq!(cpu.second_level_rate(), 100.0);
    }

    #[test]
    fn what_is_measured_replaces_the_row_and_scales_the_rest() {
        for target in TARGETS {
            let row = CpuModel::of(target);
            let rates = |faster: f64| Rates {
                int8: row.int8 * faster,
                bf16: target.bf16.then_some(row.bf16 * faster),
                f32: row.f32 * faster,
                operations: row.operations * faster,
                levels: row.levels.clone(),
            };
            assert_eq!(CpuModel::measured(target, rates(1.0)), *row, "{}", target.name);
            let twice = CpuModel::measured(target, rates(2.0));
            assert_eq!((twice.int8, twice.issue, twice.wake), (2.0 * row.int8, 2.0 * row.issue, row.wake));
            assert_eq!(twice.loop_overhead, row.loop_overhead / 2.0);
        }
    }
}

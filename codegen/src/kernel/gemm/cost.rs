//! A cost model of products: predicts the time from the tile and the order of the loops.
//!
//! For each group of weights, a tile takes as long as its busiest resource: multipliers, loads, the latency of
//! additions to one accumulator, or issue slots. The model adds the overhead of loops, stores at scattered addresses,
//! and weights that are read from the second-level cache.

use eightfold_ir::DType;

use super::geometry::Geometry;
use super::group_bits;
use crate::choice::Blocking;
use crate::cpu::{Arithmetic, CpuModel};
use crate::target::DotRule;

/// Runs of at most this many groups are unrolled: they have no loop.
const STRAIGHT: usize = 8;

/// Instructions that compute the input address of an extra group.
const EXTRA: f64 = 3.0;

/// With 16 registers, float tiles of one vector and at least this many pixels take twice the predicted time.
const TALL: f64 = 8.0;

impl Geometry<'_> {
    /// Nanoseconds of the product with this blocking; `operations` is the cost of the epilogue per result, on 32-bit
    /// lanes.
    pub(crate) fn cost(&self, blocking: Blocking, operations: f64, cpu: &CpuModel) -> f64 {
        let lanes = cpu.target.lanes();
        let blocks = [
            (self.n / blocking.nr, blocking.nr / lanes),
            (usize::from(!self.n.is_multiple_of(blocking.nr)), (self.n % blocking.nr).div_ceil(lanes)),
        ];
        let (cut, rows) = self.cut(blocking.mr);
        let mut cost = 0.0;
        for (blocks, vectors) in blocks {
            let block = Block::of(self, [vectors, blocking.nr], operations, cpu);
            for (tiles, pixels) in [(cut.large, cut.size), (cut.small, cut.size.saturating_sub(1))] {
                cost += (blocks * rows * tiles) as f64 * block.tile(pixels as f64);
            }
        }
        cost
    }

    /// Operations on 32-bit lanes of a typical epilogue: scale, clamp and conversion to bytes; for floats, clamp.
    /// Choices use this number instead of the actual epilogue, because calls of equal geometry must get equal choices.
    pub(crate) fn usual_operations(&self) -> f64 {
        if self.is_narrow() { 5.25 } else { 2.0 }
    }

    /// Whether results are bytes.
    fn is_narrow(&self) -> bool {
        self.output.bits() == 8
    }
}

/// The arithmetic that products of this input type use.
pub(crate) fn arithmetic(input: DType) -> Arithmetic {
    match input {
        DType::Bf16 => Arithmetic::Bf16,
        DType::F32 => Arithmetic::F32,
        _ => Arithmetic::Int8,
    }
}

/// See [`Work::instructions`](crate::work::Work::instructions). `joined` is [`Gemm::joined`](super::Gemm::joined).
pub(crate) fn instructions(input: DType, joined: bool, dot: DotRule) -> f64 {
    match (joined, input) {
        (true, _) => dot.instructions_per_group(2) / dot.instructions_per_group(1),
        (_, DType::I16) => words(dot),
        _ => 1.0,
    }
}

/// Instructions of a product of words relative to a product of bytes.
pub(crate) fn words(dot: DotRule) -> f64 {
    (2 * dot.words) as f64 / dot.instructions(1) as f64
}

/// The costs of one block of channels.
struct Block<'g> {
    geometry: &'g Geometry<'g>,
    cpu: &'g CpuModel,
    vectors: f64,
    groups: f64,
    /// Extra groups per vector.
    extra: f64,
    /// Bytes of the block's weights.
    weights: f64,
    /// Nanoseconds of the epilogue per vector.
    finish: f64,
    /// Nanoseconds of overhead of a tile's loops.
    loops: f64,
    /// Nanoseconds of stores at scattered addresses, for each pixel after the first.
    scattered: f64,
}

impl<'g> Block<'g> {
    fn of(geometry: &'g Geometry<'g>, [vectors, nr]: [usize; 2], operations: f64, cpu: &'g CpuModel) -> Block<'g> {
        // The bytes of a pixel are adjacent. Those of the next pixel follow directly if there is only one block of
        // channels.
        let is_scattered = geometry.is_narrow() && geometry.n > nr;
        let lanes = cpu.target.lanes();
        let groups = geometry.groups() as f64;
        let extra = geometry.extra as f64 / geometry.n.div_ceil(lanes).max(1) as f64;
        let kr = 4 / geometry.input.byte_size();
        let loops = 1 + geometry.runs.iter().filter(|run| run.length.div_ceil(kr) > STRAIGHT).count();
        Block {
            geometry,
            cpu,
            vectors: vectors as f64,
            groups,
            extra,
            weights: (groups + extra) * (vectors * lanes * group_bits(geometry.format) / 8) as f64,
            finish: cpu.operations_ns(operations * lanes as f64),
            loops: loops as f64 * cpu.loop_overhead,
            scattered: if is_scattered { cpu.scattered_store } else { 0.0 },
        }
    }

    /// Nanoseconds of a tile with this number of pixels.
    fn tile(&self, pixels: f64) -> f64 {
        let Block { cpu, vectors, .. } = *self;
        let extra = match self.extra {
            0.0 => 0.0,
            extra => cpu.loop_overhead + extra * (self.group(pixels, 1.0) + EXTRA / cpu.issue),
        };
        let products = self.groups * self.group(pixels, vectors) + vectors * extra;
        let is_near = self.weights <= cpu.room(1) as f64;
        let weights = if is_near { 0.0 } else { self.weights / cpu.second_level_rate() };
        self.loops + products.max(weights) + pixels * vectors * self.finish + (pixels - 1.0).max(0.0) * self.scattered
    }

    /// Nanoseconds to multiply one group of weights, for `vectors` vectors and `pixels` pixels.
    fn group(&self, pixels: f64, vectors: f64) -> f64 {
        let Block { geometry, cpu, .. } = *self;
        let (dot, sums) = (cpu.target.dot, pixels * vectors);
        let share = instructions(geometry.input, geometry.joined, dot);
        // The latency of an addition, and the instructions of each product.
        let joined = if geometry.joined { 2 } else { 1 };
        let (chain, issues) = match geometry.input {
            DType::F32 => (cpu.float_latency, 1.0),
            DType::Bf16 => (2.0 * cpu.float_latency, 2.0),
            DType::I16 => (cpu.add_latency, dot.words as f64),
            _ => (cpu.dot_latency, dot.instructions_per_group(joined)),
        };
        let macs = (cpu.target.lanes() * 4 / geometry.input.byte_size()) as f64;
        let multiply = macs * share / cpu.macs(arithmetic(geometry.input));
        let loads = (pixels + vectors) / cpu.loads;
        let unpacking = vectors * geometry.format.map_or(0.0, |format| format.row().instructions());
        let issued = (sums * issues + pixels + vectors + unpacking + 1.0) / cpu.issue;
        let busiest = (sums * multiply).max(loads).max(chain).max(issued);
        let few_registers = cpu.target.vector_registers <= 16;
        let is_slow = few_registers && geometry.input == DType::F32 && vectors == 1.0 && pixels >= TALL;
        if is_slow { 2.0 * busiest } else { busiest }
    }
}

//! The cost model of a product with constant weights, in cycles of one core. It chooses where nothing was measured.
//!
//! For each group of weights, a tile takes as long as its busiest resource: multipliers, loads, the latency of the additions to
//! one accumulator, or issue slots. Starting and ending a tile, and weights outside the first-level cache, add to that. Only
//! ratios matter, so cycles need not be exact. The constants are rounded fits to `eightfold bench --tune` of three networks on
//! a Zen 3; benches/README.md says how far off the choices are.

use eightfold_ir::DType;

use super::{Blocking, candidates};
use crate::kernel::Geometry;
use crate::program::Tile;
use crate::target::{DotRule, Target};

/// Vectors that a core loads in a cycle: weights and broadcast inputs.
const LOADS: f64 = 2.0;

/// Instructions that a core issues in a cycle, those of loops included.
const ISSUE: f64 = 6.0;

/// Cycles to begin and end a tile: pointers, loops, a mispredicted branch.
const TILE: f64 = 20.0;

/// Cycles to begin a run.
const RUN: f64 = 10.0;

/// Cycles for each accumulator, to initialise it and to run the usual steps on it.
const REGISTER: f64 = 1.0;

/// Cycles for each store.
const STORE: f64 = 2.0;

/// The cost of storing each further pixel's bytes at an address of its own, in stores: in short products, tiles of several
/// pixels were slower than tiles of one (benches/README.md).
const PLACES: f64 = 6.0;

/// Cycles to begin the extra groups of a vector.
const EXTRA: f64 = 6.0;

/// Cycles to look up the input offset of an extra group.
const EXTRA_GROUP: f64 = 0.5;

/// Cycles between two additions to the same accumulator of floats.
const FLOAT_CHAIN: f64 = 4.5;

/// On targets with 16 registers, tiles of floats with one vector and at least this many pixels took twice the modelled time.
const TALL: f64 = 8.0;

/// Half of a first-level cache: a block's weights may take this much without evicting the inputs.
const HALF_L1: f64 = 16.0 * 1024.0;

/// Bytes a cycle from the second-level cache.
const L2: f64 = 26.0;

/// Bytes a cycle from beyond it.
const FAR: f64 = 20.0;

/// Half of a second-level cache: inputs and results that one block of weights serves.
const HALF_L2: usize = 256 * 1024;

/// A tile is chosen instead of the usual one if it takes less than this part of its time. The model is no more exact.
const CLEARLY_LESS: f64 = 0.92;

/// The choice: the usual tile, unless another is clearly better.
pub(crate) fn choose(geometry: &Geometry<'_>, target: &Target) -> Blocking {
    let usual = usual(geometry, target);
    // With one pixel, reading the weights takes all the time.
    if geometry.row() <= 1 {
        return usual;
    }
    match candidates::tiles(geometry, target, 1).first() {
        Some(best) if cycles(geometry, *best, target) < CLEARLY_LESS * cycles(geometry, usual, target) => *best,
        _ => usual,
    }
}

/// The usual tile, and as many rows as stay in the second-level cache.
pub(crate) fn usual(geometry: &Geometry<'_>, target: &Target) -> Blocking {
    let Tile { mr, nr, .. } = Tile::usual(target, geometry.input, geometry.row(), geometry.n);
    Blocking { mr, nr, rows: rows(geometry, HALF_L2) }
}

/// As many rows as keep their inputs and results within `bytes`. Several blocks write to one cache line of a result. Rows and
/// columns that a stride skips take no cache; this is counted for floats alone, as for bytes it made no measured difference.
pub(crate) fn rows(geometry: &Geometry<'_>, bytes: usize) -> usize {
    let Geometry { pixels, input_strides, runs, n, input, .. } = geometry;
    let under: usize = runs.iter().map(|run| run.length).sum();
    let skipping = if *input == DType::F32 { pixels[2] * under } else { usize::MAX };
    let read = input_strides[1].unsigned_abs().min(skipping);
    let row = (read + pixels[2] * n) * input.byte_size();
    (bytes / row.max(1)).clamp(1, (pixels[0] * pixels[1]).max(1))
}

/// Cycles of a whole product.
pub(crate) fn cycles(geometry: &Geometry<'_>, choice: Blocking, target: &Target) -> f64 {
    let lanes = target.lanes();
    let blocks = [
        (geometry.n / choice.nr, choice.nr / lanes),
        (usize::from(!geometry.n.is_multiple_of(choice.nr)), (geometry.n % choice.nr).div_ceil(lanes)),
    ];
    let (cut, rows) = geometry.cut(choice.mr);
    let bands = (geometry.pixels[0] * geometry.pixels[1]).div_ceil(choice.rows) as f64;
    let mut cycles = 0.0;
    for (blocks, vectors) in blocks {
        let block = Block::of(geometry, vectors, target);
        for (tiles, pixels) in [(cut.large, cut.size), (cut.small, cut.size.saturating_sub(1))] {
            cycles += (blocks * rows * tiles) as f64 * block.tile(pixels);
        }
        // The first tile that a block serves waits for the weights.
        cycles += blocks as f64 * bands * (block.weights / FAR - block.tile(cut.size)).max(0.0);
    }
    cycles
}

/// A block: some vectors of channels.
struct Block {
    vectors: f64,
    groups: f64,
    runs: f64,
    /// Extra groups of a vector.
    extra: f64,
    /// Groups whose products are added in 16 bits before they are accumulated.
    joined: f64,
    /// Bytes of weights.
    weights: f64,
    /// Whether results are bytes.
    narrow: bool,
    input: DType,
    dot: DotRule,
    /// Whether the target has no more than 16 registers.
    few_registers: bool,
}

impl Block {
    fn of(geometry: &Geometry<'_>, vectors: usize, target: &Target) -> Block {
        let groups = geometry.groups();
        let extra = geometry.extra as f64 / geometry.n.div_ceil(target.lanes()).max(1) as f64;
        Block {
            vectors: vectors as f64,
            groups: groups as f64,
            runs: geometry.runs.len() as f64,
            extra,
            joined: if geometry.joined { 2.0 } else { 1.0 },
            weights: (groups as f64 + extra) * (vectors * 4 * target.lanes()) as f64,
            narrow: geometry.output.bits() == 8,
            input: geometry.input,
            dot: target.dot,
            few_registers: target.vector_registers <= 16,
        }
    }

    /// Cycles of a tile with this many pixels.
    fn tile(&self, pixels: usize) -> f64 {
        let pixels = pixels as f64;
        let extra = match self.extra {
            0.0 => 0.0,
            extra => EXTRA + extra * (self.group(pixels, 1.0, 1.0) + EXTRA_GROUP),
        };
        let products = self.groups * self.group(pixels, self.vectors, self.joined) + self.vectors * extra;
        let nearest = if self.weights > HALF_L1 { self.weights / L2 } else { 0.0 };
        // Four registers of results become one of bytes. The bytes of a pixel are stored together.
        let stores = match self.narrow {
            true => (pixels / (4.0 / self.vectors).floor().max(1.0)).ceil() * 2.0 + PLACES * pixels,
            false => pixels * self.vectors,
        };
        TILE + self.runs * RUN + products.max(nearest) + pixels * self.vectors * REGISTER + stores * STORE
    }

    /// Cycles of one group of weights for `vectors` vectors and `pixels` pixels.
    fn group(&self, pixels: f64, vectors: f64, joined: f64) -> f64 {
        let sums = pixels * vectors;
        // Cycles of the multipliers, latency of an addition, and instructions for each product.
        let (multiply, chain, instructions) = match self.input {
            DType::F32 => (0.5, FLOAT_CHAIN, 1.0),
            DType::Bf16 => (1.0, 2.0 * FLOAT_CHAIN, 2.0),
            DType::I16 => (0.5, 1.0, 2.0),
            _ => {
                // Joined groups are added in 16 bits, then widened and accumulated once.
                let instructions = self.dot.instructions_per_group(joined);
                (instructions / self.dot.per_cycle as f64, self.dot.latency as f64, instructions)
            }
        };
        let loads = (pixels + vectors) / LOADS;
        let issued = (sums * instructions + pixels + vectors + 1.0) / ISSUE;
        let busiest = (sums * multiply).max(loads).max(chain).max(issued);
        let is_slow = self.few_registers && self.input == DType::F32 && vectors == 1.0 && pixels >= TALL;
        if is_slow { 2.0 * busiest } else { busiest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Run;

    /// The tile for an image of `size` rows and columns, which do not join, with `k` elements a pixel and `n` channels.
    fn chosen(target: &str, input: DType, size: usize, k: usize, n: usize) -> [usize; 2] {
        let runs = [Run { offset: 0, length: k }];
        let geometry = Geometry {
            input,
            output: input,
            pixels: [1, size, size],
            input_strides: [0, ((size + 2) * k) as isize, k as isize],
            output_strides: [0, (size * n) as isize, n as isize],
            runs: &runs,
            n,
            extra: 0,
            joined: false,
        };
        let Blocking { mr, nr, .. } = choose(&geometry, Target::find(target).expect("listed"));
        [mr, nr]
    }

    #[test]
    fn most_products_have_the_usual_tile() {
        assert_eq!(chosen("x86-64-v3", DType::U8, 28, 1152, 128), [4, 16]);
        assert_eq!(chosen("x86-64-v3", DType::F32, 56, 576, 64), [6, 16]);
        assert_eq!(chosen("x86-64-v4-vnni", DType::U8, 14, 2304, 256), [14, 32]);
    }

    /// Tiles of four and three pixels by two vectors would wait for their sums.
    #[test]
    fn short_rows_of_floats_have_wider_tiles() {
        assert_eq!(chosen("x86-64-v3", DType::F32, 7, 48, 512), [4, 24]);
    }

    /// A row of 7 pixels, every other one of every other row: 28 of 112 KiB are read, 56 written.
    #[test]
    fn bands_count_what_strides_do_not_skip() {
        let runs = [Run { offset: 0, length: 1024 }];
        let strided = Geometry {
            input: DType::F32,
            output: DType::F32,
            pixels: [1, 7, 7],
            input_strides: [0, 28 * 1024, 2048],
            output_strides: [0, 7 * 2048, 2048],
            runs: &runs,
            n: 2048,
            extra: 0,
            joined: false,
        };
        assert_eq!(rows(&strided, HALF_L2), 3);
        assert_eq!(rows(&Geometry { input: DType::U8, output: DType::U8, ..strided }, HALF_L2), 6);
        // Windows overlap: a further row reads one more row of the input.
        let windows = [0, 1, 2].map(|row| Run { offset: row * 9 * 512, length: 3 * 512 });
        let dense = Geometry { input_strides: [0, 9 * 512, 512], runs: &windows, n: 1024, ..strided };
        assert_eq!(rows(&dense, HALF_L2), 65536 / (9 * 512 + 7 * 1024));
    }

    #[test]
    fn a_lone_pixel_has_as_many_channels_as_can_be() {
        assert_eq!(chosen("x86-64-v3", DType::U8, 1, 2048, 1000), [1, 64]);
    }
}

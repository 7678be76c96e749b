//! The choice for a product that nobody has measured: a model of its time, in cycles of one core.
//!
//! A tile takes, group by group, as long as the busiest of what it needs: units that multiply, loads, the chain of
//! additions to a sum, instructions. To that come the start and end of a tile, and weights and inputs that are not in the
//! first-level cache. Proportions matter, not cycles: constants that are no facts of instruction sets were fitted to what
//! `eightfold bench --tune` measured on a Zen 3; benches/README.md says how far off the choices are.

use eightfold_ir::DType;

use super::{Choice, Geometry};
use crate::pack::choose_tile;
use crate::program::Tile;
use crate::target::{Dot, Target};

/// Vectors that a core loads in a cycle, weights and broadcasts.
const LOADS: f64 = 2.0;

/// Instructions that a core takes in a cycle, some of them for loops.
const ISSUE: f64 = 5.0;

/// Cycles to begin and end a tile: pointers, loops, a branch that was not foreseen.
const TILE: f64 = 20.0;

/// Cycles to begin a run that is not written out.
const RUN: f64 = 6.0;

/// Cycles for each register of sums: to set it up and to run the usual steps on it.
const REGISTER: f64 = 1.5;

/// Cycles for each store.
const STORE: f64 = 2.0;

/// Half of the first-level cache: what of it a block's weights may take without losing the inputs.
const HALF_L1: f64 = 16.0 * 1024.0;

/// Bytes a cycle from the second-level cache, and from beyond.
const L2: f64 = 24.0;
const FAR: f64 = 8.0;

/// Bytes of inputs and results of a band: half of a second-level cache.
const HALF_L2: usize = 256 * 1024;

/// The choice.
pub(crate) fn choose(geometry: &Geometry<'_>, target: &Target) -> Choice {
    let Tile { mr, nr, .. } = choose_tile(target, geometry.input, geometry.pixels[2], geometry.n);
    Choice { mr, nr, rows: rows(geometry, HALF_L2) }
}

/// As many rows as keep their inputs and results in so many bytes. A result's cache line takes several blocks, one after
/// the other.
pub(super) fn rows(geometry: &Geometry<'_>, bytes: usize) -> usize {
    let Geometry { pixels, input_strides, n, input, .. } = geometry;
    let row = (input_strides[1].unsigned_abs() + pixels[2] * n) * input.byte_size();
    (bytes / row.max(1)).clamp(1, (pixels[0] * pixels[1]).max(1))
}

/// Cycles of a whole product.
pub(super) fn cycles(geometry: &Geometry<'_>, choice: Choice, target: &Target) -> f64 {
    let lanes = target.lanes();
    let row = geometry.row();
    let rows = geometry.pixels.iter().product::<usize>() / row.max(1);
    let blocks = [
        (geometry.n / choice.nr, choice.nr / lanes),
        (usize::from(!geometry.n.is_multiple_of(choice.nr)), (geometry.n % choice.nr).div_ceil(lanes)),
    ];
    let tiles = [(row / choice.mr, choice.mr), (usize::from(!row.is_multiple_of(choice.mr)), row % choice.mr)];
    let bands = (geometry.pixels[0] * geometry.pixels[1]).div_ceil(choice.rows) as f64;
    let mut cycles = 0.0;
    for (blocks, vectors) in blocks {
        let product = Block::of(geometry, vectors, target);
        for (tiles, pixels) in tiles {
            cycles += (blocks * rows * tiles) as f64 * product.tile(pixels);
        }
        let first = product.tile(choice.mr.min(row));
        cycles += blocks as f64 * bands * (product.weights / FAR - first).max(0.0);
    }
    cycles
}

/// A block of so many vectors of channels.
struct Block {
    vectors: f64,
    groups: f64,
    runs: f64,
    /// Extra groups of a vector.
    extra: f64,
    /// Bytes of weights.
    weights: f64,
    /// Results of one register in those of a store.
    narrow: bool,
    input: DType,
    target_dot: Dot,
}

impl Block {
    fn of(geometry: &Geometry<'_>, vectors: usize, target: &Target) -> Block {
        let kr = 4 / geometry.input.byte_size();
        let groups: usize = geometry.runs.iter().map(|run| run.length.div_ceil(kr)).sum();
        let extra = geometry.extra as f64 / geometry.n.div_ceil(target.lanes()).max(1) as f64;
        Block {
            vectors: vectors as f64,
            groups: groups as f64,
            runs: geometry.runs.len() as f64,
            extra,
            weights: (groups as f64 + extra) * (vectors * 4 * target.lanes()) as f64,
            narrow: geometry.output.bits() == 8,
            input: geometry.input,
            target_dot: target.dot,
        }
    }

    /// Cycles of a tile of so many pixels.
    fn tile(&self, pixels: usize) -> f64 {
        let pixels = pixels as f64;
        let products =
            self.groups * self.group(pixels, self.vectors) + self.extra * self.vectors * self.group(pixels, 1.0);
        let nearest = if self.weights > HALF_L1 { self.weights / L2 } else { 0.0 };
        // Four registers of results become one of bytes; those of a pixel stay together.
        let stores = match self.narrow {
            true => (pixels / (4.0 / self.vectors).floor().max(1.0)).ceil() * 2.0 + pixels,
            false => pixels * self.vectors,
        };
        TILE + self.runs * RUN + products.max(nearest) + pixels * self.vectors * REGISTER + stores * STORE
    }

    /// Cycles of one group of weights for `vectors` vectors and `pixels` pixels.
    fn group(&self, pixels: f64, vectors: f64) -> f64 {
        let sums = pixels * vectors;
        // Cycles of the multipliers, of the chain to a sum, and instructions of a product.
        let (multiply, chain, instructions) = match (self.input, self.target_dot) {
            (DType::F32, _) => (0.5, 4.0, 1.0),
            (DType::Bf16, _) => (1.0, 8.0, 2.0),
            (_, Dot::Vpdpbusd) => (0.5, 4.0, 1.0),
            (_, Dot::Maddubs) => (1.0, 1.0, 3.0),
        };
        let loads = (pixels + vectors) / LOADS;
        let issued = (sums * instructions + pixels + vectors + 1.0) / ISSUE;
        (sums * multiply).max(loads).max(chain).max(issued)
    }
}

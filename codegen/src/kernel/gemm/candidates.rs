//! The candidates for a product, and the cost model's choice among them: tiles, and the number of rows that one block
//! of weights serves.

use eightfold_ir::DType;

use super::Tile;
use super::geometry::Geometry;
use crate::choice::Blocking;
use crate::cpu::CpuModel;
use crate::target::Target;

/// Another tile replaces the usual one if its predicted time is less than this share of the usual one's: the accuracy
/// of the model.
const CLEARLY_LESS: f64 = 0.94;

impl Geometry<'_> {
    /// The cost model's choice.
    #[must_use]
    pub fn blocking(&self, cpu: &CpuModel) -> Blocking {
        choose(self, cpu)
    }
}

/// The usual tile, unless another is clearly faster.
fn choose(geometry: &Geometry<'_>, cpu: &CpuModel) -> Blocking {
    let usual = usual(geometry, cpu);
    // With one pixel, the time is that of reading the weights.
    if geometry.row() <= 1 {
        return usual;
    }
    let cost = |blocking| geometry.cost(blocking, geometry.usual_operations(), cpu);
    match tiles(geometry, cpu, 1).first() {
        Some(best) if cost(*best) < CLEARLY_LESS * cost(usual) => *best,
        _ => usual,
    }
}

/// The usual tile, and the number of rows that fit the second-level cache.
fn usual(geometry: &Geometry<'_>, cpu: &CpuModel) -> Blocking {
    let Tile { mr, nr, .. } = Tile::usual(cpu.target, geometry.input, geometry.row(), geometry.n);
    Blocking { mr, nr, rows: rows(geometry, cpu.room(2)) }
}

/// The number of rows whose inputs and results fit into `bytes`. Results count because several blocks write to one
/// cache line. Elements that a stride skips are left out for floats only; for bytes this made no measured difference.
fn rows(geometry: &Geometry<'_>, bytes: usize) -> usize {
    let Geometry { pixels, input_strides, runs, n, input, .. } = geometry;
    let window: usize = runs.iter().map(|run| run.length).sum();
    let skipping = if *input == DType::F32 { pixels[2] * window } else { usize::MAX };
    let read = input_strides[1].unsigned_abs().min(skipping);
    let row = (read + pixels[2] * n) * input.byte_size();
    (bytes / row.max(1)).clamp(1, (pixels[0] * pixels[1]).max(1))
}

/// Tiles that fit the registers and the channels, with the model's number of rows: the model's best `most`, best first.
pub(crate) fn tiles(geometry: &Geometry<'_>, cpu: &CpuModel, most: usize) -> Vec<Blocking> {
    let (target, lanes) = (cpu.target, cpu.target.lanes());
    let rows = usual(geometry, cpu).rows;
    let widest = geometry.n.div_ceil(lanes).max(1);
    let pixels = geometry.row();
    let mut tiles = Vec::new();
    for vectors in 1..=widest.min(target.vector_registers) {
        // Different `mr` may cut a row into the same tiles: keep one of them.
        let fitting = (1..=pixels.min(target.vector_registers))
            .filter(|mr| geometry.cut(*mr).0.size == *mr && fits(*mr, vectors, geometry.input, target));
        tiles.extend(fitting.map(|mr| Blocking { mr, nr: lanes * vectors, rows }));
    }
    let cost = |tile: &Blocking| geometry.cost(*tile, geometry.usual_operations(), cpu);
    tiles.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    tiles.truncate(most);
    tiles
}

/// Whether the accumulators, the weights, a broadcast input and temporaries of the product fit the registers.
fn fits(mr: usize, vectors: usize, input: DType, target: &Target) -> bool {
    let besides = match input {
        DType::F32 => 0,
        DType::Bf16 if target.bf16 => 0,
        // The halves of the weights and of the inputs.
        DType::Bf16 => 2,
        // A product before it is accumulated.
        DType::I16 => 1,
        _ => target.dot.temporaries,
    };
    // With one pixel, weights are memory operands of the multiplication.
    let weights = if mr == 1 { 1 } else { vectors };
    mr * vectors + weights + 1 + besides <= target.vector_registers
}

/// The same tile with other numbers of rows: rows whose inputs and results fit the first-level cache, the second-level
/// cache, or a size between them; and all rows.
pub(crate) fn bands(choice: Blocking, geometry: &Geometry<'_>, cpu: &CpuModel) -> Vec<Blocking> {
    let [near, far] = [1, 2].map(|level| cpu.room(level));
    let between = (near * far).isqrt();
    let rows = [near, between, far, usize::MAX].map(|bytes| rows(geometry, bytes));
    let mut bands = rows.map(|rows| Blocking { rows, ..choice }).to_vec();
    bands.dedup();
    bands.retain(|band| *band != choice);
    bands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Run;
    use crate::target::TARGETS;

    #[test]
    fn candidates_fit_and_differ() {
        let runs = [Run { offset: 0, length: 48 }];
        for (target, input) in
            TARGETS.iter().flat_map(|t| [(t, DType::U8), (t, DType::I16), (t, DType::F32), (t, DType::Bf16)])
        {
            let geometry = Geometry {
                input,
                format: None,
                output: input,
                pixels: [1, 7, 7],
                input_strides: [0, 700, 64],
                output_strides: [0, 448, 64],
                runs: &runs,
                n: 3 * target.lanes() - 1,
                extra: 0,
                joined: false,
            };
            let cpu = CpuModel::of(target);
            let tiles = tiles(&geometry, cpu, 100);
            assert!(tiles.len() >= 5, "{} {input}: {tiles:?}", target.name);
            for Blocking { mr, nr, rows } in &tiles {
                assert!(nr % target.lanes() == 0 && *nr <= 3 * target.lanes() && *rows > 0);
                assert!(mr * nr / target.lanes() < target.vector_registers);
                // Tiles of 5 and 6 cut rows of 7 into 4 and 3.
                assert!([1, 2, 3, 4, 7].contains(mr), "{mr}");
            }
            let all = bands(tiles[0], &geometry, cpu);
            assert!(all.iter().all(|band| (band.mr, band.nr) == (tiles[0].mr, tiles[0].nr)));
            assert!(tiles[0].rows == 7 || all.iter().any(|band| band.rows == 7), "{all:?}");
        }
    }

    /// The tile for an image of `size` rows and columns that are not contiguous, with `k` elements per pixel and `n`
    /// channels.
    fn chosen(target: &str, input: DType, size: usize, k: usize, n: usize) -> [usize; 2] {
        let runs = [Run { offset: 0, length: k }];
        let geometry = Geometry {
            input,
            format: None,
            output: input,
            pixels: [1, size, size],
            input_strides: [0, ((size + 2) * k) as isize, k as isize],
            output_strides: [0, (size * n) as isize, n as isize],
            runs: &runs,
            n,
            extra: 0,
            joined: false,
        };
        let Blocking { mr, nr, .. } = choose(&geometry, CpuModel::of(Target::find(target).expect("listed")));
        [mr, nr]
    }

    #[test]
    fn most_products_have_the_usual_tile() {
        assert_eq!(chosen("x86-64-v3", DType::U8, 28, 1152, 128), [4, 16]);
        assert_eq!(chosen("x86-64-v3", DType::F32, 56, 576, 64), [6, 16]);
        assert_eq!(chosen("x86-64-v4-vnni", DType::U8, 14, 2304, 256), [14, 32]);
    }

    /// Tiles of three or four pixels by two vectors would wait for the latency of additions.
    #[test]
    fn short_rows_of_floats_have_wider_tiles() {
        assert_eq!(chosen("x86-64-v3", DType::F32, 7, 48, 512), [4, 24]);
    }

    /// A row of 7 pixels at stride 2: 28 of 112 KiB are read, 56 KiB written.
    #[test]
    fn bands_count_what_strides_do_not_skip() {
        const BYTES: usize = 256 << 10;
        let runs = [Run { offset: 0, length: 1024 }];
        let strided = Geometry {
            input: DType::F32,
            format: None,
            output: DType::F32,
            pixels: [1, 7, 7],
            input_strides: [0, 28 * 1024, 2048],
            output_strides: [0, 7 * 2048, 2048],
            runs: &runs,
            n: 2048,
            extra: 0,
            joined: false,
        };
        assert_eq!(rows(&strided, BYTES), 3);
        assert_eq!(rows(&Geometry { input: DType::U8, output: DType::U8, ..strided }, BYTES), 6);
        // Windows overlap: each further output row reads one more input row.
        let windows = [0, 1, 2].map(|row| Run { offset: row * 9 * 512, length: 3 * 512 });
        let dense = Geometry { input_strides: [0, 9 * 512, 512], runs: &windows, n: 1024, ..strided };
        assert_eq!(rows(&dense, BYTES), 65536 / (9 * 512 + 7 * 1024));
    }

    #[test]
    fn a_lone_pixel_has_as_many_channels_as_can_be() {
        assert_eq!(chosen("x86-64-v3", DType::U8, 1, 2048, 1000), [1, 64]);
    }
}

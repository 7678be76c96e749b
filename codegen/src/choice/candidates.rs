//! The candidates for a product: tiles, and how many rows one block of weights serves.

use eightfold_ir::DType;

use super::{Blocking, cost};
use crate::kernel::Geometry;
use crate::target::Target;

/// Bytes of inputs and results that one block of weights may serve: parts of two levels of cache, and everything.
const BANDS: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, usize::MAX];

/// Tiles that fit the registers and the channels, with the model's number of rows; at most `most`, the model's best first.
pub(crate) fn tiles(geometry: &Geometry<'_>, target: &Target, most: usize) -> Vec<Blocking> {
    let lanes = target.lanes();
    let rows = cost::usual(geometry, target).rows;
    let widest = geometry.n.div_ceil(lanes).max(1);
    let pixels = geometry.row();
    let mut tiles = Vec::new();
    for vectors in 1..=widest.min(target.vector_registers) {
        // Tiles that cut a row into equal pieces are one candidate.
        let fitting = (1..=pixels.min(target.vector_registers))
            .filter(|mr| geometry.cut(*mr).0.size == *mr && fits(*mr, vectors, geometry.input, target));
        tiles.extend(fitting.map(|mr| Blocking { mr, nr: lanes * vectors, rows }));
    }
    tiles.sort_by(|a, b| cost::cycles(geometry, *a, target).total_cmp(&cost::cycles(geometry, *b, target)));
    tiles.truncate(most);
    tiles
}

/// Whether the accumulators, the weights, a broadcast input and temporaries of the product fit the registers.
fn fits(mr: usize, vectors: usize, input: DType, target: &Target) -> bool {
    let besides = match input {
        DType::F32 => 0,
        DType::Bf16 if target.bf16 => 0,
        // Halves of the weights and of the inputs.
        DType::Bf16 => 2,
        // A product before it is accumulated.
        DType::I16 => 1,
        _ => target.dot.temporaries,
    };
    // With one pixel, weights are memory operands of the multiplication.
    let weights = if mr == 1 { 1 } else { vectors };
    mr * vectors + weights + 1 + besides <= target.vector_registers
}

/// The same tile with other numbers of rows.
pub(crate) fn bands(choice: Blocking, geometry: &Geometry<'_>) -> Vec<Blocking> {
    let mut bands: Vec<Blocking> =
        BANDS.iter().map(|bytes| Blocking { rows: cost::rows(geometry, *bytes), ..choice }).collect();
    bands.dedup();
    bands.retain(|band| *band != choice);
    bands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Run;
    use crate::target::TARGETS;

    #[test]
    fn candidates_fit_and_differ() {
        let runs = [Run { offset: 0, length: 48 }];
        for (target, input) in
            TARGETS.iter().flat_map(|t| [(t, DType::U8), (t, DType::I16), (t, DType::F32), (t, DType::Bf16)])
        {
            let geometry = Geometry {
                input,
                output: input,
                pixels: [1, 7, 7],
                input_strides: [0, 700, 64],
                output_strides: [0, 448, 64],
                runs: &runs,
                n: 3 * target.lanes() - 1,
                extra: 0,
                joined: false,
            };
            let tiles = tiles(&geometry, target, 100);
            assert!(tiles.len() >= 5, "{} {input}: {tiles:?}", target.name);
            for Blocking { mr, nr, rows } in &tiles {
                assert!(nr % target.lanes() == 0 && *nr <= 3 * target.lanes() && *rows > 0);
                assert!(mr * nr / target.lanes() < target.vector_registers);
                // Rows of 7 in tiles of 5 and 6 are cut into 4 and 3.
                assert!([1, 2, 3, 4, 7].contains(mr), "{mr}");
            }
            let all = bands(tiles[0], &geometry);
            assert!(all.iter().all(|band| (band.mr, band.nr) == (tiles[0].mr, tiles[0].nr)));
            assert!(tiles[0].rows == 7 || all.iter().any(|band| band.rows == 7), "{all:?}");
        }
    }
}

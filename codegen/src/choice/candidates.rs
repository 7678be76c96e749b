//! The choices that there are for a product.

use eightfold_ir::DType;

use super::{Choice, Geometry, cost};
use crate::target::{Dot, Target};

/// Bytes of inputs and results that a band may have: about what two levels of cache hold, and parts of it.
const BANDS: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, usize::MAX];

/// Tiles that fit the registers and the channels, with the rows that the model chooses: the `most` best by the model.
pub(crate) fn tiles(geometry: &Geometry<'_>, target: &Target, most: usize) -> Vec<Choice> {
    let lanes = target.lanes();
    let rows = geometry.choice(target).rows;
    let widest = geometry.n.div_ceil(lanes).max(1);
    let pixels = geometry.row();
    let mut tiles = Vec::new();
    for vectors in 1..=widest.min(target.vector_registers) {
        let fitting = (1..=pixels.min(target.vector_registers)).filter(|mr| fits(*mr, vectors, geometry.input, target));
        tiles.extend(fitting.map(|mr| Choice { mr, nr: lanes * vectors, rows }));
    }
    tiles.sort_by(|a, b| cost::cycles(geometry, *a, target).total_cmp(&cost::cycles(geometry, *b, target)));
    tiles.truncate(most);
    tiles
}

/// Whether sums, weights or broadcasts, and what the product needs besides fit the registers.
fn fits(mr: usize, vectors: usize, input: DType, target: &Target) -> bool {
    let besides = match (input, target.dot) {
        (DType::F32, _) => 0,
        (DType::Bf16, _) => {
            if target.bf16 {
                0
            } else {
                2
            }
        }
        (_, Dot::Vpdpbusd) => 0,
        // A vector of ones and a product on its way.
        (_, Dot::Maddubs) => 2,
    };
    mr * vectors + mr.min(vectors) + 1 + besides <= target.vector_registers
}

/// The same tile with other bands.
pub(crate) fn bands(choice: Choice, geometry: &Geometry<'_>) -> Vec<Choice> {
    let mut bands: Vec<Choice> =
        BANDS.iter().map(|bytes| Choice { rows: cost::rows(geometry, *bytes), ..choice }).collect();
    bands.dedup();
    bands.retain(|band| *band != choice);
    bands
}

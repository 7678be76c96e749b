//! How the pixels of a product are cut into tiles and bands.
//!
//! Invariant: each pixel is in one tile, each tile in one band, and tiles follow the order of the pixels.

use eightfold_ir::DType;

use crate::kernel::Gemm;

/// From this number of groups on, the sum of a tile takes so long that the address of each of its pixels can be computed for free.
/// Tiles of words are excluded: they have more pixels, whose addresses do not fit the registers (benches/notes/products.md).
const LONG: usize = 64;

/// How a row of pixels is cut into tiles: the fewest possible, of nearly equal size, because tiles of few pixels are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Pixels of the first tiles.
    pub(crate) size: usize,
    /// Tiles of this size.
    pub(crate) large: usize,
    /// Tiles after those, which have one pixel less.
    pub(crate) small: usize,
}

impl Cut {
    /// Tiles of at most `mr` pixels for a row of `cols`.
    fn of(cols: usize, mr: usize) -> Cut {
        let tiles = cols.div_ceil(mr);
        let size = cols.div_ceil(tiles.max(1));
        let small = tiles * size - cols;
        Cut { size, large: tiles - small, small }
    }

    /// Tiles for `rows` rows of `cols` pixels, for sums of `groups` groups of this type. The second value tells whether the tiles
    /// are those of all pixels as one row; otherwise they are those of each row.
    pub(crate) fn of_rows(rows: usize, cols: usize, mr: usize, groups: usize, input: DType) -> (Cut, bool) {
        let (row, all) = (Cut::of(cols, mr), Cut::of(rows * cols, mr));
        let long = groups >= LONG && input != DType::I16;
        let wrapped = rows > 1 && long && 16 * all.tiles() <= 15 * rows * row.tiles();
        (if wrapped { all } else { row }, wrapped)
    }

    pub(super) fn tiles(self) -> usize {
        self.large + self.small
    }
}

/// How all pixels are walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Tiles of a row, or of all pixels where these are cut as one row.
    pub(super) cut: Cut,
    /// Whether all pixels are cut as one row.
    pub(super) long: bool,
    /// Whether these pixels are several rows in memory, so that a tile may continue in the next row.
    pub(super) wrapped: bool,
    /// Rows of a band, or tiles where all pixels are cut as one row.
    pub(super) band: usize,
    /// Bytes of the next block's weights that each tile prefetches. Otherwise the first tile of a block would wait for memory;
    /// now the tiles of the block before it share the transfer.
    pub(super) slice: Option<usize>,
}

impl Walk {
    /// A walk over pixels of these extents, after axes were joined; before, rows had `columns` pixels. A block of weights has
    /// `groups` groups. It takes `far` bytes, which is `None` if the weights are in the second-level cache.
    pub(super) fn of(
        gemm: &Gemm,
        columns: usize,
        [_, rows, cols]: [usize; 3],
        groups: usize,
        far: Option<usize>,
    ) -> Walk {
        let mr = gemm.tile().mr;
        let (cut, wrapped) = Cut::of_rows(rows, cols, mr, groups, gemm.input);
        let long = rows == 1 || wrapped;
        let (band, tiles) = if long {
            let band = (gemm.row_block * columns.max(1) / mr).max(1);
            (band, band.min(cut.tiles()))
        } else {
            let band = gemm.row_block.max(1);
            (band, band.min(rows) * cut.tiles())
        };
        let slice = far.filter(|_| tiles > 1).map(|bytes| bytes.div_ceil(tiles));
        Walk { cut, long, wrapped, band, slice }
    }
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn tiles_are_few_and_of_nearly_one_size() {
        let sizes = |cols, mr| {
            let Cut { size, large, small } = Cut::of(cols, mr);
            [vec![size; large], vec![size.saturating_sub(1); small]].concat()
        };
        assert_eq!(sizes(7, 6), [4, 3]);
        assert_eq!(sizes(14, 6), [5, 5, 4]);
        assert_eq!(sizes(28, 6), [6, 6, 6, 5, 5]);
        assert_eq!(sizes(28, 14), [14, 14]);
        assert_eq!(sizes(5, 4), [3, 2]);
        assert_eq!(sizes(3, 1), [1, 1, 1]);
        assert!(sizes(0, 4).is_empty());
    }
}

//! How the pixels of a product are cut into tiles and bands.
//!
//! Invariant: each pixel is in one tile, each tile in one band, and tiles follow the order of the pixels.

use eightfold_ir::DType;

use crate::kernel::Gemm;

/// With at least this many groups, a tile takes so long that computing the address of each of its pixels costs nothing.
/// Tiles of words are excluded: they have more pixels, and the addresses do not fit the registers
/// (benches/notes/products.md).
const LONG: usize = 64;

/// How a row of pixels is cut into tiles: as few as possible, of nearly equal size, because tiles of few pixels are
/// slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Pixels of the first `large` tiles.
    pub(crate) size: usize,
    /// Number of tiles of this size.
    pub(crate) large: usize,
    /// Number of tiles after those, with one pixel less.
    pub(crate) small: usize,
}

impl Cut {
    /// Cuts a row of `cols` pixels into tiles of at most `mr`.
    fn of(cols: usize, mr: usize) -> Cut {
        let tiles = cols.div_ceil(mr);
        let size = cols.div_ceil(tiles.max(1));
        let small = tiles * size - cols;
        Cut { size, large: tiles - small, small }
    }

    /// Cuts `rows` rows of `cols` pixels into tiles of at most `mr`. If a reduction has many `groups`, all pixels may
    /// be cut as one row; the second result says whether they are. Otherwise each row is cut alone.
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

/// The order in which all pixels are computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The tiles of a row, or of all pixels if these are cut as one row.
    pub(super) cut: Cut,
    /// Whether all pixels are cut as one row.
    pub(super) long: bool,
    /// Whether these pixels are several rows in memory, so that a tile may continue in the next row.
    pub(super) wrapped: bool,
    /// Rows per band, or tiles per band if all pixels are cut as one row.
    pub(super) band: usize,
    /// Bytes of the next block's weights that each tile prefetches. So the tiles of one block share the transfer, and
    /// the first tile of the next block does not wait for memory.
    pub(super) slice: Option<usize>,
}

impl Walk {
    /// The walk over pixels of these extents, which are those after axes were joined; before, a row had `columns`
    /// pixels. A block of weights has `groups` groups. `far` is its size in bytes, or `None` if the weights are in the
    /// second-level cache.
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

//! How the pixels of a product are cut into tiles and bands.
//!
//! Invariant: each pixel is in one tile, and each tile in one band; tiles take the pixels in order. What is done with them
//! is not known here.

use eightfold_ir::DType;

use crate::program::Gemm;

/// Groups of a sum that takes so long that it costs nothing to find each pixel of its tile on its own. Sums of words never
/// do: places of as many pixels as their tiles have do not fit the registers (benches/README.md).
const LONG: usize = 64;

/// How a row of pixels is cut into tiles: as few as can be, of nearly one size, as tiles of few pixels are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Pixels of the first tiles.
    pub(crate) size: usize,
    /// Tiles of this size.
    pub(crate) large: usize,
    /// How many, after those, have one pixel less.
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

    /// Tiles of `rows` rows of `cols` pixels, for sums of `groups` groups of this type: of each row, or, which the second
    /// says, of all pixels as one row.
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
    /// Whether they are several rows nonetheless, so that tiles go on behind the ends of rows.
    pub(super) wrapped: bool,
    /// Rows of a band, or tiles where all pixels are cut as one row.
    pub(super) band: usize,
    /// Bytes of the next block's weights that are fetched while a tile is summed up. The first tile of a block would read
    /// weights faster than memory yields them: so all tiles of the block before it fetch their share.
    pub(super) slice: Option<usize>,
}

impl Walk {
    /// A walk over `extents` of pixels, after axes were joined; a block of weights has this many groups and, where they come
    /// from afar, `far` bytes.
    pub(super) fn of(gemm: &Gemm, [_, rows, cols]: [usize; 3], groups: usize, far: Option<usize>) -> Walk {
        let mr = gemm.tile().mr;
        let (cut, wrapped) = Cut::of_rows(rows, cols, mr, groups, gemm.input);
        let long = rows == 1 || wrapped;
        let (band, tiles) = if long {
            let band = (gemm.row_block * gemm.pixels[2].max(1) / mr).max(1);
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

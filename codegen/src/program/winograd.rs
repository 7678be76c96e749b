//! 3 x 3 convolutions by Winograd's F(2x2, 3x3): tiles of the input, and their products.

use eightfold_ir::DType;

use super::Tile;

/// Tiles of an input as Winograd's F(2x2, 3x3) multiplies them (Lavin and Gray, 2015, "Fast Algorithms for Convolutional
/// Neural Networks"): 4 x 4 inputs `d` at a distance of two rows and columns become `B^T d B`, 16 sums of up to four inputs.
///
/// Operand 0 is the input, its channels adjacent, its offset at the first element of the first tile, readable for whole
/// vectors behind its last channel. The result is of i16, its channels adjacent: batch, channels, rows of tiles, and 16 times
/// columns of tiles, first those of position (0, 0) within their tiles, then (0, 1), and so on, with or without columns of no
/// tile behind each.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradInput {
    /// Type of the input's elements: u8 or i8.
    pub input: DType,
    /// Tiles: batch, rows, cols.
    pub tiles: [usize; 3],
    /// Distance in input elements of neighbouring tiles.
    pub input_strides: [isize; 3],
    /// Distance in elements of neighbouring rows and columns of a tile.
    pub steps: [isize; 2],
    /// Distance in elements of the result from one position of a tile to the next.
    pub position: isize,
    /// Channels.
    pub channels: usize,
}

impl WinogradInput {
    /// Rows and columns of a tile.
    pub const TILE: usize = 4;

    /// Distance in elements of each position of a tile from its first, row by row.
    #[must_use]
    pub fn taps(&self) -> Vec<isize> {
        let [row, column] = self.steps;
        let at = |position: usize| (position / Self::TILE) as isize * row + (position % Self::TILE) as isize * column;
        (0..Winograd::POSITIONS).map(at).collect()
    }
}

/// A 3 x 3 convolution of stride 1 over [tiles](WinogradInput) of its input, each of which yields 2 x 2 pixels: at each of
/// the 16 positions within a tile a product of matrices `M`, then `A^T M A`, 16 products instead of 36. Over integers it is
/// exact: weights are `(2G) g (2G)^T`, so that there are no halves, and sums are four times those of the convolution.
///
/// Operands: the tiles; the packed weights, as those of a [`Gemm`](super::Gemm) of 16 runs, one a position; what is added to the sums,
/// one i32 a channel, padded to whole blocks. The result's channels are adjacent in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Winograd {
    /// Tiles: batch, rows, cols.
    pub tiles: [usize; 3],
    /// Distance in input elements of neighbouring tiles.
    pub input_strides: [isize; 3],
    /// Distance in input elements from one position of a tile to the next.
    pub position: isize,
    /// Distance in output elements of neighbouring pixels along batch, rows, cols.
    pub output_strides: [isize; 3],
    /// Input channels.
    pub depth: usize,
    /// Output channels.
    pub n: usize,
    /// The tile of each product: tiles of the input by channels.
    pub tile: Tile,
    /// Rows of tiles that are done with one block of weights before the next block.
    pub row_block: usize,
}

impl Winograd {
    /// Numbers of a tile.
    pub const POSITIONS: usize = WinogradInput::TILE * WinogradInput::TILE;

    /// Rows and columns of the result that a tile yields.
    pub const YIELD: usize = 2;

    /// Bytes of one block's packed weights at one position.
    #[must_use]
    pub fn position_bytes(&self) -> usize {
        self.depth.div_ceil(self.tile.kr) * self.tile.kr * self.tile.nr * DType::I16.byte_size()
    }
}

//! `winograd_input`: transforms an input into tiles for Winograd's F(2x2, 3x3).

mod emit;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use eightfold_ir::DType;

use super::attribute::attributes;
use super::window::{self, Window};
use super::{KernelDef, is_of_pixels};
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::{Grid, View};

/// Tiles of an input for Winograd's F(2x2, 3x3) (Lavin and Gray, 2015, "Fast Algorithms for Convolutional Neural
/// Networks"). Tiles are 4 x 4 inputs `d`, two rows and columns apart. Each becomes `B^T d B`: 16 sums of up to four
/// inputs.
///
/// Operand 0 is the input. Its channels are adjacent, its offset is the first element of the first tile, and whole
/// vectors are readable beyond its last channel. The result is of i16 with adjacent channels. Its axes are batch,
/// channels, rows of tiles, and columns: first the columns of tiles for position (0, 0) within a tile, then for
/// position (0, 1), and so on. Each position may have unused columns at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct WinogradInput {
    /// Type of the input's elements: u8 or i8.
    pub input: DType,
    /// Columns of tiles.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
}

impl WinogradInput {
    /// Rows and columns of a tile.
    pub const TILE: usize = 4;

    /// Elements of a tile.
    pub const POSITIONS: usize = Self::TILE * Self::TILE;

    /// Operations per result: a widening, an addition along columns and one along rows. A 32-bit lane holds two
    /// results.
    pub(crate) const OPERATIONS: f64 = 4.0 / 2.0;

    /// Distance in input elements of each position of a tile from the first position, row by row.
    #[must_use]
    pub fn taps(input: &Grid) -> Vec<isize> {
        let [_, row, column] = input.pixel_strides();
        let at = |position: usize| (position / Self::TILE) as isize * row + (position % Self::TILE) as isize * column;
        (0..Self::POSITIONS).map(at).collect()
    }
}

impl WinogradInput {
    /// The input elements that the tiles read.
    fn under(&self, call: &Call) -> Window {
        let runs = WinogradInput::taps(&call.operands[0].grid).into_iter().map(|tap| (tap, self.channels)).collect();
        Window { pixels: self.tiles(&call.output.grid), ..Window::of(call, STRIDES, runs) }
    }

    /// The number of tiles of a result: batch, rows, columns.
    pub(crate) fn tiles(&self, output: &Grid) -> [usize; 3] {
        [output.dims[0], output.dims[2], self.columns]
    }
}

/// Distance between neighbouring tiles, in rows and columns of the input.
const STRIDES: [usize; 2] = [2; 2];

/// Distance in elements between neighbouring positions of a tile, in a grid of tiles.
pub(crate) fn position(tiles: &Grid) -> isize {
    (tiles.dims[3] / WinogradInput::POSITIONS) as isize * tiles.strides[3]
}

attributes! { WinogradInput { input, columns, channels } }

impl KernelDef for WinogradInput {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        if !is_of_pixels(call, self.channels) {
            return Some("operand 0 and the result must have rank 4, the result as many channels");
        }
        let positions = call.output.grid.dims[3];
        let enough = positions.is_multiple_of(Self::POSITIONS) && positions / Self::POSITIONS >= self.columns;
        (!enough).then_some("the result must have 16 columns for each column of tiles")
    }

    fn variant(&self) -> String {
        format!("_{}", self.input)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self, parameters);
    }

    fn unaliased(&self) -> usize {
        1
    }

    fn input_window(&self, call: &Call) -> Option<Window> {
        Some(self.under(call))
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        matches!(axis, 0 | 2).then_some(1)
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        let reach = WinogradInput::taps(&operands[0].grid).into_iter().max().unwrap_or(0);
        window::narrow(&mut operands[0], STRIDES, reach, axis, range);
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (DType::I16, call.results() * WinogradInput::OPERATIONS)
    }
}

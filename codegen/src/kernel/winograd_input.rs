//! `winograd_input`: tiles of an input as Winograd's F(2x2, 3x3) multiplies them.

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
    /// Columns of tiles.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
}

impl WinogradInput {
    /// Rows and columns of a tile.
    pub const TILE: usize = 4;

    /// Numbers of a tile.
    pub const POSITIONS: usize = Self::TILE * Self::TILE;

    /// Operations for each result: of a register of 16 words a register of bytes is widened, and two pairs are added twice.
    pub(crate) const OPERATIONS: f64 = 4.0 / 2.0;

    /// Distance in elements of the input of each position of a tile from its first, row by row.
    #[must_use]
    pub fn taps(input: &Grid) -> Vec<isize> {
        let [_, row, column] = input.pixel_strides();
        let at = |position: usize| (position / Self::TILE) as isize * row + (position % Self::TILE) as isize * column;
        (0..Self::POSITIONS).map(at).collect()
    }
}

impl WinogradInput {
    /// What lies under the tiles.
    fn under(&self, call: &Call) -> Window {
        let runs = WinogradInput::taps(&call.operands[0].grid).into_iter().map(|tap| (tap, self.channels)).collect();
        Window { pixels: self.tiles(&call.output.grid), ..Window::of(call, STRIDES, runs) }
    }

    /// Tiles of a result: batch, rows, columns.
    pub(crate) fn tiles(&self, output: &Grid) -> [usize; 3] {
        [output.dims[0], output.dims[2], self.columns]
    }
}

/// Rows and columns of the input from one tile to the next.
const STRIDES: [usize; 2] = [2; 2];

/// Distance in elements from one position of a tile to the next, in a grid of tiles.
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

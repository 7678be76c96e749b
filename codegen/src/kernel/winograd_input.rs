//! `winograd_input`: tiles of an input as Winograd's F(2x2, 3x3) multiplies them.

mod emit;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use eightfold_ir::DType;

use super::KernelDef;
use super::attribute::attributes;
use super::window::Window;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::View;

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

    /// Numbers of a tile.
    pub const POSITIONS: usize = Self::TILE * Self::TILE;

    /// Operations for each result: of a register of 16 words a register of bytes is widened, and two pairs are added twice.
    pub(crate) const OPERATIONS: f64 = 4.0 / 2.0;

    /// Distance in elements of each position of a tile from its first, row by row.
    #[must_use]
    pub fn taps(&self) -> Vec<isize> {
        let [row, column] = self.steps;
        let at = |position: usize| (position / Self::TILE) as isize * row + (position % Self::TILE) as isize * column;
        (0..Self::POSITIONS).map(at).collect()
    }
}

impl WinogradInput {
    /// What lies under the tiles.
    fn under(&self) -> Window {
        let runs = self.taps().into_iter().map(|tap| (tap, self.channels)).collect();
        Window { pixels: self.tiles, strides: self.input_strides, runs }
    }
}

attributes! { WinogradInput { input, tiles, input_strides, steps, position, channels } }

impl KernelDef for WinogradInput {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        let fits = call.rank(0) == 4 && call.rank_of_output() == 4 && call.output.grid.dims[0] == self.tiles[0];
        (!fits).then_some("the operand and the result must have rank 4 and the number of images that the tiles have")
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

    fn input_window(&self) -> Option<Window> {
        Some(self.under())
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    fn set_batch_strides(&mut self, input: Option<isize>, _output: Option<isize>) {
        self.input_strides[0] = input.unwrap_or(self.input_strides[0]);
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        matches!(axis, 0 | 2).then_some(1)
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        self.tiles = self.under().part(&mut operands[0], axis, range);
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (DType::I16, call.results() * WinogradInput::OPERATIONS)
    }
}

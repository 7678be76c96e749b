//! `winograd`: 3 x 3 convolutions of stride 1 over [tiles](super::winograd_input).

mod emit;
mod pack;
mod rewrite;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use eightfold_ir::DType;

pub(crate) use self::rewrite::tiled;
use super::attribute::{Attribute, attributes};
use super::gemm::cost::words;
use super::gemm::geometry::Geometry;
use super::gemm::{self, Run, Tile, leave_blocks, pixel_count};
use super::plain::{self, Constants, Packed, Plain};
use super::winograd_input::WinogradInput;
use super::{KernelDef, is_of_pixels};
use crate::choice::Blocking;
use crate::cpu::CpuModel;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::{Grid, View};

/// A 3 x 3 convolution of stride 1 by Winograd's method. Each [tile](WinogradInput) of its input yields 2 x 2 pixels.
/// Each of the 16 positions of a tile has a matrix product, which gives `M`; then `(A^T M A) / 4` are the accumulators
/// of the pixels. This takes 16 products instead of 36. It is exact on integers: weights are `(2G) g (2G)^T`, which has
/// no fractions; hence the factor 4.
///
/// Operands: the tiles; the weights and the bias, [plain](Plain) before packing. Packed weights are those of a
/// [`Gemm`](super::gemm::Gemm) with 16 runs, one per position. The packed bias is one i32 per channel, padded to whole
/// blocks. The result's channels are adjacent in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Winograd {
    /// Input channels.
    pub depth: usize,
    /// Output channels.
    pub n: usize,
    /// The tile of each matrix product: `mr` input tiles by `nr` channels.
    pub tile: Tile,
    /// Rows of tiles that one block of weights serves before the next block is loaded.
    pub row_block: usize,
    /// The data that packing needs besides the constants; `None` once they are packed.
    pub plain: Option<Plain>,
}

impl Winograd {
    /// Rows and columns of the result that a tile yields.
    pub const YIELD: usize = 2;

    /// Operations per result: for four results 16 loads, 16 stores and 24 additions; then a shift and an addition each.
    pub(crate) const OPERATIONS: f64 = 56.0 / 4.0 + 2.0;

    /// Bytes of one block's packed weights at one position.
    #[must_use]
    pub fn position_bytes(&self) -> usize {
        self.depth.div_ceil(self.tile.kr) * self.tile.kr * self.tile.nr * DType::I16.byte_size()
    }
}

/// Products of a direct 3 x 3 convolution for the pixels that a tile yields, per input and output channel.
const WINDOWS: usize = 9 * Winograd::YIELD * Winograd::YIELD;

impl Winograd {
    /// Bytes of the packed weights and of the packed bias, of all blocks.
    fn block_bytes(&self) -> [usize; 2] {
        let blocks = self.n.div_ceil(self.tile.nr);
        [WinogradInput::POSITIONS * self.position_bytes() * blocks, 4 * self.tile.nr * blocks]
    }

    /// Restricts the packed constants to these channels.
    fn leave_channels(&self, operands: &mut [View], range: &Range<usize>) {
        let block = WinogradInput::POSITIONS * self.position_bytes();
        leave_blocks(operands, self.tile.nr, range, |blocks| block * blocks);
    }

    /// Nanoseconds of the products at all positions, whose accumulators are stored, for tiles and results with these
    /// grids.
    pub(crate) fn positions_ns(&self, tiles: &Grid, output: &Grid, cpu: &CpuModel) -> f64 {
        let Tile { mr, nr, .. } = self.tile;
        let position = Geometry {
            input: DType::I16,
            format: None,
            output: DType::I32,
            pixels: Winograd::tiles(output),
            input_strides: tiles.pixel_strides(),
            output_strides: output.pixel_strides(),
            runs: &[Run { offset: 0, length: self.depth }],
            n: self.n,
            extra: 0,
            joined: false,
        };
        WinogradInput::POSITIONS as f64 * position.cost(Blocking { mr, nr, rows: self.row_block }, 0.0, cpu)
    }

    /// The number of tiles that yield a result: batch, rows, columns.
    pub(crate) fn tiles(output: &Grid) -> [usize; 3] {
        let [batch, rows, columns] = output.pixels();
        [batch, rows / Winograd::YIELD, columns / Winograd::YIELD]
    }
}

/// The number of tiles that yield the result of a call.
fn tile_count(call: &Call) -> usize {
    Winograd::tiles(&call.output.grid).iter().product()
}

attributes! { Winograd { depth, n, tile, row_block, plain }, not in keys { tile, row_block, plain } }

impl KernelDef for Winograd {
    fn operand_count(&self) -> usize {
        3
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        let whole = || call.output.grid.dims[2..].iter().all(|extent| extent.is_multiple_of(Winograd::YIELD));
        let covers = || {
            let [batch, rows, columns] = Winograd::tiles(&call.output.grid);
            let [images, depth, tile_rows, positions] = call.operands[0].grid.dims[..] else { return false };
            let enough =
                positions.is_multiple_of(WinogradInput::POSITIONS) && positions / WinogradInput::POSITIONS >= columns;
            [images, depth, tile_rows] == [batch, self.depth, rows] && enough
        };
        if !is_of_pixels(call, self.n) || !whole() || !covers() {
            return Some("the result must have n channels, and two rows and columns for each tile of operand 0");
        }
        let Tile { mr, nr, kr } = self.tile;
        if mr * nr * kr * self.row_block == 0 {
            return Some("the tile and row_block must be positive");
        }
        let wrong = plain::misfit(self.plain?, call, self.n);
        let covers = || call.operands[1].grid.dims[1..] == [3, 3, self.depth];
        wrong.or_else(|| (!covers()).then_some("plain weights must be windows of 3 x 3 over the depth"))
    }

    fn variant(&self) -> String {
        let Tile { mr, nr, kr } = self.tile;
        format!("_{mr}x{nr}c{kr}")
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self, parameters);
    }

    fn unaliased(&self) -> usize {
        3
    }

    fn weights(&self) -> Option<usize> {
        Some(1)
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    fn input_rows(&self, _input: &View, rows: Range<usize>) -> Range<usize> {
        rows.start / Winograd::YIELD..(rows.end - 1) / Winograd::YIELD + 1
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        match axis {
            1 => Some(self.tile.nr),
            2 => Some(Winograd::YIELD),
            3 => None,
            _ => Some(1),
        }
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        if axis == 1 {
            match &mut self.plain {
                Some(plain) => plain.first += range.start,
                None => self.leave_channels(operands, range),
            }
            self.n = range.len();
            return;
        }
        let together = if axis == 2 { Winograd::YIELD } else { 1 };
        operands[0].narrow(axis, &(range.start / together..range.end / together));
    }

    fn plain(&self) -> Option<Plain> {
        self.plain
    }

    fn packing(&self) -> String {
        self.tile.text()
    }

    fn pack(&self, constants: &Constants, _target: &Target) -> Packed {
        let ([n, _, _, depth], int) = (constants.dims(), constants.int());
        let window = |o: usize, c: usize| (0..9).map(move |tap| [o, tap / 3, tap % 3, c]).map(|at| i64::from(int(at)));
        let windows: Vec<i64> = (0..n).flat_map(|o| (0..depth).flat_map(move |c| window(o, c))).collect();
        let transformed = pack::transformed(&windows);
        let runs = [Run { offset: 0, length: depth }; WinogradInput::POSITIONS];
        let weight = |o: usize, position: usize, channel: usize| i32::from(transformed[o * depth + channel][position]);
        let zero_point = self.plain.map_or(0, |plain| i64::from(plain.zero_point));
        let total = |o: usize| windows[o * depth * 9..][..depth * 9].iter().sum::<i64>();
        let sums = constants.int_bias().iter().enumerate().map(|(o, b)| b - zero_point * total(o)).collect::<Vec<_>>();
        gemm::pack::words(self.tile, n, &runs, &weight, &sums)
    }

    fn packed_types(&self) -> [DType; 2] {
        [DType::I16, DType::I32]
    }

    fn packed_bytes(&self, _target: &Target) -> [usize; 2] {
        self.block_bytes()
    }

    fn take_packed(&mut self, operands: &mut [View], _extra: &[Vec<isize>]) {
        if let Some(Plain { first, .. }) = self.plain.take() {
            self.leave_channels(operands, &(first..first + self.n));
        }
    }

    fn forget_plain(&mut self) {
        self.plain = None;
    }

    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        match (index, self.plain) {
            (1 | 2, Some(_)) => self.block_bytes()[index - 1] as u64,
            _ => call.operands[index].distinct_bytes(),
        }
    }

    /// The multiply-accumulates of the direct convolution.
    fn macs(&self, call: &Call) -> usize {
        tile_count(call) * WINDOWS * self.depth * self.n
    }

    fn executed_macs(&self, call: &Call, target: &Target) -> usize {
        let depth = self.depth.next_multiple_of(self.tile.kr);
        tile_count(call) * WINDOWS * depth * self.n.next_multiple_of(target.lanes())
    }

    fn instructions(&self, target: &Target) -> f64 {
        words(target.dot) * WinogradInput::POSITIONS as f64 / WINDOWS as f64
    }

    fn products_ns(&self, call: &Call, cpu: &CpuModel) -> f64 {
        self.positions_ns(&call.operands[0].grid, &call.output.grid, cpu)
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (DType::I32, call.results() * Winograd::OPERATIONS)
    }

    fn shape(&self, call: &Call) -> String {
        let pixels = pixel_count(call);
        format!("{pixels}x{}x{}", self.depth * WINDOWS / (Winograd::YIELD * Winograd::YIELD), self.n)
    }
}

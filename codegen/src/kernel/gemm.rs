//! `gemm`: sums of products with constant weights, convolutions as implicit products among them.

pub(crate) mod cost;
mod emit;
pub(crate) mod geometry;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::ops::Range;

use eightfold_ir::DType;

pub(crate) use self::emit::emit_within;
use super::attribute::{Attribute, attributes, join, split};
use super::window::Window;
use super::{KernelDef, is_of_pixels};
use crate::choice::Blocking;
use crate::cpu::{Arithmetic, CpuModel};
use crate::llvm::vector::{Emitter, Ptr};
use crate::program::{Call, Grid, View};
use crate::target::Target;
use crate::work::distinct_bytes;

/// Contiguous elements under one output pixel of a convolution: a row of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Distance in elements from the pixel's first input element; negative into padding before it.
    pub offset: isize,
    /// Elements; reading them rounded up to four is safe.
    pub length: usize,
}

/// A sum of products with constant weights over an output of `batch x rows x cols` pixels and `n` channels: convolution
/// as an implicit product of matrices, and the product of matrices itself (`rows` = 1, one run).
///
/// Operand 0 is the input, with its view's offset at the input element of output pixel (0, 0, 0). Constant operands
/// follow: the packed weights, and the initial sums, one i32 or f32 a channel, padded to whole tiles.
/// The result's channels are adjacent in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Type of the input's elements: u8, i8, i16 that are bytes ([`crate::pack`]), bf16 or f32.
    pub input: DType,
    /// Output pixels.
    pub pixels: [usize; 3],
    /// Distance in input elements of neighbouring output pixels along batch, rows, cols.
    pub input_strides: [isize; 3],
    /// Distance in output elements of neighbouring output pixels along batch, rows, cols.
    pub output_strides: [isize; 3],
    /// What lies under a pixel.
    pub runs: Vec<Run>,
    /// Output channels.
    pub n: usize,
    /// Pixels and channels of a tile, and the elements of a run that one lane of a product takes (4 bytes, 2 words or bf16, 1 float).
    pub tile: Tile,
    /// Extra entries that carry what 8 bits (or the target's products) could not hold of the weights, for each vector of
    /// channels; empty for floats.
    pub extra: Vec<Vec<isize>>,
    /// Whether the products of two neighbouring groups of a run are added in 16 bits, which the weights allow for
    /// ([`crate::pack`]).
    pub joined: bool,
    /// Rows of pixels that are done with one block of weights before the next block.
    pub row_block: usize,
}

impl Gemm {
    /// Groups of elements under a pixel.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.runs.iter().map(|run| run.length.div_ceil(self.tile.kr)).sum()
    }

    /// Bytes that one group of a block's packed weights takes: `kr` elements for each of its channels.
    #[must_use]
    pub fn group_bytes(&self) -> usize {
        self.tile.nr * self.tile.kr * self.input.byte_size()
    }

    /// Bytes that the packed weights of these blocks take, extra groups among them.
    #[must_use]
    pub fn weight_bytes(&self, blocks: Range<usize>) -> usize {
        let vectors = self.vectors();
        let extra: usize = self.extra[vectors * blocks.start..vectors * blocks.end].iter().map(Vec::len).sum();
        blocks.len() * self.groups() * self.group_bytes() + extra * self.group_bytes() / vectors.max(1)
    }

    /// Vectors of a block that have extra groups of their own, 0 for floats.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.extra.len() / self.n.div_ceil(self.tile.nr).max(1)
    }
}

/// The shape of a micro-kernel: `mr` pixels by `nr` channels, `kr` elements at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Pixels.
    pub mr: usize,
    /// Channels, a multiple of the target's lanes.
    pub nr: usize,
    /// Elements.
    pub kr: usize,
}

impl Gemm {
    /// What lies under the pixels.
    fn under(&self) -> Window {
        let runs = self.runs.iter().map(|run| (run.offset, run.length)).collect();
        Window { pixels: self.pixels, strides: self.input_strides, runs }
    }

    /// Products for each result.
    fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Pixels of the result.
    fn pixel_count(&self) -> usize {
        self.pixels.iter().product()
    }
}

/// `-64:192`, the offset and the length.
impl Attribute for Run {
    fn text(&self) -> String {
        format!("{}:{}", self.offset, self.length)
    }

    fn parse(text: &str) -> Option<Self> {
        let (offset, length) = text.split_once(':')?;
        Some(Run { offset: Attribute::parse(offset)?, length: Attribute::parse(length)? })
    }
}

/// `0:192/7424:192`
impl Attribute for Vec<Run> {
    fn text(&self) -> String {
        join(self, "/")
    }

    fn parse(text: &str) -> Option<Self> {
        split(text, '/')
    }
}

/// `4x16x4`
impl Attribute for Tile {
    fn text(&self) -> String {
        [self.mr, self.nr, self.kr].text()
    }

    fn parse(text: &str) -> Option<Self> {
        let [mr, nr, kr] = Attribute::parse(text)?;
        Some(Tile { mr, nr, kr })
    }
}

attributes! { Gemm { input, pixels, input_strides, output_strides, runs, n, tile, extra, joined, row_block } }

impl KernelDef for Gemm {
    fn operand_count(&self) -> usize {
        3
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        if !is_of_pixels(call, self.pixels, self.n) {
            return Some("the result must have rank 4, its extents must be the pixels and n");
        }
        let Tile { mr, nr, kr } = self.tile;
        if mr * nr * kr * self.row_block == 0 || kr != 4 / self.input.byte_size().clamp(1, 4) {
            return Some("the tile and row_block must be positive, and kr elements take four bytes");
        }
        let blocks = self.n.div_ceil(nr);
        let whole = self.extra.is_empty() || blocks > 0 && self.extra.len().is_multiple_of(blocks);
        (!whole).then_some("extra must have one list for each vector of channels")
    }

    fn variant(&self) -> String {
        let Tile { mr, nr, kr } = self.tile;
        format!("_{}_{mr}x{nr}c{kr}", self.input)
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

    fn input_window(&self) -> Option<Window> {
        Some(self.under())
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    fn set_batch_strides(&mut self, input: Option<isize>, output: Option<isize>) {
        self.input_strides[0] = input.unwrap_or(self.input_strides[0]);
        self.output_strides[0] = output.unwrap_or(self.output_strides[0]);
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        match axis {
            1 => Some(self.tile.nr),
            3 if self.pixels[0] * self.pixels[1] > 1 => None,
            3 => Some(self.tile.mr),
            _ => Some(1),
        }
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        if axis != 1 {
            self.pixels = self.under().part(&mut operands[0], axis, range);
            return;
        }
        let blocks = leave_blocks(operands, self.tile.nr, range, |blocks| self.weight_bytes(0..blocks));
        let vectors = self.vectors();
        self.extra = self.extra[vectors * blocks.start..vectors * blocks.end].to_vec();
        self.n = range.len();
    }

    fn macs(&self, _call: &Call) -> usize {
        self.pixel_count() * self.depth() * self.n
    }

    fn executed_macs(&self, _call: &Call, target: &Target) -> usize {
        let lanes = target.lanes();
        let vectors = self.n.div_ceil(lanes);
        let extra: usize = self.extra.iter().take(vectors).map(Vec::len).sum();
        self.pixel_count() * (vectors * self.groups() + extra) * self.tile.kr * lanes
    }

    fn arithmetic(&self, _call: &Call) -> Arithmetic {
        cost::arithmetic(self.input)
    }

    fn instructions(&self, target: &Target) -> f64 {
        cost::instructions(self.input, self.joined, target.dot)
    }

    fn products_ns(&self, call: &Call, cpu: &CpuModel) -> f64 {
        let Tile { mr, nr, .. } = self.tile;
        self.geometry(call.output.dtype).cost(Blocking { mr, nr, rows: self.row_block }, 0.0, cpu)
    }

    /// Inputs with a sign lose it, each group once for each block of channels.
    fn operations(&self, _call: &Call, target: &Target) -> (DType, f64) {
        let accumulator = if self.input.is_float() { DType::F32 } else { DType::I32 };
        let signs = match self.input {
            DType::I8 => self.pixel_count() * self.groups() * self.n.div_ceil(self.tile.nr) * target.lanes(),
            _ => 0,
        };
        (accumulator, signs as f64)
    }

    /// Of the input less may be read than lies there: a stride may pass over pixels.
    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        let bytes = distinct_bytes(&call.operands[index]);
        let read = (self.pixel_count() * self.depth() * self.input.byte_size()) as u64;
        if index == 0 { bytes.min(read) } else { bytes }
    }

    fn shape(&self, _call: &Call) -> String {
        format!("{}x{}x{}", self.pixel_count(), self.depth(), self.n)
    }

    fn key(&self, call: &Call) -> Option<String> {
        Some(self.geometry(call.output.dtype).key())
    }
}

/// Leaves of the packed weights and sums the blocks of `nr` channels that `range` begins and ends in, and says which;
/// `bytes` are those that the weights of this many blocks take.
pub(super) fn leave_blocks(
    operands: &mut [View],
    nr: usize,
    range: &Range<usize>,
    bytes: impl Fn(usize) -> usize,
) -> Range<usize> {
    let blocks = range.start / nr..range.end.div_ceil(nr);
    leave(&mut operands[1], bytes(blocks.start)..bytes(blocks.end));
    leave(&mut operands[2], 4 * nr * blocks.start..4 * nr * blocks.end);
    blocks
}

/// Leaves these bytes of packed numbers.
fn leave(view: &mut View, bytes: Range<usize>) {
    let size = view.dtype.byte_size();
    (view.offset, view.grid) = (view.offset + bytes.start / size, Grid::dense(&[bytes.len() / size]));
}

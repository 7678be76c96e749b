//! `gemm`: matrix products with constant weights, including convolutions as implicit matrix products.

pub(crate) mod candidates;
pub(crate) mod cost;
mod emit;
pub(crate) mod format;
pub(crate) mod geometry;
pub(crate) mod pack;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::ops::Range;

use eightfold_ir::DType;

pub(crate) use self::emit::emit_within;
use self::format::Format;
use self::geometry::Geometry;
use super::attribute::{Attribute, attributes, join, split};
use super::plain::{self, Constants, Packed, PackedMatrix, Plain};
use super::window::{self, Window};
use super::{KernelDef, is_of_pixels};
use crate::choice::{Blocking, Choices};
use crate::cpu::{Arithmetic, CpuModel};
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::{Grid, View};

/// Contiguous input elements that an output pixel of a convolution reads: a row of its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Distance in elements from the pixel's first input element; negative if the run begins before it.
    pub offset: isize,
    /// Number of elements. The input is readable up to the next multiple of four elements.
    pub length: usize,
}

/// A matrix product with constant weights. The output has `batch x rows x cols` pixels and `n` channels. A convolution
/// is an implicit matrix product; a matrix product itself has `rows` = 1 and one run.
///
/// Operand 0 is the input; its view's offset is the input element of output pixel (0, 0, 0). Two constants follow.
/// Before packing they are [plain](Plain): the weights and the bias. After packing they are the weights in the form
/// that `pack` defines, and the initial values of the accumulators, one i32 or f32 per channel, padded to whole tiles.
/// The result's channels are adjacent in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Type of the input's elements: u8, i8, i16 (bytes stored as words), bf16 or f32.
    pub input: DType,
    /// How the weights are stored; `None` if they have the input's type.
    pub format: Option<Format>,
    /// Distance of neighbouring output pixels, in rows and columns of the input.
    pub strides: [usize; 2],
    /// The input elements that a pixel reads.
    pub runs: Vec<Run>,
    /// Output channels.
    pub n: usize,
    /// The tile: `mr` pixels, `nr` channels, and `kr`, the elements of a run that one lane of a product takes (4 bytes,
    /// 2 words or bf16, 1 float). `None` until the schedule pass `choose` has chosen it.
    pub tile: Option<Tile>,
    /// Extra groups for each vector of channels: input offsets of the groups that are multiplied again, because the
    /// weights do not fit 8 bits or the target's products would saturate. Empty for floats.
    pub extra: Vec<Vec<isize>>,
    /// Whether the products of two neighbouring groups of a run are added in 16 bits. The schedule pass `fit_weights`
    /// sets this if the weights allow it and it saves instructions.
    pub joined: bool,
    /// Rows of pixels that one block of weights serves before the next block is loaded; 0 until `choose` has chosen it.
    pub row_block: usize,
    /// The data that packing needs besides the constants; `None` once they are packed.
    pub plain: Option<Plain>,
}

impl Gemm {
    /// The tile.
    ///
    /// # Panics
    /// Panics if none has been chosen yet.
    #[must_use]
    pub fn tile(&self) -> Tile {
        self.tile.expect("the pass `choose` has run")
    }

    /// Elements of a run that one lane takes: 32 bits of them.
    #[must_use]
    pub fn kr(&self) -> usize {
        4 / self.input.byte_size()
    }

    /// Groups of elements that a pixel reads.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.runs.iter().map(|run| run.length.div_ceil(self.kr())).sum()
    }

    /// Bytes of one group of a block's packed weights: `kr` elements for each channel of the block.
    #[must_use]
    pub fn group_bytes(&self) -> usize {
        self.tile().nr * group_bits(self.format) / 8
    }

    /// Bytes of the packed weights of these blocks, including extra groups.
    #[must_use]
    pub fn weight_bytes(&self, blocks: Range<usize>) -> usize {
        let vectors = self.vectors();
        let extra: usize = self.extra[vectors * blocks.start..vectors * blocks.end].iter().map(Vec::len).sum();
        blocks.len() * self.groups() * self.group_bytes() + extra * self.group_bytes() / vectors.max(1)
    }

    /// Vectors per block with their own list of extra groups; 0 for floats.
    #[must_use]
    pub fn vectors(&self) -> usize {
        self.extra.len() / self.n.div_ceil(self.tile().nr).max(1)
    }
}

/// The shape of a micro-kernel: `mr` pixels by `nr` channels, `kr` elements of a run at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Pixels.
    pub mr: usize,
    /// Channels, a multiple of the target's lanes.
    pub nr: usize,
    /// Elements of a run.
    pub kr: usize,
}

impl Gemm {
    /// The input elements that the pixels read.
    fn under(&self, call: &Call) -> Window {
        Window::of(call, self.strides, self.runs.iter().map(|run| (run.offset, run.length)).collect())
    }

    /// Products per result.
    fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Maps an element of a run to its row, column and depth in plain weights of extents `dims`.
    fn tap(&self, [_, rows, columns, depth]: [usize; 4], run: usize, element: usize) -> [usize; 3] {
        // A run is either a whole row of the window or a single tap.
        let taps = if self.runs.len() == rows { columns } else { 1 };
        let tap = run * taps + element / depth;
        [tap / columns, tap % columns, element % depth]
    }

    /// Whether the runs cover plain weights of these extents exactly.
    fn covers(&self, [_, rows, columns, depth]: [usize; 4]) -> bool {
        let length = match self.runs.len() {
            count if count == rows => columns * depth,
            count if count == rows * columns => depth,
            _ => return false,
        };
        self.runs.iter().all(|run| run.length == length)
    }

    /// Distances in input elements between neighbouring rows and columns of a 3 x 3 window; `None` for any other
    /// window.
    pub(crate) fn steps(&self) -> Option<[isize; 2]> {
        let offset = |run: usize| self.runs[run].offset;
        let regular = |step: isize| self.runs.windows(2).all(|pair| pair[1].offset - pair[0].offset == step);
        match self.runs.len() {
            0 => None,
            _ if offset(0) != 0 => None,
            // The taps of a row are adjacent.
            3 if regular(offset(1)) => Some([offset(1), (self.runs[0].length / 3) as isize]),
            9 => {
                let [row, column] = [offset(3), offset(1)];
                let at = |tap: usize| (tap / 3) as isize * row + (tap % 3) as isize * column;
                (0..9).all(|tap| offset(tap) == at(tap)).then_some([row, column])
            }
            _ => None,
        }
    }

    /// A function that returns a plain integer weight by channel, run and element.
    fn integers<'c>(&'c self, constants: &'c Constants) -> impl Fn(usize, usize, usize) -> i32 + 'c {
        let (dims, int) = (constants.dims(), constants.int());
        move |channel, run, element| {
            let [row, column, depth] = self.tap(dims, run, element);
            int([channel, row, column, depth])
        }
    }

    /// Bytes of the packed weights and of the initial accumulators, of all blocks.
    fn block_bytes(&self) -> [usize; 2] {
        let blocks = self.n.div_ceil(self.tile().nr);
        [self.weight_bytes(0..blocks), 4 * blocks * self.tile().nr]
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

attributes! { Gemm { input, format, strides, runs, n, tile, extra, joined, row_block, plain }, not in keys { tile, row_block, plain } }

impl KernelDef for Gemm {
    fn operand_count(&self) -> usize {
        3
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        if !is_of_pixels(call, self.n) {
            return Some("operand 0 and the result must have rank 4, the result n channels");
        }
        if !matches!(self.input, DType::U8 | DType::I8 | DType::I16 | DType::Bf16 | DType::F32) {
            return Some("the input must be u8, i8, i16, bf16 or f32");
        }
        if self.format.is_some() && self.input != DType::F32 {
            return Some("weights have a format for an input of f32 alone");
        }
        if let Some(plain) = self.plain {
            let weights = &call.operands[1].grid.dims;
            let covers = || self.covers([weights[0], weights[1], weights[2], weights[3]]);
            let wrong = plain::misfit(plain, call, self.n);
            let wrong = wrong.or_else(|| {
                let format = Format::of(self.input, call.operands[1].dtype);
                (format != self.format).then_some("the format must be that of the plain weights")
            });
            let wrong = wrong.or_else(|| (!covers()).then_some("the runs must be those of the plain weights"));
            if wrong.is_some() {
                return wrong;
            }
        }
        let Some(Tile { mr, nr, kr }) = self.tile else {
            return self.plain.is_none().then_some("packed weights need a tile");
        };
        if mr * nr * kr * self.row_block == 0 || kr != self.kr() {
            return Some("the tile and row_block must be positive, and kr elements take four bytes");
        }
        let blocks = self.n.div_ceil(nr);
        let whole = self.extra.is_empty() || blocks > 0 && self.extra.len().is_multiple_of(blocks);
        (!whole).then_some("extra must have one list for each vector of channels")
    }

    fn variant(&self) -> String {
        match self.tile {
            Some(Tile { mr, nr, kr }) => format!("_{}_{mr}x{nr}c{kr}", factors(self.input, self.format)),
            None => format!("_{}", factors(self.input, self.format)),
        }
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

    fn input_window(&self, call: &Call) -> Option<Window> {
        Some(self.under(call))
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    /// The axes of the result are batch, channels, rows, columns.
    fn unit(&self, call: &Call, axis: usize) -> Option<usize> {
        match axis {
            1 => Some(self.tile?.nr),
            3 if call.output.grid.dims[0] * call.output.grid.dims[2] > 1 => None,
            3 => Some(self.tile?.mr),
            _ => Some(1),
        }
    }

    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        if axis != 1 {
            let reach = self.runs.iter().map(|run| run.offset).max().unwrap_or(0);
            return window::narrow(&mut operands[0], self.strides, reach, axis, range);
        }
        let nr = self.tile().nr;
        let (blocks, vectors) = (range.start / nr..range.end.div_ceil(nr), self.vectors());
        match &mut self.plain {
            Some(plain) => plain.first += range.start,
            None => leave_blocks(operands, nr, range, |blocks| self.weight_bytes(0..blocks)),
        }
        self.extra = self.extra[vectors * blocks.start..vectors * blocks.end].to_vec();
        self.n = range.len();
    }

    fn plain(&self) -> Option<Plain> {
        self.plain
    }

    fn packing(&self) -> String {
        let (Tile { nr, kr, .. }, runs) = (self.tile(), self.runs.text());
        format!("{} {nr} {kr} {} {runs}", factors(self.input, self.format), self.joined)
    }

    fn pack(&self, constants: &Constants, target: &Target) -> Packed {
        let (dims, tile, runs) = (constants.dims(), self.tile(), &self.runs);
        let n = dims[0];
        if let Some(format) = self.format {
            let bias = constants.float_bias();
            return pack::formatted(format, target.lanes(), tile, n, runs, &self.integers(constants), &bias);
        }
        if self.input.is_float() {
            let float = constants.float();
            let weight = |o: usize, run: usize, element: usize| {
                let [row, column, depth] = self.tap(dims, run, element);
                float([o, row, column, depth])
            };
            return pack::floats(self.input, tile, n, runs, &weight, &constants.float_bias());
        }
        let weight = self.integers(constants);
        // The kernel multiplies x + shift instead of x: sum((x + shift) w) = sum(x w) + shift sum(w). So the
        // accumulator starts at bias - shift sum(w).
        let zero_point = self.plain.map_or(0, |plain| i64::from(plain.zero_point));
        let shift = zero_point + target.dot.input_offset(self.input);
        let elements = || runs.iter().enumerate().flat_map(|(r, run)| (0..run.length).map(move |e| (r, e)));
        let sum = |o: usize| elements().map(|(r, e)| i64::from(weight(o, r, e))).sum::<i64>();
        let sums: Vec<i64> = constants.int_bias().iter().enumerate().map(|(o, b)| b - shift * sum(o)).collect();
        match self.input {
            DType::I16 => pack::words(tile, n, runs, &weight, &sums),
            _ => pack::integers(target, tile, n, runs, &weight, &sums, self.joined),
        }
    }

    fn packed_types(&self) -> [DType; 2] {
        let weights = match self.format {
            Some(format) => format.row().packed(),
            None if self.input == DType::U8 => DType::I8,
            None => self.input,
        };
        [weights, if self.input.is_float() { DType::F32 } else { DType::I32 }]
    }

    fn packed_bytes(&self, _target: &Target) -> [usize; 2] {
        self.block_bytes()
    }

    fn take_packed(&mut self, operands: &mut [View], extra: &[Vec<isize>]) {
        let Some(Plain { first, .. }) = self.plain.take() else { return };
        let nr = self.tile().nr;
        let vectors = extra.len() / (operands[2].grid.elements() / nr).max(1);
        let block_bytes = self.groups() * self.group_bytes();
        let bytes = |blocks: usize| {
            let extra: usize = extra[..vectors * blocks].iter().map(Vec::len).sum();
            blocks * block_bytes + extra * self.group_bytes() / vectors.max(1)
        };
        let range = first..first + self.n;
        leave_blocks(operands, nr, &range, bytes);
        self.extra = extra[vectors * (range.start / nr)..vectors * range.end.div_ceil(nr)].to_vec();
    }

    fn forget_plain(&mut self) {
        self.plain = None;
    }

    fn fit(&mut self, constants: &Constants, target: &Target) {
        if self.plain.is_some() && self.tile.is_none() && matches!(self.input, DType::U8 | DType::I8) {
            let n = constants.dims()[0];
            (self.extra, self.joined) = pack::fit(target, n, &self.runs, &self.integers(constants));
        }
    }

    fn choose(&mut self, call: &Call, choices: &Choices, target: &Target) {
        if let Some(geometry) = Geometry::of(call).filter(|_| self.tile.is_none()) {
            let measured = choices.blocking(|| call.key());
            measured.unwrap_or_else(|| geometry.blocking(choices.cpu(target))).apply(self, target);
        }
    }

    fn gains_by_words(&self, constants: &Constants, target: &Target) -> bool {
        let is_bytes = matches!(self.input, DType::U8 | DType::I8);
        let n = constants.dims()[0];
        is_bytes && pack::words_pay(target, n, &self.runs, &self.integers(constants))
    }

    fn read_words(&mut self) {
        self.input = DType::I16;
    }

    fn packed_matrix(&self, call: &Call, extra: &[Vec<isize>]) -> Option<PackedMatrix> {
        let (plain, tile) = (&call.operands[1], self.tile?);
        let [rows, 1, 1, columns] = plain.grid.dims[..] else { return None };
        let same = plain.dtype == self.packed_types()[0] && extra.iter().all(Vec::is_empty);
        (same && columns.is_multiple_of(tile.kr)).then(|| PackedMatrix {
            plain: plain.clone(),
            extents: [rows, columns],
            together: tile.kr,
            block: tile.nr,
            distance: (self.groups() * tile.nr * tile.kr) as isize,
        })
    }

    fn macs(&self, call: &Call) -> usize {
        pixel_count(call) * self.depth() * self.n
    }

    fn executed_macs(&self, call: &Call, target: &Target) -> usize {
        let lanes = target.lanes();
        let vectors = self.n.div_ceil(lanes);
        let extra: usize = self.extra.iter().take(vectors).map(Vec::len).sum();
        pixel_count(call) * (vectors * self.groups() + extra) * self.kr() * lanes
    }

    fn arithmetic(&self, _call: &Call) -> Arithmetic {
        cost::arithmetic(self.input)
    }

    fn instructions(&self, target: &Target) -> f64 {
        cost::instructions(self.input, self.joined, target.dot)
    }

    fn products_ns(&self, call: &Call, cpu: &CpuModel) -> f64 {
        let geometry = self.geometry(call);
        let blocking = match self.tile {
            Some(Tile { mr, nr, .. }) => Blocking { mr, nr, rows: self.row_block },
            None => geometry.blocking(cpu),
        };
        geometry.cost(blocking, 0.0, cpu)
    }

    /// If the target's products take inputs of the other signedness, inputs are converted: each group once per block of
    /// channels.
    fn operations(&self, call: &Call, target: &Target) -> (DType, f64) {
        let accumulator = if self.input.is_float() { DType::F32 } else { DType::I32 };
        let nr = self.tile.map_or(target.lanes(), |tile| tile.nr);
        let signs = match target.dot.input_offset(self.input) {
            0 => 0,
            _ => pixel_count(call) * self.groups() * self.n.div_ceil(nr) * target.lanes(),
        };
        (accumulator, signs as f64)
    }

    /// The call may read less of the input than the view spans: strides may skip pixels.
    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        let bytes = match (index, self.plain.and(self.tile)) {
            (1 | 2, Some(_)) => self.block_bytes()[index - 1] as u64,
            _ => call.operands[index].distinct_bytes(),
        };
        let read = (pixel_count(call) * self.depth() * self.input.byte_size()) as u64;
        if index == 0 { bytes.min(read) } else { bytes }
    }

    fn shape(&self, call: &Call) -> String {
        format!("{}x{}x{}", pixel_count(call), self.depth(), self.n)
    }
}

/// Pixels of the result.
pub(super) fn pixel_count(call: &Call) -> usize {
    call.output.grid.pixels().iter().product()
}

/// Bits of a group's packed weights for one channel.
pub(super) fn group_bits(format: Option<Format>) -> usize {
    format.map_or(32, |format| format.row().bits())
}

/// The types of input and weights in names and keys: `f32`, or `f32*i8` if the weights have a format.
pub(super) fn factors(input: DType, format: Option<Format>) -> String {
    let weights = format.map(|format| format!("*{}", format.text()));
    format!("{input}{}", weights.unwrap_or_default())
}

/// Restricts the packed constants to the blocks of `nr` channels that `range` touches. `bytes(count)` is the size of
/// the weights of the first `count` blocks.
pub(super) fn leave_blocks(operands: &mut [View], nr: usize, range: &Range<usize>, bytes: impl Fn(usize) -> usize) {
    let blocks = range.start / nr..range.end.div_ceil(nr);
    leave(&mut operands[1], bytes(blocks.start)..bytes(blocks.end));
    leave(&mut operands[2], 4 * nr * blocks.start..4 * nr * blocks.end);
}

/// Restricts a view of packed numbers to this range of bytes.
fn leave(view: &mut View, bytes: Range<usize>) {
    let size = view.dtype.byte_size();
    (view.offset, view.grid) = (view.offset + bytes.start / size, Grid::dense(&[bytes.len() / size]));
}

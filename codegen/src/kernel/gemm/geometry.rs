//! How the loops of a product with constant weights are cut: its tile, and their order.

use eightfold_ir::DType;

use crate::choice::Blocking;
use crate::kernel::gemm::format::Format;
use crate::kernel::gemm::walk::Cut;
use crate::kernel::window::distances;
use crate::kernel::{Call, Gemm, Producer, Run, Tile};
use crate::target::Target;

impl Tile {
    /// The usual tile for rows of `cols` pixels and `n` channels: its accumulators fill the registers.
    #[must_use]
    pub fn usual(target: &Target, input: DType, cols: usize, n: usize) -> Tile {
        let lanes = target.lanes();
        // A 32-bit lane holds `kr` elements.
        let kr = 4 / input.byte_size();
        // Accumulators, weights, a broadcast input and temporaries of the product must fit the registers.
        let (mr, vectors) = match (target.vector_registers, input) {
            // A single pixel reads each weight once. Many loads and additions must be in flight.
            _ if cols == 1 => (1, 8),
            // Without products of bf16, each weight vector is split into two registers.
            (32, DType::Bf16) if !target.bf16 => (12, 2),
            (32, DType::U8 | DType::I8) if 14 * 2 + target.dot.temporaries > 32 => (10, 2),
            (32, ..) => (14, 2),
            (_, DType::Bf16) => (4, 2),
            (_, DType::F32 | DType::I16) => (6, 2),
            (registers, _) if 6 * 2 + 2 + 1 + target.dot.temporaries <= registers => (6, 2),
            _ => (4, 2),
        };
        Tile { mr, nr: lanes * vectors.min(n.div_ceil(lanes).max(1)), kr }
    }
}

impl Blocking {
    /// The tile for inputs of this type.
    pub(crate) fn tile(self, input: DType) -> Tile {
        // A 32-bit lane holds `kr` elements.
        Tile { mr: self.mr, nr: self.nr, kr: 4 / input.byte_size() }
    }

    /// Sets this blocking in a product whose constants are plain.
    pub(crate) fn apply(self, gemm: &mut Gemm, target: &Target) {
        debug_assert!(gemm.plain.is_some(), "packed weights are those of one tile");
        (gemm.tile, gemm.row_block) = (Some(self.tile(gemm.input)), self.rows);
        if !gemm.extra.is_empty() {
            gemm.extra.resize(gemm.n.div_ceil(self.nr) * self.nr / target.lanes(), Vec::new());
        }
    }

    /// The call with this blocking.
    ///
    /// # Panics
    /// Panics if the call is no product with constant weights.
    pub(crate) fn applied(self, call: &Call, target: &Target) -> Call {
        let mut call = call.clone();
        let Producer::Gemm(gemm) = &mut call.producer else { unreachable!("only products have choices") };
        self.apply(gemm, target);
        call
    }
}

/// Everything that determines the time of a product: its extents, and how its tensors lie in memory.
///
/// The steps are not part of it: they take nearly the same time in any tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry<'g> {
    /// Type of the input's elements.
    pub input: DType,
    /// How the weights are stored; `None` if they have the input's type.
    pub format: Option<Format>,
    /// Type of the result's elements.
    pub output: DType,
    /// Output pixels: batch, rows, columns.
    pub pixels: [usize; 3],
    /// Distances between neighbouring pixels, in input elements.
    pub input_strides: [isize; 3],
    /// Distances between neighbouring pixels, in output elements.
    pub output_strides: [isize; 3],
    /// The input elements that a pixel reads.
    pub runs: &'g [Run],
    /// Output channels.
    pub n: usize,
    /// Extra groups of all vectors of channels, in total.
    pub extra: usize,
    /// Whether the products of neighbouring groups are added in 16 bits.
    pub joined: bool,
}

impl Gemm {
    /// The geometry of a call of this product.
    pub(crate) fn geometry(&self, call: &Call) -> Geometry<'_> {
        Geometry {
            input: self.input,
            format: self.format,
            output: call.output.dtype,
            pixels: call.output.grid.pixels(),
            input_strides: distances(&call.operands[0], self.strides),
            output_strides: call.output.grid.pixel_strides(),
            runs: &self.runs,
            n: self.n,
            extra: self.extra.iter().map(Vec::len).sum(),
            joined: self.joined,
        }
    }
}

impl<'g> Geometry<'g> {
    /// The geometry of a call; `None` if it is no product with constant weights.
    #[must_use]
    pub fn of(call: &'g Call) -> Option<Self> {
        let Producer::Gemm(gemm) = &call.producer else { return None };
        Some(gemm.geometry(call))
    }

    /// Length of a sequence of pixels at equal distances: a row, or all rows if they are contiguous.
    #[must_use]
    pub fn row(&self) -> usize {
        let [batch, rows, cols] = self.pixels;
        let joined = |axis: usize, inner: usize| {
            [self.input_strides, self.output_strides].iter().all(|s| s[axis] == s[2] * inner as isize)
        };
        match (rows == 1 || joined(1, cols), batch == 1 || joined(0, rows * cols)) {
            (true, true) => batch * rows * cols,
            (true, false) => rows * cols,
            _ => cols,
        }
    }

    /// How tiles of at most `mr` pixels cut the pixels, and how often this cut repeats.
    pub(crate) fn cut(&self, mr: usize) -> (Cut, usize) {
        let row = self.row();
        let rows = if row == self.pixels[2] { self.pixels[1] } else { 1 };
        let (cut, wrapped) = Cut::of_rows(rows, row, mr, self.groups(), self.input);
        let units = self.pixels.iter().product::<usize>() / row.max(1);
        (cut, if wrapped { units / rows } else { units })
    }

    /// Groups of elements that a pixel reads.
    pub(crate) fn groups(&self) -> usize {
        let kr = 4 / self.input.byte_size();
        self.runs.iter().map(|run| run.length.div_ceil(kr)).sum()
    }
}

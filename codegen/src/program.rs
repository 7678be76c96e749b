//! Programs: which kernels run on which bytes, in which order.
//!
//! A program is what a graph becomes before machine code: buffers with offsets in one arena, constants packed for their
//! kernels, and calls. A call is a producer with all its geometry, pointwise steps, and views that say where operands
//! and the result lie. Two calls of equal geometry share one function: buffers are not part of it.

use std::ops::Range;

use eightfold_ir::{DType, Function};

use crate::target::Target;

mod print;
mod winograd;

pub use winograd::{Winograd, WinogradInput};

/// A buffer's number in [`Program::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub usize);

/// A constant's number in [`Program::consts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConstId(pub usize);

/// Bytes that a view is a view of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// A buffer.
    Buffer(BufferId),
    /// A constant.
    Const(ConstId),
}

/// What a buffer is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// The caller's input of this position.
    Input(usize),
    /// The caller's output of this position.
    Output(usize),
    /// The arena, from this byte on.
    Arena {
        /// First byte, a multiple of [`Program::ARENA_ALIGN`].
        offset: usize,
    },
}

/// Bytes that calls read and write.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The value it holds, for dumps.
    pub name: String,
    /// What it is part of.
    pub kind: BufferKind,
    /// Element type, for dumps and alignment.
    pub dtype: DType,
    /// Its size. Arena buffers carry [`Program::SLACK`] bytes behind it that kernels may read.
    pub byte_size: usize,
    /// The first and the last call that touch it.
    pub live: (usize, usize),
}

/// Read-only bytes of the artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// What it holds and how it is packed, for dumps.
    pub name: String,
    /// The bytes as kernels read them. The emitter aligns each to 64 and leaves [`Program::SLACK`] bytes behind the last.
    pub bytes: Vec<u8>,
}

/// Where the elements of a tensor lie: element `index` is at `offset + sum(index[axis] * strides[axis])`, in elements.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The bytes.
    pub storage: Storage,
    /// Element type.
    pub dtype: DType,
    /// First element.
    pub offset: usize,
    /// Extents and distances.
    pub grid: Grid,
}

/// Extents of a view and the distance in elements between neighbours along each axis; 0 repeats, negative walks back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grid {
    /// Extents.
    pub dims: Vec<usize>,
    /// Distances.
    pub strides: Vec<isize>,
}

impl Grid {
    /// The row-major grid of these extents.
    #[must_use]
    pub fn dense(dims: &[usize]) -> Self {
        let mut strides = vec![1; dims.len()];
        for axis in (1..dims.len()).rev() {
            strides[axis - 1] = strides[axis] * dims[axis] as isize;
        }
        Grid { dims: dims.to_vec(), strides }
    }

    /// The number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// A pointwise step with operands by position in [`Call::operands`]; otherwise as [`eightfold_ir::Step`].
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A scalar function.
    Apply(Function, Vec<Arg>),
    /// To another type.
    Cast(DType),
    /// `f32(x - zero_point) * scale`
    Dequantize {
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// Divide by `scale` (nothing to do at 1), clamp, round half to even, add `zero_point`.
    Quantize {
        /// The integer type stored.
        dtype: DType,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
        /// The least integer stored.
        min: i32,
        /// The greatest integer stored.
        max: i32,
    },
    /// Entry of the operand, a constant of 256 elements of this type.
    Table {
        /// Position in [`Call::operands`].
        operand: usize,
        /// Element type of the table.
        dtype: DType,
    },
}

/// An argument of a scalar function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// The current number.
    Current,
    /// The operand at this position of [`Call::operands`], at the same coordinates.
    Operand(usize),
    /// The same, read as `f32(x - zero_point) * scale`.
    Dequantized {
        /// Position in [`Call::operands`].
        operand: usize,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
}

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

/// A sum of products channel by channel.
///
/// Operands: the input, its channels adjacent, its offset at the input element of output pixel (0, 0, 0), readable for
/// whole vectors behind its last channel; the packed weights, taps or pairs of them x channels rounded up to whole vectors;
/// the initial sums likewise.
#[derive(Clone, Debug, PartialEq)]
pub struct Depthwise {
    /// Type of the input's elements: u8, i8 or f32.
    pub input: DType,
    /// Output pixels: batch, rows, cols.
    pub pixels: [usize; 3],
    /// Distance in input elements of neighbouring output pixels.
    pub input_strides: [isize; 3],
    /// Distance in output elements of neighbouring output pixels.
    pub output_strides: [isize; 3],
    /// Distance in elements of each tap from the pixel's first input element, row by row of the window.
    pub taps: Vec<isize>,
    /// Columns of the window: `taps` holds this many a row.
    pub columns: usize,
    /// Channels.
    pub channels: usize,
}

impl Depthwise {
    /// Rows and columns of the window.
    #[must_use]
    pub fn window(&self) -> [usize; 2] {
        [self.taps.len() / self.columns.max(1), self.columns]
    }

    /// The taps, as row and column, that integers are multiplied by two at a time: see [`pairs`].
    #[must_use]
    pub fn pairs(&self) -> Vec<[[usize; 2]; 2]> {
        pairs(self.window())
    }
}

/// The rows of each column of a window two by two, and in an odd last row the columns two by two. A tap that is left alone
/// stands twice.
#[must_use]
pub fn pairs([rows, columns]: [usize; 2]) -> Vec<[[usize; 2]; 2]> {
    let down = (0..columns).flat_map(|x| (1..rows).step_by(2).map(move |y| [[y - 1, x], [y, x]]));
    let last = (0..columns).step_by(2).map(|x| [[rows - 1, x], [rows - 1, (x + 1).min(columns - 1)]]);
    down.chain(last.filter(|_| rows % 2 == 1)).collect()
}

/// What becomes of the numbers that a pool or reduction folds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fold {
    /// Sum; of integers less `zero_point`, in i32 (64-bit types in i64).
    Sum {
        /// Taken from each integer.
        zero_point: i32,
    },
    /// Mean of floats.
    Mean,
    /// Mean of what 8-bit integers stand for, added in f32 in the order of the window.
    DequantizedMean {
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// Greatest.
    Max,
    /// Least.
    Min,
    /// Product.
    Prod,
    /// Sum of squares.
    SumSquare,
    /// Sum of magnitudes.
    SumAbs,
}

/// What a call computes before its steps.
#[derive(Clone, Debug, PartialEq)]
pub enum Producer {
    /// See [`Gemm`].
    Gemm(Gemm),
    /// See [`Depthwise`].
    Depthwise(Depthwise),
    /// See [`WinogradInput`].
    WinogradInput(WinogradInput),
    /// See [`Winograd`].
    Winograd(Winograd),
    /// Operand 0 at the same coordinates: elementwise operators, copies, layout changes, broadcasts, all by views.
    Pointwise,
    /// A window over axes 2 and 3 of operand 0, a view of rank 4 (N, C, H, W); parts outside the input do not count.
    Pool {
        /// What becomes of the numbers.
        fold: Fold,
        /// Window extents.
        kernel: [usize; 2],
        /// Steps.
        strides: [usize; 2],
        /// Distances of neighbours in the window.
        dilations: [usize; 2],
        /// Padding before rows and columns.
        pads: [usize; 2],
        /// For means: whether padding counts in the divisor, and the padding after rows and columns if it does.
        include_pad: Option<[usize; 2]>,
    },
    /// Folds the axes of operand 0 on which the result has extent 1; both views have one rank.
    Reduce {
        /// What becomes of the numbers.
        fold: Fold,
    },
    /// Along `axis` of operand 0; of 8-bit integers by operand 1, a table of 256 i32.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Elements of operand 0 along `axis` at the positions that operand 1 (a vector of i32 or i64) holds.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Linear interpolation of operand 0, a view of the result's rank, along `axis`; operand 1 holds for each output
    /// coordinate two positions (i32), operand 2 their two weights (f32).
    Interpolate {
        /// The axis.
        axis: usize,
    },
    /// A product of two matrices neither of which is constant: `x[.., m, k] * w[.., k, n]`, batch axes by strides.
    MatMul {
        /// Zero points of the operands, 0 for floats.
        zero_points: [i32; 2],
    },
    /// This stored number everywhere: borders of padded buffers.
    Fill {
        /// The element's bytes, low end first.
        element: [u8; 8],
    },
}

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What it computes.
    pub producer: Producer,
    /// The producer's operands, then those of the steps. Operands of steps have the result's extents.
    pub operands: Vec<View>,
    /// What happens to each element before it is stored.
    pub steps: Vec<Step>,
    /// Where the result goes.
    pub output: View,
    /// The ONNX nodes it came from, for profiles and dumps.
    pub origin: String,
}

/// What threads do between two barriers: for each thread, which of [`Program::calls`]; they follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// One range a thread; the first thread has work in each phase.
    pub threads: Vec<Range<usize>>,
}

/// A chain of calls, and whether it runs depth first, some rows at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The ONNX nodes of each of its calls.
    pub chain: Vec<String>,
    /// Rows of its last result in a band.
    pub height: usize,
    /// Bands.
    pub count: usize,
    /// Whether it does run so.
    pub is_used: bool,
    /// Whether that was measured, and not left to the model.
    pub is_measured: bool,
    /// Nanoseconds that bands save, for bytes that stay near.
    pub saved: f64,
    /// Nanoseconds that they cost.
    pub spent: f64,
}

/// Kernel calls over buffers and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The model's name.
    pub name: String,
    /// What it is for.
    pub target: &'static Target,
    /// Inputs, outputs and arena buffers.
    pub buffers: Vec<Buffer>,
    /// Constants in the order in which they are first read.
    pub consts: Vec<Const>,
    /// The calls, in an order in which one thread may run them.
    pub calls: Vec<Call>,
    /// Which thread runs which call, and where they wait for each other; of one thread there is one phase.
    pub phases: Vec<Phase>,
    /// Bytes of the arena.
    pub arena_size: usize,
    /// Bytes of all arena buffers that are alive at once, at most: no plan takes fewer.
    pub arena_bound: usize,
    /// Chains that run in bands, and neighbours that could.
    pub bands: Vec<Band>,
}

impl Program {
    /// Alignment of the arena and of each buffer in it.
    pub const ARENA_ALIGN: usize = 64;

    /// Bytes behind each arena buffer and the constants that kernels may read (never write).
    pub const SLACK: usize = 256;

    /// Threads that the program is for.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.phases.first().map_or(1, |phase| phase.threads.len())
    }

    /// Threads besides the first that have any work.
    #[must_use]
    pub fn workers(&self) -> usize {
        match self.phases.iter().any(Phase::is_shared) {
            true => self.threads() - 1,
            false => 0,
        }
    }
}

impl Phase {
    /// `calls` on the first of `threads` threads.
    #[must_use]
    pub fn alone(calls: Range<usize>, threads: usize) -> Phase {
        let nothing = calls.end..calls.end;
        Phase { threads: [calls].into_iter().chain(vec![nothing; threads - 1]).collect() }
    }

    /// Whether several threads have work.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.threads.iter().skip(1).any(|calls| !calls.is_empty())
    }

    /// The calls of all threads.
    #[must_use]
    pub fn calls(&self) -> Range<usize> {
        self.threads[0].start..self.threads[self.threads.len() - 1].end
    }
}

impl Call {
    /// The call without what one function can leave to its arguments: which bytes, and what for.
    #[must_use]
    pub fn geometry(&self) -> Call {
        let mut call = self.clone();
        for view in call.operands.iter_mut().chain([&mut call.output]) {
            view.storage = match view.storage {
                Storage::Buffer(_) => Storage::Buffer(BufferId(0)),
                Storage::Const(_) => Storage::Const(ConstId(0)),
            };
            view.offset = 0;
        }
        call.origin.clear();
        call
    }
}

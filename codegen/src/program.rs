//! Programs: which kernels run on which bytes, in which order.
//!
//! A program is what a graph becomes before machine code: buffers with offsets in one arena, constants packed for their
//! kernels, and calls. A call is a producer with all its geometry, pointwise steps, and views that say where operands
//! and the result lie. Two calls of equal geometry share one function: buffers are not part of it.

use std::ops::Range;

use eightfold_ir::{Bytes, DType, Function};

use crate::target::Target;

mod check;
pub(crate) mod footprint;
mod grid;
pub(crate) mod liveness;
mod parse;
mod print;
mod region;
mod scheduled;
mod traffic;
mod verify;

pub use self::check::{PlanError, check};
pub use self::parse::{ParseError, parse};
pub use self::region::{Execution, For, If, Item, LoopId, Parallel, calls, executions, for_each_call, views, walk};
pub use self::scheduled::{ScheduleError, Scheduled};
pub use self::traffic::Reach;
pub use self::verify::{FARTHEST, ProgramError, verify};
pub use crate::kernel::{
    Blocks, Depthwise, Fill, Fold, Gather, Gemm, Interpolate, MatMul, Plain, Pointwise, Pool, Producer, Reduce, Run,
    Softmax, Tile, Winograd, WinogradInput, pairs,
};

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
}

/// Read-only bytes of the artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// What it holds and how it is packed, for dumps.
    pub name: String,
    /// The bytes as kernels read them. In an artifact each is aligned to 64, with [`Program::SLACK`] bytes behind the last.
    pub bytes: Bytes,
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
    /// Loops around the call that move the view, each with the elements by which it does so a turn.
    pub loops: Vec<(LoopId, isize)>,
    /// Extents and distances.
    pub grid: Grid,
}

impl View {
    /// A view that no loop moves.
    #[must_use]
    pub fn new(storage: Storage, dtype: DType, offset: usize, grid: Grid) -> View {
        View { storage, dtype, offset, loops: Vec::new(), grid }
    }

    /// Leaves of the view what lies in `range` of its `axis`.
    pub(crate) fn narrow(&mut self, axis: usize, range: &Range<usize>) {
        self.offset = (self.offset as isize + range.start as isize * self.grid.strides[axis]) as usize;
        self.grid.dims[axis] = range.len();
    }
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

    /// The number of elements; `None` if it cannot be counted.
    pub(crate) fn elements_checked(&self) -> Option<usize> {
        self.dims.iter().try_fold(1_usize, |elements, dim| elements.checked_mul(*dim))
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

/// The positions in [`Call::operands`] of what the steps read element by element; tables are not among them.
pub(crate) fn elementwise(steps: &[Step]) -> Vec<usize> {
    let args = steps.iter().flat_map(|step| match step {
        Step::Apply(_, args) => args.as_slice(),
        _ => &[],
    });
    let read = args.filter_map(|arg| match *arg {
        Arg::Operand(operand) | Arg::Dequantized { operand, .. } => Some(operand),
        _ => None,
    });
    let mut positions: Vec<usize> = read.collect();
    positions.sort_unstable();
    positions.dedup();
    positions
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
    /// Threads that it is for, at least one.
    pub threads: usize,
    /// What runs, in order. What is in no [`Parallel`] runs on the first thread.
    pub body: Vec<Item>,
    /// Bytes of the arena.
    pub arena_size: usize,
    /// Chains that run in bands, and neighbours that could.
    pub bands: Vec<Band>,
}

impl Program {
    /// Alignment of the arena and of each buffer in it.
    pub const ARENA_ALIGN: usize = 64;

    /// Bytes behind each arena buffer and the constants that kernels may read (never write).
    pub const SLACK: usize = 256;

    /// A program that does nothing.
    #[must_use]
    pub fn new(name: &str, target: &'static Target) -> Program {
        Program {
            name: name.to_owned(),
            target,
            buffers: Vec::new(),
            consts: Vec::new(),
            threads: 1,
            body: Vec::new(),
            arena_size: 0,
            bands: Vec::new(),
        }
    }

    /// Threads besides the first that have any work.
    #[must_use]
    pub fn workers(&self) -> usize {
        let is_shared = |item: &Item| match item {
            Item::Parallel(parallel) => parallel.threads.iter().skip(1).any(|body| !body.is_empty()),
            _ => false,
        };
        if self.body.iter().any(is_shared) { self.threads - 1 } else { 0 }
    }

    /// All calls, in the order of the text. A call's place in this order is its number.
    #[must_use]
    pub fn calls(&self) -> Vec<&Call> {
        calls(&self.body)
    }

    /// All that runs when the program runs, in an order in which one thread may run it.
    #[must_use]
    pub fn executions(&self) -> Vec<Execution> {
        executions(&self.body)
    }
}

impl Call {
    /// The element type of operand 0, or of the result if there is no operand.
    pub(crate) fn input_type(&self) -> DType {
        self.operands.first().map_or(self.output.dtype, |view| view.dtype)
    }

    /// The rank of an operand.
    pub(crate) fn rank(&self, operand: usize) -> usize {
        self.operands[operand].grid.dims.len()
    }

    /// The rank of the result.
    pub(crate) fn rank_of_output(&self) -> usize {
        self.output.grid.dims.len()
    }

    /// Elements of operand 0.
    pub(crate) fn inputs(&self) -> f64 {
        self.operands.first().map_or(0.0, |view| view.grid.elements() as f64)
    }

    /// Elements of the result.
    pub(crate) fn results(&self) -> f64 {
        self.output.grid.elements() as f64
    }

    /// The operands, then the result.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.operands.iter().chain([&self.output])
    }

    /// The same, to be changed.
    pub fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.operands.iter_mut().chain([&mut self.output])
    }

    /// The call without what one function can leave to its arguments: which bytes, and what for.
    #[must_use]
    pub fn geometry(&self) -> Call {
        let mut call = self.clone();
        for view in call.views_mut() {
            view.storage = match view.storage {
                Storage::Buffer(_) => Storage::Buffer(BufferId(0)),
                Storage::Const(_) => Storage::Const(ConstId(0)),
            };
            view.offset = 0;
            view.loops.clear();
        }
        call.origin.clear();
        call
    }
}

//! Programs: which kernels run on which bytes, in which order.
//!
//! A program is what a graph becomes before machine code: buffers with offsets in one arena, constants packed for their
//! kernels, and [calls](crate::kernel::Call) of kernels, whose [views](crate::view::View) say where operands and results lie.

use eightfold_ir::DType;

use crate::kernel::Call;
use crate::target::Target;
use crate::view::Const;

mod check;
pub(crate) mod footprint;
pub(crate) mod liveness;
mod parse;
mod print;
mod region;
mod scheduled;
mod traffic;
mod verify;

pub use self::check::{PlanError, check};
pub use self::parse::{ParseError, parse};
pub use self::region::{Execution, For, If, Item, Parallel, calls, executions, for_each_call, views, walk};
pub use self::scheduled::{ScheduleError, Scheduled};
pub use self::traffic::Reach;
pub use self::verify::{ProgramError, verify};

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

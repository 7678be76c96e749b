//! Programs: which kernels run on which bytes, in which order.
//!
//! A program lies between graph and machine code: buffers with offsets in one arena, constants, and
//! [calls](crate::kernel::Call) of kernels, whose [views](crate::view::View) locate operands and results.

use std::collections::BTreeMap;

use eightfold_ir::DType;

use crate::kernel::Call;
use crate::target::Target;
use crate::view::{BufferId, Const, LoopId, Storage};

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
pub use self::region::{
    Execution, For, If, Item, Parallel, calls, executions, for_each_call, for_each_view, views, walk,
};
pub use self::scheduled::{ScheduleError, Scheduled};
pub use self::traffic::Reach;
pub use self::verify::{ProgramError, verify};

/// The memory that a buffer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// The caller's input at this position.
    Input(usize),
    /// The caller's output at this position.
    Output(usize),
    /// The arena, starting at this byte.
    Arena {
        /// First byte, a multiple of [`Program::ARENA_ALIGN`].
        offset: usize,
    },
}

/// Memory that calls read and write.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The value that it holds, for dumps.
    pub name: String,
    /// The memory that it belongs to.
    pub kind: BufferKind,
    /// Element type, for dumps and alignment.
    pub dtype: DType,
    /// Size in bytes. After an arena buffer there are [`Program::SLACK`] more bytes that kernels may read.
    pub byte_size: usize,
}

/// A chain of calls, and whether it runs depth first, in bands of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Band {
    /// The ONNX nodes of each call.
    pub chain: Vec<String>,
    /// Rows of the last result per band.
    pub height: usize,
    /// Number of bands.
    pub count: usize,
    /// Whether the chain runs in bands.
    pub is_used: bool,
    /// Whether a measurement made this decision, instead of the cost model.
    pub is_measured: bool,
    /// Nanoseconds that bands save because data stays in near caches.
    pub saved: f64,
    /// Nanoseconds that bands cost.
    pub spent: f64,
}

/// Kernel calls over buffers and constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The model's name.
    pub name: String,
    /// The target.
    pub target: &'static Target,
    /// Inputs, outputs and arena buffers.
    pub buffers: Vec<Buffer>,
    /// Constants in the order in which they are first read.
    pub consts: Vec<Const>,
    /// Number of threads, at least one.
    pub threads: usize,
    /// What runs, in order. Items outside a [`Parallel`] run on the first thread.
    pub body: Vec<Item>,
    /// Bytes of the arena.
    pub arena_size: usize,
    /// Chains that run in bands, and neighbouring calls that could.
    pub bands: Vec<Band>,
}

impl Program {
    /// Alignment of the arena and of each buffer in it.
    pub const ARENA_ALIGN: usize = 64;

    /// Bytes after each arena buffer and constant that kernels may read, but never write.
    pub const SLACK: usize = 256;

    /// A program without calls.
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

    /// Number of threads other than the first that have work.
    #[must_use]
    pub fn workers(&self) -> usize {
        let is_shared = |item: &Item| match item {
            Item::Parallel(parallel) => parallel.threads.iter().skip(1).any(|body| !body.is_empty()),
            _ => false,
        };
        if self.body.iter().any(is_shared) { self.threads - 1 } else { 0 }
    }

    /// The first number that no loop has, nor any after it.
    #[must_use]
    pub fn next_loop(&self) -> usize {
        let mut next = 0;
        walk(&self.body, &mut |item| {
            if let Item::For(For { id: LoopId(id), .. }) = item {
                next = next.max(id + 1);
            }
        });
        next
    }

    /// Makes all views of some buffers views of others, and removes the buffers that nothing views any more. The keys are
    /// the buffers to remove, the values those that stay.
    pub(crate) fn replace_buffers(&mut self, by: &BTreeMap<BufferId, BufferId>) {
        let places: Vec<BufferId> =
            (0..self.buffers.len()).map(|at| BufferId(at - by.range(..BufferId(at)).count())).collect();
        let mut at = 0..self.buffers.len();
        self.buffers.retain(|_| at.next().is_some_and(|at| !by.contains_key(&BufferId(at))));
        for_each_view(&mut self.body, &mut |view| {
            if let Storage::Buffer(id) = &mut view.storage {
                let BufferId(kept) = by.get(id).copied().unwrap_or(*id);
                *id = places[kept];
            }
        });
    }

    /// All calls, in the order of the text. The position of a call in this order is its number.
    #[must_use]
    pub fn calls(&self) -> Vec<&Call> {
        calls(&self.body)
    }

    /// All executions of calls when the program runs, in an order that is valid for one thread.
    #[must_use]
    pub fn executions(&self) -> Vec<Execution> {
        executions(&self.body)
    }
}

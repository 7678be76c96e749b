//! The rules that every program obeys, whichever pass made it: everything that it names exists, views stay inside their
//! bytes, and regions are nested as allowed.

use std::collections::BTreeSet;

use super::footprint::{Footprint, reads, writes};
use super::{Item, Program, executions};
use crate::kernel::Call;
use crate::step::{Step, elementwise};
use crate::view::{BufferId, ConstId, FARTHEST, LoopId, Storage, View};

/// A rule that a program breaks: a bug here, or a mistake in a program text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A view names a buffer or a constant that does not exist.
    #[error("call {call}: there is no {storage}")]
    UnknownStorage {
        /// Number of the call.
        call: usize,
        /// The name.
        storage: String,
    },
    /// A view moves with a loop that does not enclose it.
    #[error("call {call}: no loop {id} is around it")]
    UnknownLoop {
        /// Number of the call.
        call: usize,
        /// The loop.
        id: LoopId,
    },
    /// A step reads an operand that the call does not have.
    #[error("call {call}: a step reads operand {operand} of {count}")]
    UnknownOperand {
        /// Number of the call.
        call: usize,
        /// Position of the operand.
        operand: usize,
        /// Number of operands of the call.
        count: usize,
    },
    /// A call does not fit its kernel's family.
    #[error("call {call}: {family}: {reason}")]
    Misfit {
        /// Number of the call.
        call: usize,
        /// The family.
        family: &'static str,
        /// The rule.
        reason: String,
    },
    /// A view reaches an element beyond all addresses.
    #[error("call {call} reaches element {element} of {storage}")]
    TooFar {
        /// Number of the call.
        call: usize,
        /// The element.
        element: i128,
        /// The buffer or constant.
        storage: String,
    },
    /// A call touches bytes outside its buffer or constant.
    #[error("call {call} reaches byte {end} of {name}, which has {size}")]
    OutOfBounds {
        /// Number of the call.
        call: usize,
        /// The buffer or constant.
        name: String,
        /// One more than the last byte touched.
        end: usize,
        /// Its size in bytes.
        size: usize,
    },
    /// A region is nested as it must not be, or has the wrong number of bodies or turns.
    #[error("{reason}")]
    Region {
        /// The broken rule.
        reason: String,
    },
}

/// The limit on executions of calls: a call in a loop counts once per turn.
const MOST_RUNS: usize = 1 << 20;

/// Checks all rules.
///
/// # Errors
/// Fails at the first broken rule.
pub fn verify(program: &Program) -> Result<(), ProgramError> {
    if program.threads == 0 {
        return Err(region("a program runs on at least one thread"));
    }
    let mut structure = Structure { program, around: Vec::new(), seen: BTreeSet::new(), number: 0, runs: 0 };
    structure.items(&program.body, true)?;
    if structure.runs > MOST_RUNS {
        return Err(region(format!("{} calls run, more than {MOST_RUNS}", structure.runs)));
    }
    for run in executions(&program.body) {
        let written = writes(&run.call).into_iter().map(|written| (written, 0));
        // Kernels may read, but not use, the slack behind a buffer.
        let read = reads(&run.call).into_iter().map(|read| (read, Program::SLACK));
        written.chain(read).try_for_each(|(touched, slack)| inside(program, run.number, &touched, slack))?;
    }
    Ok(())
}

fn region(reason: impl Into<String>) -> ProgramError {
    ProgramError::Region { reason: reason.into() }
}

/// The state of a walk over the tree.
struct Structure<'p> {
    program: &'p Program,
    /// The loops around the item, with their numbers of turns.
    around: Vec<(LoopId, usize)>,
    /// The loops visited so far.
    seen: BTreeSet<LoopId>,
    /// The number of calls visited so far.
    number: usize,
    /// The number of executions of these calls.
    runs: usize,
}

impl Structure<'_> {
    fn items(&mut self, items: &[Item], is_outermost: bool) -> Result<(), ProgramError> {
        items.iter().try_for_each(|item| self.item(item, is_outermost))
    }

    fn item(&mut self, item: &Item, is_outermost: bool) -> Result<(), ProgramError> {
        match item {
            Item::Call(call) => {
                self.call(call)?;
                self.number += 1;
                let times = self.around.iter().fold(1, |times: usize, (_, count)| times.saturating_mul(*count));
                self.runs = self.runs.saturating_add(times);
            }
            Item::For(each) => {
                if each.count == 0 {
                    return Err(region(format!("loop {} has no turns", each.id)));
                }
                if !self.seen.insert(each.id) {
                    return Err(region(format!("loop {} is there twice", each.id)));
                }
                self.around.push((each.id, each.count));
                self.items(&each.body, false)?;
                self.around.pop();
            }
            Item::If(branch) => {
                self.view(&branch.condition)?;
                let dtype = branch.condition.dtype;
                if branch.condition.grid.elements() != 1 || dtype.is_float() || dtype.bits() < 8 {
                    return Err(region("a condition is one bool or integer of whole bytes"));
                }
                self.items(&branch.then, false)?;
                self.items(&branch.otherwise, false)?;
            }
            Item::Parallel(parallel) => {
                let (got, expected) = (parallel.threads.len(), self.program.threads);
                if !is_outermost {
                    return Err(region("a parallel region stands in no other region"));
                }
                if got != expected {
                    return Err(region(format!("a parallel region has {got} threads, the program {expected}")));
                }
                parallel.threads.iter().try_for_each(|body| self.items(body, false))?;
            }
        }
        Ok(())
    }

    fn call(&self, call: &Call) -> Result<(), ProgramError> {
        call.views().try_for_each(|view| self.view(view))?;
        let (kernel, count) = (call.producer.def(), call.operands.len());
        let misfit =
            |reason: String| Err(ProgramError::Misfit { call: self.number, family: call.producer.family(), reason });
        if count < kernel.operand_count() {
            return misfit(format!("expected {} operands, got {count}", kernel.operand_count()));
        }
        if let Some(reason) = kernel.misfit(call) {
            return misfit(reason.to_owned());
        }
        if let Some(window) = kernel.input_window(call) {
            window.views(&call.operands[0]).iter().try_for_each(|view| self.reach(view))?;
        }
        let tables = call.steps.iter().filter_map(|step| match step {
            Step::Table { operand, .. } => Some(*operand),
            _ => None,
        });
        let elementwise = elementwise(&call.steps);
        if let Some(operand) = elementwise.iter().copied().chain(tables).find(|operand| *operand >= count) {
            return Err(ProgramError::UnknownOperand { call: self.number, operand, count });
        }
        match elementwise.into_iter().find(|operand| call.operands[*operand].grid.dims != call.output.grid.dims) {
            Some(operand) => misfit(format!("operand {operand} of a step must have the extents of the result")),
            None => Ok(()),
        }
    }

    fn view(&self, view: &View) -> Result<(), ProgramError> {
        let call = self.number;
        let exists = match view.storage {
            Storage::Buffer(BufferId(id)) => id < self.program.buffers.len(),
            Storage::Const(ConstId(id)) => id < self.program.consts.len(),
        };
        if !exists {
            return Err(ProgramError::UnknownStorage { call, storage: view.storage.to_string() });
        }
        if let Some((id, _)) = view.loops.iter().find(|(id, _)| self.around.iter().all(|(own, _)| own != id)) {
            return Err(ProgramError::UnknownLoop { call, id: *id });
        }
        self.reach(view)
    }

    /// Checks that the positions of the view's elements, and their number, are in `0..FARTHEST` in all turns.
    fn reach(&self, view: &View) -> Result<(), ProgramError> {
        let turns = |id: &LoopId| self.around.iter().find(|(own, _)| own == id).map_or(1, |(_, turns)| *turns);
        let axes = view.grid.dims.iter().copied().zip(view.grid.strides.iter().copied());
        let loops = view.loops.iter().map(|(id, step)| (turns(id), *step));
        let (mut least, mut most) = (view.offset as i128, view.offset as i128);
        let mut elements = 1_i128;
        for (extent, stride) in axes.chain(loops) {
            let end = (extent as i128 - 1).saturating_mul(stride as i128);
            (least, most) = (least.saturating_add(end.min(0)), most.saturating_add(end.max(0)));
            elements = elements.saturating_mul(extent as i128);
        }
        let is_empty = view.grid.elements_checked() == Some(0);
        let outside = [least, most.max(elements)].into_iter().find(|at| !(0..FARTHEST).contains(at));
        match outside.filter(|_| !is_empty) {
            Some(element) => {
                Err(ProgramError::TooFar { call: self.number, element, storage: view.storage.to_string() })
            }
            None if is_empty => Ok(()),
            None => self.constant(view, most),
        }
    }

    /// Checks that a constant contains the view's farthest element.
    fn constant(&self, view: &View, most: i128) -> Result<(), ProgramError> {
        let Storage::Const(ConstId(id)) = view.storage else { return Ok(()) };
        let constant = &self.program.consts[id];
        let (end, size) = ((most as usize + 1) * view.dtype.byte_size(), constant.bytes.len());
        if end <= size {
            return Ok(());
        }
        Err(ProgramError::OutOfBounds { call: self.number, end, name: constant.name.clone(), size })
    }
}

/// Checks that the bytes lie in the buffer or in the `slack` after it.
fn inside(program: &Program, call: usize, touched: &Footprint, slack: usize) -> Result<(), ProgramError> {
    let buffer = &program.buffers[touched.buffer.0];
    let (size, end) = (buffer.byte_size, touched.bytes.last().map_or(0, |range| range.end));
    if end <= size + slack {
        return Ok(());
    }
    Err(ProgramError::OutOfBounds { call, name: buffer.name.clone(), end, size })
}

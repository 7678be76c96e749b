//! The rules that every program keeps, whichever pass made it: what it names exists, views stay inside their bytes, regions
//! stand where they may.

use std::collections::BTreeSet;

use super::footprint::{Footprint, reads, writes};
use super::{BufferId, Call, ConstId, Item, LoopId, Program, Step, Storage, View, elementwise, executions};

/// A rule that a program breaks: our own mistake, or that of whoever wrote its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// A view names a buffer or a constant that there is not.
    #[error("call {call}: there is no {storage}")]
    UnknownStorage {
        /// Number of the call.
        call: usize,
        /// What it names.
        storage: String,
    },
    /// A view moves with a loop that is not around it.
    #[error("call {call}: no loop {id} is around it")]
    UnknownLoop {
        /// Number of the call.
        call: usize,
        /// What it names.
        id: LoopId,
    },
    /// A step reads an operand that the call has not.
    #[error("call {call}: a step reads operand {operand} of {count}")]
    UnknownOperand {
        /// Number of the call.
        call: usize,
        /// Position that is read.
        operand: usize,
        /// Operands that there are.
        count: usize,
    },
    /// A call touches bytes outside what it names.
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
    /// A region stands where it may not, or has the wrong number of bodies or turns.
    #[error("{reason}")]
    Region {
        /// What is wrong with it.
        reason: String,
    },
}

/// Checks all rules.
///
/// # Errors
/// The first that is broken.
pub fn verify(program: &Program) -> Result<(), ProgramError> {
    if program.threads == 0 {
        return Err(region("a program runs on at least one thread"));
    }
    let mut structure = Structure { program, around: Vec::new(), seen: BTreeSet::new(), number: 0 };
    structure.items(&program.body, true)?;
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

/// The tree as it is walked.
struct Structure<'p> {
    program: &'p Program,
    /// Loops around the item.
    around: Vec<LoopId>,
    /// Loops so far.
    seen: BTreeSet<LoopId>,
    /// Calls so far.
    number: usize,
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
            }
            Item::For(each) => {
                if each.count == 0 {
                    return Err(region(format!("loop {} has no turns", each.id)));
                }
                if !self.seen.insert(each.id) {
                    return Err(region(format!("loop {} is there twice", each.id)));
                }
                self.around.push(each.id);
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
        let count = call.operands.len();
        let tables = call.steps.iter().filter_map(|step| match step {
            Step::Table { operand, .. } => Some(*operand),
            _ => None,
        });
        match elementwise(&call.steps).into_iter().chain(tables).find(|operand| *operand >= count) {
            Some(operand) => Err(ProgramError::UnknownOperand { call: self.number, operand, count }),
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
        match view.loops.iter().find(|(id, _)| !self.around.contains(id)) {
            Some((id, _)) => Err(ProgramError::UnknownLoop { call, id: *id }),
            None => Ok(()),
        }
    }
}

/// Whether the bytes are the buffer's, or lie in its `slack`.
fn inside(program: &Program, call: usize, touched: &Footprint, slack: usize) -> Result<(), ProgramError> {
    let buffer = &program.buffers[touched.buffer.0];
    let (size, end) = (buffer.byte_size, touched.bytes.last().map_or(0, |range| range.end));
    if end <= size + slack {
        return Ok(());
    }
    Err(ProgramError::OutOfBounds { call, name: buffer.name.clone(), end, size })
}

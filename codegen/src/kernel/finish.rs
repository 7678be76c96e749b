//! The end of a kernel: runs the call's steps on the computed numbers and stores the results.

use eightfold_ir::DType;

use super::nest::{Stretch, read, write};
use crate::kernel::Call;
use crate::kernel::steps::{self, Operands};
use crate::step::elementwise;
use crate::vector::{Emitter, Ptr, Vector};
use crate::view::View;

/// The epilogue of a call: its step operands and its result, whose pointers move together.
pub(crate) struct Finish<'c> {
    call: &'c Call,
    /// Positions in [`Call::operands`] of the step operands with an element for each result.
    operands: Vec<usize>,
}

impl<'c> Finish<'c> {
    pub(crate) fn of(call: &'c Call) -> Self {
        Finish { call, operands: elementwise(&call.steps) }
    }

    /// The views that move along the result: the step operands, then the result itself.
    pub(crate) fn views(&self) -> Vec<&'c View> {
        self.operands.iter().map(|index| &self.call.operands[*index]).chain([&self.call.output]).collect()
    }

    /// The function's parameters that belong to [`Finish::views`].
    pub(crate) fn pointers<'ctx>(&self, parameters: &[Ptr<'ctx>]) -> Vec<Ptr<'ctx>> {
        let result = parameters[self.call.operands.len()];
        self.operands.iter().map(|index| parameters[*index]).chain([result]).collect()
    }

    /// All views that move along the loops of a kernel, and their parameters: the first `count` operands, then
    /// [`Finish::views`].
    pub(crate) fn moving<'ctx>(&self, count: usize, parameters: &[Ptr<'ctx>]) -> (Vec<&'c View>, Vec<Ptr<'ctx>>) {
        let views = self.call.operands[..count].iter().chain(self.views()).collect();
        let pointers = parameters[..count].iter().copied().chain(self.pointers(parameters)).collect();
        (views, pointers)
    }

    /// Runs the steps on `produced`, which holds a stretch of elements of type `dtype`, and stores the result.
    ///
    /// For each of [`Finish::views`], `at` is the address of the stretch's first element, and `strides` the distance of
    /// its elements in bytes.
    pub(crate) fn store<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        parameters: &[Ptr<'ctx>],
        (at, strides): (&[Ptr<'ctx>], &[isize]),
        (produced, dtype): (Vector<'ctx>, DType),
        stretch: Stretch,
    ) {
        let load = |position: usize| {
            let kind = steps::kind(self.call.operands[self.operands[position]].dtype);
            read(e, at[position], strides[position], kind, stretch)
        };
        let result = self.apply(e, parameters, (produced, dtype), load);
        write(e, at[self.operands.len()], strides[self.operands.len()], result, stretch);
    }

    /// Runs the steps; `load` returns the elements of one of [`Finish::views`].
    pub(crate) fn apply<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        parameters: &[Ptr<'ctx>],
        (produced, dtype): (Vector<'ctx>, DType),
        load: impl FnMut(usize) -> Vector<'ctx>,
    ) -> Vector<'ctx> {
        let mut elements = Elements { operands: &self.operands, parameters, load };
        steps::apply(e, self.call, produced, dtype, &mut elements)
    }
}

/// Loads step operands at the coordinates of one vector.
struct Elements<'a, 'ctx, F> {
    operands: &'a [usize],
    parameters: &'a [Ptr<'ctx>],
    load: F,
}

impl<'ctx, F: FnMut(usize) -> Vector<'ctx>> Operands<'ctx> for Elements<'_, 'ctx, F> {
    fn load(&mut self, index: usize) -> Vector<'ctx> {
        let position = self.operands.iter().position(|operand| *operand == index);
        (self.load)(position.unwrap_or_else(|| unreachable!("operand {index} is among those that steps read")))
    }

    fn table(&self, index: usize) -> Ptr<'ctx> {
        self.parameters[index]
    }
}

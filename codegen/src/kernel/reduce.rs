//! `reduce`: folds along axes.

mod emit;
#[cfg(test)]
mod tests;

use eightfold_ir::DType;

use super::KernelDef;
use super::attribute::attributes;
use super::fold::Fold;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};

/// Folds the axes of operand 0 on which the result has extent 1. Both views have the same rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reduce {
    /// The operation that combines the elements.
    pub fold: Fold,
}

attributes! { Reduce { fold } }

impl KernelDef for Reduce {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        let (from, to) = (&call.operands[0].grid.dims, &call.output.grid.dims);
        let fits = from.len() == to.len() && from.iter().zip(to).all(|(from, to)| *to == 1 || from == to);
        (!fits).then_some("each extent of the result must be 1 or that of the operand")
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self.fold, parameters);
    }

    fn unit(&self, call: &Call, axis: usize) -> Option<usize> {
        (call.operands[0].grid.dims[axis] == call.output.grid.dims[axis]).then_some(1)
    }

    /// A part with one result could make vectors run along another axis, which would change the order of sums.
    fn least_part(&self) -> usize {
        2
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        let input = call.input_type();
        (self.fold.result(input), call.inputs() * self.fold.operations(input))
    }
}

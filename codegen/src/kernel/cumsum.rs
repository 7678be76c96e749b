//! `cumsum`: running sums along an axis.

mod emit;
#[cfg(test)]
mod tests;

use eightfold_ir::DType;

use super::attribute::attributes;
use super::{KernelDef, along};
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};

/// Running sums of operand 0, which has the result's shape. Elements are added one by one; each sum is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CumSum {
    /// The axis along which elements are added.
    pub axis: usize,
    /// Whether each sum excludes the element at its own position.
    pub exclusive: bool,
    /// Whether the sum starts at the end of the axis.
    pub reverse: bool,
}

attributes! { CumSum { axis, exclusive, reverse } }

impl KernelDef for CumSum {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        along(self.axis, call)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, *self, parameters);
    }

    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        (axis != self.axis).then_some(1)
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (call.input_type(), call.results())
    }
}

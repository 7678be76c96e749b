//! `pointwise`: elementwise operators, copies, changes of layout and broadcasts.

mod emit;
#[cfg(test)]
mod tests;

use eightfold_ir::DType;

pub(crate) use self::emit::emit_axes;
use super::KernelDef;
use super::attribute::attributes;
use crate::kernel::Call;
use crate::kernel::operations::registers;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};

/// Each result is the element of operand 0 at the same coordinates. Views express copies, layout changes and
/// broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointwise;

attributes! { Pointwise {} }

impl KernelDef for Pointwise {
    fn writes_words(&self, call: &Call) -> bool {
        call.operands[0].dtype.is_float()
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, parameters);
    }

    fn may_overwrite_input(&self) -> bool {
        true
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    fn unit(&self, _call: &Call, _axis: usize) -> Option<usize> {
        Some(1)
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        let input = call.input_type();
        (input, call.results() * registers(input))
    }
}

//! `fill`: writes one number everywhere.

mod emit;
#[cfg(test)]
mod tests;

use std::ops::Range;

use eightfold_ir::DType;

use super::KernelDef;
use super::attribute::attributes;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::View;

/// Writes this stored number to the whole result: borders of padded buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The element's bytes in little-endian order.
    pub element: [u8; 8],
}

attributes! { Fill { element }, not in keys { element } }

impl KernelDef for Fill {
    fn operand_count(&self) -> usize {
        0
    }

    fn misfit(&self, _call: &Call) -> Option<&'static str> {
        None
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self.element, parameters);
    }

    fn filled(&self) -> Option<[u8; 8]> {
        Some(self.element)
    }

    fn unit(&self, _call: &Call, _axis: usize) -> Option<usize> {
        Some(1)
    }

    fn take_part(&mut self, _operands: &mut [View], _output: &View, _axis: usize, _range: &Range<usize>) {}

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (call.output.dtype, 0.0)
    }
}

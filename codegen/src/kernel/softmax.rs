//! `softmax`: softmax along an axis.

mod emit;
#[cfg(test)]
mod tests;

use eightfold_ir::DType;

use super::attribute::attributes;
use super::math;
use super::{KernelDef, along};
use crate::kernel::Call;
use crate::kernel::operations::{DIVISION, SCALAR_LOOKUP, tally};
use crate::target::Target;
use crate::vector::{Emitter, Ptr};

/// Softmax along `axis` of operand 0. 8-bit integers use operand 1, a table of 256 exponentials (i32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// The axis.
    pub axis: usize,
}

attributes! { Softmax { axis } }

impl KernelDef for Softmax {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        along(self.axis, call)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self.axis, parameters);
    }

    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        (axis != self.axis).then_some(1)
    }

    /// A part with one sum could make vectors run along another axis, which would change the order of the sum.
    fn least_part(&self) -> usize {
        2
    }

    fn operations(&self, call: &Call, target: &Target) -> (DType, f64) {
        let exponential = match call.input_type() {
            DType::F32 => 1.0 + tally(|a| math::exp(a, ())),
            _ => SCALAR_LOOKUP * target.lanes() as f64,
        };
        (DType::F32, call.inputs() * (2.0 * exponential + 3.0 + DIVISION))
    }
}

//! `interpolate`: linear interpolation along an axis.

mod emit;
#[cfg(test)]
mod tests;

use eightfold_ir::DType;

use super::attribute::attributes;
use super::{KernelDef, along};
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};

/// Linear interpolation of operand 0 along `axis`; it has the result's rank. For each output coordinate, operand 1
/// holds two positions (i32) and operand 2 their two weights (f32). A second element with weight 0 is ignored, even if
/// it is infinite or NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interpolate {
    /// The axis.
    pub axis: usize,
}

attributes! { Interpolate { axis } }

impl KernelDef for Interpolate {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        along(self.axis, call)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self.axis, parameters);
    }

    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        (axis != self.axis).then_some(1)
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        (DType::F32, 3.0 * call.results())
    }
}

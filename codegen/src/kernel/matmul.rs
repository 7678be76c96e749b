//! `matmul`: products of two matrices, neither of them constant.

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

/// A product of two matrices, neither of them constant: `x[.., m, k] * w[.., k, n]`. A stride of 0 repeats a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Zero points of the operands, 0 for floats.
    pub zero_points: [i32; 2],
}

attributes! { MatMul { zero_points }, not in keys { zero_points } }

impl KernelDef for MatMul {
    fn operand_count(&self) -> usize {
        2
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        let rank = call.rank_of_output();
        let alike = rank >= 2 && [0, 1].iter().all(|factor| call.rank(*factor) == rank);
        (!alike).then_some("the factors and the result must have one rank of at least 2")
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self.zero_points, parameters);
    }

    fn unit(&self, call: &Call, axis: usize) -> Option<usize> {
        (axis + 1 < call.output.grid.dims.len()).then_some(1)
    }

    /// Only the first matrix has the result's rows; both have its batches.
    fn take_part(&mut self, operands: &mut [View], output: &View, axis: usize, range: &Range<usize>) {
        let is_row = axis + 2 == output.grid.dims.len();
        for factor in &mut operands[..if is_row { 1 } else { 2 }] {
            factor.narrow(axis, range);
        }
    }

    fn macs(&self, call: &Call) -> usize {
        call.operands[0].grid.dims.last().map_or(0, |k| k * call.output.grid.elements())
    }

    /// Integers take one instruction per two products and lane, and an addition: one operation per product.
    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        match call.input_type().is_float() {
            true => (DType::F32, 0.0),
            false => (DType::I32, self.macs(call) as f64),
        }
    }
}

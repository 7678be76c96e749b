//! `pool`: folds of windows.

mod emit;
#[cfg(test)]
mod tests;

use std::ops::Range;

use eightfold_ir::DType;

use super::KernelDef;
use super::attribute::attributes;
use super::fold::Fold;
use crate::kernel::Call;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::View;

/// A window over axes 2 and 3 of operand 0, a view of rank 4 (N, C, H, W). Elements outside the input are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The operation that combines the elements of a window.
    pub fold: Fold,
    /// Window extents.
    pub kernel: [usize; 2],
    /// Distance of neighbouring windows.
    pub strides: [usize; 2],
    /// Distance of neighbouring elements of a window.
    pub dilations: [usize; 2],
    /// Padding before rows and columns.
    pub pads: [usize; 2],
    /// For means: `None` if padding does not count in the divisor, else the padding after rows and columns.
    pub include_pad: Option<[usize; 2]>,
}

attributes! { Pool { fold, kernel, strides, dilations, pads, include_pad } }

impl KernelDef for Pool {
    fn misfit(&self, call: &Call) -> Option<&'static str> {
        if call.rank(0) != 4 || call.rank_of_output() != 4 {
            return Some("the operand and the result must have rank 4");
        }
        let positive = [self.kernel, self.strides, self.dilations].as_flattened().iter().all(|extent| *extent > 0);
        (!positive).then_some("kernel, strides and dilations must be positive")
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self, parameters);
    }

    fn runs_in_bands(&self) -> bool {
        true
    }

    fn input_rows(&self, input: &View, rows: Range<usize>) -> Range<usize> {
        let height = input.grid.dims[2];
        let begin = (rows.start * self.strides[0]).saturating_sub(self.pads[0]).min(height);
        let reach = (self.kernel[0] - 1) * self.dilations[0] + 1;
        let end = ((rows.end - 1) * self.strides[0] + reach).saturating_sub(self.pads[0]);
        begin..end.clamp(begin, height)
    }

    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        (axis < 3).then_some(1)
    }

    /// For a range of rows, the input begins at the first row that the first window reads. `pads` keeps the rows of
    /// padding that this window reads.
    fn take_part(&mut self, operands: &mut [View], _output: &View, axis: usize, range: &Range<usize>) {
        let input = &mut operands[0];
        if axis != 2 {
            return input.narrow(axis, range);
        }
        let Pool { kernel, strides, dilations, pads, include_pad, .. } = self;
        let rows = input.grid.dims[2];
        // All rows are counted from the first row of padding.
        let first = range.start * strides[0];
        let end = (range.end - 1) * strides[0] + (kernel[0] - 1) * dilations[0] + 1;
        let inside = first.max(pads[0]).min(pads[0] + rows)..end.clamp(pads[0], pads[0] + rows);
        let padded = include_pad.map(|after| pads[0] + rows + after[0]);
        let before = pads[0];
        input.narrow(2, &(inside.start - before..inside.end.max(inside.start) - before));
        pads[0] = inside.start - first.min(inside.start);
        if let (Some(after), Some(padded)) = (include_pad, padded) {
            // The counted rows end where they did in the whole call.
            after[0] = padded - first - pads[0] - input.grid.dims[2];
        }
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        let input = call.input_type();
        let taken = call.results() * (self.kernel[0] * self.kernel[1]) as f64;
        (self.fold.result(input), taken * self.fold.operations(input))
    }
}

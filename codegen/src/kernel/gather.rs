//! `gather`: takes elements along an axis at positions given by a tensor.

mod emit;
#[cfg(test)]
mod tests;
mod tied;

use eightfold_ir::DType;

pub(crate) use self::emit::{emit_check, position};
use super::KernelDef;
use super::attribute::{Attribute, attributes};
use super::plain::PackedMatrix;
use crate::kernel::Call;
use crate::kernel::operations::registers;
use crate::target::Target;
use crate::vector::{Emitter, Ptr};
use crate::view::{Const, ConstId, Storage, View};

/// Elements of operand 0 along `axis`, at the positions in operand 1 (a vector of i32 or i64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
    /// How positions are laid out in memory, if they are not one stride of the axis apart.
    pub blocks: Option<Blocks>,
}

/// Positions of an axis in blocks: position `p` is `p / size * distance + p % size * stride` elements from the first,
/// where `stride` is the stride of the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Positions per block.
    pub size: usize,
    /// Distance between neighbouring blocks, in elements.
    pub distance: isize,
}

/// `8@64`, the size and the distance.
impl Attribute for Blocks {
    fn text(&self) -> String {
        format!("{}@{}", self.size, self.distance)
    }

    fn parse(text: &str) -> Option<Self> {
        let (size, distance) = text.split_once('@')?;
        Some(Blocks { size: Attribute::parse(size)?, distance: Attribute::parse(distance)? })
    }
}

attributes! { Gather { axis, blocks } }

impl KernelDef for Gather {
    fn operand_count(&self) -> usize {
        2
    }

    fn misfit(&self, call: &Call) -> Option<&'static str> {
        let outside = self.axis >= call.rank(0) || self.axis >= call.rank_of_output();
        outside.then_some("the axis must be one of the operand and of the result")
    }

    fn take_rows(&self, call: &Call, packed: &[(ConstId, PackedMatrix)], consts: &[Const]) -> Option<Call> {
        tied::take_rows(self, call, packed, consts)
    }

    fn emit<'ctx>(&self, e: &Emitter<'_, 'ctx>, call: &Call, parameters: &[Ptr<'ctx>]) {
        emit::emit(e, call, self, parameters);
    }

    /// Lowering has already checked constant positions.
    fn unchecked_positions<'c>(&self, call: &'c Call) -> Option<(&'c View, usize)> {
        let positions = &call.operands[1];
        let is_computed = matches!(positions.storage, Storage::Buffer(_));
        is_computed.then(|| (positions, call.operands[0].grid.dims[self.axis]))
    }

    fn unit(&self, _call: &Call, axis: usize) -> Option<usize> {
        (axis != self.axis).then_some(1)
    }

    fn operations(&self, call: &Call, _target: &Target) -> (DType, f64) {
        let input = call.input_type();
        (input, call.results() * registers(input))
    }

    /// The call reads no more of the table than it yields.
    fn operand_bytes(&self, call: &Call, index: usize) -> u64 {
        let view = &call.operands[index];
        let yielded = (call.output.grid.elements() * view.dtype.byte_size()) as u64;
        if index == 0 { view.distinct_bytes().min(yielded) } else { view.distinct_bytes() }
    }
}

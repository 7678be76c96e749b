//! Pointwise steps of calls: the operations on each element of a result before it is stored.

use eightfold_ir::{DType, Function};

/// A pointwise step with operands by position in [`Call::operands`](crate::kernel::Call::operands); otherwise as
/// [`eightfold_ir::Step`].
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A scalar function.
    Apply(Function, Vec<Arg>),
    /// Converts to another type.
    Cast(DType),
    /// `f32(x - zero_point) * scale`
    Dequantize {
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// Divides by `scale` (unless it is 1), clamps, rounds half to even, adds `zero_point`.
    Quantize {
        /// The integer type stored.
        dtype: DType,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
        /// The least integer stored.
        min: i32,
        /// The greatest integer stored.
        max: i32,
    },
    /// Looks the number up in the operand, a constant of 256 elements of this type.
    Table {
        /// Position in [`Call::operands`](crate::kernel::Call::operands).
        operand: usize,
        /// Element type of the table.
        dtype: DType,
    },
}

/// An argument of a scalar function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// The current number.
    Current,
    /// The operand at this position of [`Call::operands`](crate::kernel::Call::operands), at the same coordinates.
    Operand(usize),
    /// The same, read as `f32(x - zero_point) * scale`.
    Dequantized {
        /// Position in [`Call::operands`](crate::kernel::Call::operands).
        operand: usize,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
}

/// The positions in [`Call::operands`](crate::kernel::Call::operands) of the operands that steps read element by
/// element, without tables.
pub(crate) fn elementwise(steps: &[Step]) -> Vec<usize> {
    let args = steps.iter().flat_map(|step| match step {
        Step::Apply(_, args) => args.as_slice(),
        _ => &[],
    });
    let read = args.filter_map(|arg| match *arg {
        Arg::Operand(operand) | Arg::Dequantized { operand, .. } => Some(operand),
        _ => None,
    });
    let mut positions: Vec<usize> = read.collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

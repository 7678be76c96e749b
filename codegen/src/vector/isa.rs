//! Instruction sets: the verbs that depend on the architecture, because its instructions do them better or LLVM IR
//! cannot express them.
//!
//! [`Generic`] implements all of them in plain LLVM IR and intrinsics that every architecture has. So it runs
//! everywhere, with any target's tiles. Other instruction sets compute the same bits. Each is a file, and a row of
//! [`of`].
//!
//! Verbs call [`Emitter::isa`]; no other code names an architecture's intrinsics.

mod generic;
mod x86;

use super::{Emitter, Ptr, Rounding, Vector};
use crate::target::{InstructionSet, Target};
use generic::Generic;

/// An instruction set: its properties, and the verbs that it implements.
pub(crate) trait Isa {
    /// LLVM features that tune the code and do not require anything of the CPU.
    fn tuning(&self) -> &'static [&'static str];

    /// The intrinsic that a spinning thread executes between two loads, if there is one.
    fn pause(&self) -> Option<&'static str>;

    /// How code reads and sets the floating-point mode, if the mode may differ from the one that the compiler assumes.
    fn float_mode(&self) -> Option<FloatMode>;

    /// Whether the target has instructions that convert half-precision numbers.
    fn converts_halves(&self, target: &Target) -> bool;

    /// Rounds F32 numbers to integral ones, in the direction of `rounding`.
    fn round<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx>;

    /// [`Emitter::dot_accumulate_joined`].
    fn dot<'ctx>(&self, e: &Emitter<'_, 'ctx>, sum: Vector<'ctx>, products: &[[Vector<'ctx>; 2]]) -> Vector<'ctx>;

    /// [`Emitter::dot_accumulate_bf16`].
    fn dot_bf16<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        x: Vector<'ctx>,
        w: Vector<'ctx>,
    ) -> Vector<'ctx>;

    /// [`Emitter::multiply_pairs`].
    fn multiply_pairs<'ctx>(&self, e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx>;

    /// [`Emitter::quantize_bytes`].
    fn quantize_bytes<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, bytes: Bytes) -> Vector<'ctx>;

    /// For each byte of `indices`, the byte of the 256-byte table at `table`. There are at least eight indices.
    fn lookup<'ctx>(&self, e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx>;
}

/// The intrinsics that store and load the floating-point mode, a 32-bit word in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatMode {
    pub(crate) store: &'static str,
    pub(crate) load: &'static str,
    /// The mode that code needs: round to nearest even, keep subnormals, trap nothing.
    pub(crate) ours: u64,
}

/// How numbers are quantized to bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) zero_point: i32,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) signed: bool,
}

/// The instruction set with this name.
pub(crate) fn of(name: InstructionSet) -> &'static dyn Isa {
    match name {
        InstructionSet::Generic => &Generic,
        InstructionSet::X86 => &x86::X86,
    }
}

impl Emitter<'_, '_> {
    /// The instruction set of the target.
    pub(super) fn isa(&self) -> &'static dyn Isa {
        of(self.target.instructions)
    }
}

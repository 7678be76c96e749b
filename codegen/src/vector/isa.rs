//! Instruction sets: what verbs leave to an architecture, because its instructions do it better or LLVM has no words
//! for it.
//!
//! [`Generic`] says everything in plain LLVM IR and intrinsics that every architecture has, so it runs on each of them,
//! with any target's tiles. Other instruction sets compute the same bits. Each is a file, and a row of [`of`].
//!
//! Verbs ask through [`Emitter::isa`]; nothing else names an architecture's intrinsics.

mod generic;
mod x86;

use super::{Emitter, Ptr, Rounding, Vector};
use crate::target::{InstructionSet, Target};
use generic::Generic;

/// An instruction set: questions about it, and the verbs that it says in its own way.
pub(crate) trait Isa {
    /// Features, as LLVM spells them, that tune the code and need nothing of the CPU.
    fn tuning(&self) -> &'static [&'static str];

    /// The intrinsic that a thread calls between two looks at what it waits for, if there is one.
    fn pause(&self) -> Option<&'static str>;

    /// How code reads and sets the mode of floating-point instructions, if that can differ from what the compiler counts on.
    fn float_mode(&self) -> Option<FloatMode>;

    /// Whether the target's instructions convert half-precision numbers.
    fn converts_halves(&self, target: &Target) -> bool;

    /// The nearest integral F32 numbers that `rounding` allows.
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

    /// One of 256 bytes at `table` for each byte of `indices`, which are at least eight.
    fn lookup<'ctx>(&self, e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx>;
}

/// The intrinsics that store and load the mode of floating-point instructions, a 32-bit word in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatMode {
    pub(crate) store: &'static str,
    pub(crate) load: &'static str,
    /// Round to nearest even, keep subnormals, trap nothing.
    pub(crate) ours: u64,
}

/// How numbers become bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes {
    pub(crate) zero_point: i32,
    pub(crate) min: i32,
    pub(crate) max: i32,
    pub(crate) signed: bool,
}

/// The instruction set of this name.
pub(crate) fn of(name: InstructionSet) -> &'static dyn Isa {
    match name {
        InstructionSet::Generic => &Generic,
        InstructionSet::X86 => &x86::X86,
    }
}

impl Emitter<'_, '_> {
    /// Whose instructions the target's kernels are written in.
    pub(super) fn isa(&self) -> &'static dyn Isa {
        of(self.target.instructions)
    }
}

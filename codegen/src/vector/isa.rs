//! Instruction sets: the verbs that depend on the architecture, because its instructions do them better or LLVM IR
//! cannot express them.
//!
//! [`Generic`] implements all of them in plain LLVM IR and intrinsics that every architecture has. So it runs
//! everywhere, with any target's tiles. Other instruction sets compute the same bits. Each is a file, and a row of
//! [`of`].
//!
//! Verbs call [`Emitter::isa`]; no other code names an architecture's intrinsics.

mod aarch64;
mod generic;
mod x86;

use super::{Emitter, Ptr, Rounding, Vector};
use crate::target::{InstructionSet, Target};
use generic::Generic;

/// An instruction set: its properties, and the verbs that it implements.
pub(crate) trait Isa {
    /// LLVM features that tune the code and do not require anything of the CPU.
    fn tuning(&self) -> &'static [&'static str];

    /// The intrinsic that a spinning thread executes between two loads, with its I32 arguments, if there is one.
    fn pause(&self) -> Option<(&'static str, &'static [u32])>;

    /// How code reads and sets the floating-point mode, if the mode may differ from the one that the compiler assumes.
    fn float_mode(&self) -> Option<FloatMode>;

    /// Whether the target has instructions that convert vectors of this many half-precision numbers.
    fn converts_halves(&self, target: &Target, lanes: usize) -> bool;

    /// Rounds F32 numbers to integral ones, in the direction of `rounding`.
    fn round<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx>;

    /// [`Emitter::dot_accumulate_joined`].
    fn dot<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        products: &[[Vector<'ctx>; 2]],
        signed: bool,
    ) -> Vector<'ctx>;

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

/// How code reads and sets the floating-point mode. The mode that it needs (`ours`) rounds to nearest even, keeps
/// subnormals and traps nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FloatMode {
    /// Intrinsics that store and load the mode, a 32-bit word in memory.
    Memory { store: &'static str, load: &'static str, ours: u64 },
    /// Intrinsics that read and write control registers of 64 bits.
    Registers(&'static [ControlRegister]),
}

/// A control register: the intrinsics that read and write it, and the contents that code needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ControlRegister {
    pub(crate) get: &'static str,
    pub(crate) set: &'static str,
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
        InstructionSet::Aarch64 => &aarch64::Aarch64,
    }
}

/// [`Isa::round`] by LLVM's intrinsics, for architectures that have an instruction for each of them.
fn round_by_instruction<'ctx>(e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx> {
    let name = match rounding {
        Rounding::Even => "llvm.roundeven",
        Rounding::Down => "llvm.floor",
        Rounding::Up => "llvm.ceil",
        Rounding::TowardsZero => "llvm.trunc",
    };
    e.lanewise(name, &[v])
}

impl Emitter<'_, '_> {
    /// The instruction set of the target.
    pub(super) fn isa(&self) -> &'static dyn Isa {
        of(self.target.instructions)
    }
}

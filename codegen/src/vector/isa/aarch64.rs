//! 64-bit Arm: NEON, and its dot products of bytes and bf16 as far as the target has them.
//!
//! Registers have 128 bits. Names are those of the instructions in Arm's Architecture Reference Manual.

use super::{Bytes, ControlRegister, FloatMode, Generic, Isa, round_by_instruction};
use crate::target::Target;
use crate::vector::built;
use crate::vector::{Emitter, Kind, Ptr, Rounding, Vector};

/// See the module's documentation.
pub(super) struct Aarch64;

/// Bytes of a register.
const REGISTER: usize = 16;

impl Isa for Aarch64 {
    fn tuning(&self) -> &'static [&'static str] {
        &[]
    }

    /// `yield`
    fn pause(&self) -> Option<(&'static str, &'static [u32])> {
        Some(("llvm.aarch64.hint", &[1]))
    }

    /// FPCR has the mode, FPSR the exception flags.
    fn float_mode(&self) -> Option<FloatMode> {
        const REGISTERS: &[ControlRegister] = &[
            ControlRegister { get: "llvm.aarch64.get.fpcr", set: "llvm.aarch64.set.fpcr", ours: 0 },
            ControlRegister { get: "llvm.aarch64.get.fpsr", set: "llvm.aarch64.set.fpsr", ours: 0 },
        ];
        Some(FloatMode::Registers(REGISTERS))
    }

    /// LLVM 19 fails on comparisons of vectors of one half, into which it turns those of converted numbers.
    fn converts_halves(&self, _target: &Target, lanes: usize) -> bool {
        lanes > 1
    }

    /// `frintn`, `frintm`, `frintp`, `frintz`
    fn round<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx> {
        round_by_instruction(e, v, rounding)
    }

    /// `sdot` or `usdot`. Without them, products of 16 bits (`smull`, `smlal`) are added to neighbours in 16 bits (`addp`)
    /// and accumulated in 32 bits (`sadalp`).
    fn dot<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        products: &[[Vector<'ctx>; 2]],
        signed: bool,
    ) -> Vector<'ctx> {
        let types = [(Kind::I32, 4), (Kind::I8, REGISTER)].map(|(kind, lanes)| e.vector_type(kind, lanes).into());
        if e.target().dot.pair_limit.is_none() {
            let name = if signed { "llvm.aarch64.neon.sdot" } else { "llvm.aarch64.neon.usdot" };
            return products
                .iter()
                .fold(sum, |sum, [x, w]| e.vector(e.intrinsic(name, &types, &[sum, *x, *w]), Kind::I32, 4));
        }
        let halves = [0, REGISTER / 2].map(|start| {
            let half = |v: Vector<'ctx>| e.slice(v, start, REGISTER / 2);
            let products = products.iter().map(|[x, w]| multiply_long(e, half(*x), half(*w)));
            products.reduce(|a, b| e.add(a, b)).expect("at least one product")
        });
        let pairs = e.lanewise("llvm.aarch64.neon.addp", &halves);
        let types = [(Kind::I32, 4), (Kind::I16, 8)].map(|(kind, lanes)| e.vector_type(kind, lanes).into());
        e.add(sum, e.vector(e.intrinsic("llvm.aarch64.neon.saddlp", &types, &[pairs]), Kind::I32, 4))
    }

    /// `bfdot`, if the target has it. It rounds both products and their sum to odd, flushes numbers below 2^-126 to zero,
    /// and rounds once more when it adds to the accumulator.
    fn dot_bf16<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        x: Vector<'ctx>,
        w: Vector<'ctx>,
    ) -> Vector<'ctx> {
        if !e.target().bf16 {
            return Generic.dot_bf16(e, sum, x, w);
        }
        let pairs = e.context.bf16_type().vec_type(2 * sum.lanes as u32);
        let [x, w] = [x, w].map(|v| built(e.builder.build_bit_cast(v.value, pairs, "")));
        let types = [e.vector_type(Kind::F32, sum.lanes).into(), pairs.into()];
        let function = e.declared("llvm.aarch64.neon.bfdot", &types);
        let call = built(e.builder.build_call(function, &[sum.value.into(), x.into(), w.into()], ""));
        e.vector(call.try_as_basic_value().unwrap_basic(), Kind::F32, sum.lanes)
    }

    /// `smull`, `smull2`, `addp` on whole registers.
    fn multiply_pairs<'ctx>(&self, e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let lanes = REGISTER / 2;
        if !a.lanes.is_multiple_of(lanes) {
            return Generic.multiply_pairs(e, a, b);
        }
        let pieces = e.split(a, lanes).into_iter().zip(e.split(b, lanes)).map(|(a, b)| {
            let half = |v: Vector<'ctx>, start| e.slice(v, start, lanes / 2);
            let products = [0, lanes / 2].map(|start| multiply_long(e, half(a, start), half(b, start)));
            e.lanewise("llvm.aarch64.neon.addp", &products)
        });
        e.concat(&pieces.collect::<Vec<_>>())
    }

    /// The instructions that convert and narrow saturate at the upper end. At the lower end, numbers are clamped before,
    /// because NaN would become 0.
    fn quantize_bytes<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, bytes: Bytes) -> Vector<'ctx> {
        let Bytes { zero_point, min, max, signed } = bytes;
        if !v.lanes.is_multiple_of(8) || i16::try_from(zero_point).is_err() {
            return Generic.quantize_bytes(e, v, bytes);
        }
        // A comparison with NaN yields the right operand, the bound.
        let clamped = e.max(v, e.bound(min, zero_point, v.lanes));
        let narrow = if signed { "llvm.aarch64.neon.sqxtn" } else { "llvm.aarch64.neon.sqxtun" };
        let pieces = e.split(clamped, 8).into_iter().map(|eight| {
            let words = e.split(eight, 4).into_iter().map(|four| {
                let types = [Kind::I32, Kind::F32].map(|kind| e.vector_type(kind, 4).into());
                let rounded = e.vector(e.intrinsic("llvm.aarch64.neon.fcvtns", &types, &[four]), Kind::I32, 4);
                narrowed(e, "llvm.aarch64.neon.sqxtn", rounded, Kind::I16)
            });
            let words = e.concat(&words.collect::<Vec<_>>());
            let moved = match zero_point {
                0 => words,
                _ => e.lanewise("llvm.sadd.sat", &[words, e.splat_int(zero_point.into(), Kind::I16, 8)]),
            };
            narrowed(e, narrow, moved, Kind::I8)
        });
        let bytes = e.concat(&pieces.collect::<Vec<_>>());
        let most = e.splat_int(max.into(), Kind::I8, v.lanes);
        match (max, signed) {
            (255, false) | (127, true) => bytes,
            (_, false) => e.min_unsigned(bytes, most),
            (_, true) => e.min(bytes, most),
        }
    }

    /// `tbl` and `tbx` look up bytes among 64. Indices are moved down by 64 for each quarter of the table; those outside it
    /// keep what was found.
    fn lookup<'ctx>(&self, e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
        let types = [e.vector_type(Kind::I8, REGISTER).into()];
        let rows: Vec<_> =
            (0..16).map(|row| e.load(e.offset(table, row * REGISTER as isize), Kind::I8, REGISTER)).collect();
        let found = e.split(indices, REGISTER).into_iter().map(|piece| {
            let whole = match piece.lanes {
                REGISTER => piece,
                _ => e.insert(e.zero(Kind::I8, REGISTER), piece, 0),
            };
            let quarters = rows.chunks(4).enumerate().fold(None, |found: Option<Vector<'ctx>>, (quarter, rows)| {
                let at = match quarter {
                    0 => whole,
                    _ => e.sub(whole, e.splat_int(64 * quarter as i64, Kind::I8, REGISTER)),
                };
                let name = if found.is_some() { "llvm.aarch64.neon.tbx4" } else { "llvm.aarch64.neon.tbl4" };
                let args: Vec<_> = found.into_iter().chain(rows.iter().copied()).chain([at]).collect();
                Some(e.vector(e.intrinsic(name, &types, &args), Kind::I8, REGISTER))
            });
            e.slice(quarters.expect("four quarters"), 0, piece.lanes)
        });
        e.concat(&found.collect::<Vec<_>>())
    }
}

/// `smull`: products of signed numbers in half a register, in lanes of twice the width.
fn multiply_long<'ctx>(e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
    let kind = if a.kind == Kind::I8 { Kind::I16 } else { Kind::I32 };
    let types = [e.vector_type(kind, a.lanes).into()];
    e.vector(e.intrinsic("llvm.aarch64.neon.smull", &types, &[a, b]), kind, a.lanes)
}

/// Narrows the lanes of a register to half their width, with saturation.
fn narrowed<'ctx>(e: &Emitter<'_, 'ctx>, name: &str, v: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
    e.vector(e.intrinsic(name, &[e.vector_type(kind, v.lanes).into()], &[v]), kind, v.lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::target::{DotRule, InstructionSet, TARGETS};
    use eightfold_ir::DType;

    /// The assembly of a function of three pointers, for each target of this instruction set.
    fn assemblies(
        emit: impl for<'ctx> Fn(&Emitter<'_, 'ctx>, &[Ptr<'ctx>]),
    ) -> impl Iterator<Item = (&'static Target, String)> {
        TARGETS.iter().filter(|target| target.instructions == InstructionSet::Aarch64).map(move |target| {
            let jit = Jit::default();
            let assembly = jit.assembly(target, |e| {
                let pointers = e.function("function", 3, 0);
                emit(e, &pointers);
                e.end();
                Ok(())
            });
            (target, assembly.expect("compiles"))
        })
    }

    /// How often each of these instructions stands in the assembly.
    fn counts<const N: usize>(assembly: &str, instructions: [&str; N]) -> [usize; N] {
        let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
        let lines: Vec<String> = assembly.lines().map(first).collect();
        instructions.map(|instruction| lines.iter().filter(|line| *line == instruction).count())
    }

    #[test]
    fn each_target_sums_products_by_its_own_instructions() {
        let instructions = ["smull", "smull2", "smlal", "smlal2", "addp", "sadalp", "sdot", "usdot"];
        for input in [DType::U8, DType::I8] {
            let assemblies = assemblies(|e, p| {
                let at = |pointer, group: isize| e.load(e.offset(pointer, group * 16), Kind::I8, REGISTER);
                let products = [0, 1].map(|group| [at(p[0], group), at(p[1], group)]);
                let signed = e.target().dot.multiplies_signed(input);
                e.store(p[2], e.dot_accumulate_joined(e.load(p[2], Kind::I32, 4), &products, signed));
            });
            for (target, assembly) in assemblies {
                let expected = match target.dot {
                    DotRule::SMULL => [1, 1, 1, 1, 1, 1, 0, 0],
                    DotRule::USDOT if input == DType::U8 => [0, 0, 0, 0, 0, 0, 0, 2],
                    _ => [0, 0, 0, 0, 0, 0, 2, 0],
                };
                assert_eq!(counts(&assembly, instructions), expected, "{} {input}:\n{assembly}", target.name);
            }
        }
    }

    #[test]
    fn bf16_products_are_one_instruction_where_there_is_one() {
        let assemblies = assemblies(|e, p| {
            let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I32, 4));
            e.store(p[2], e.dot_accumulate_bf16(e.load(p[2], Kind::F32, 4), x, w));
        });
        for (target, assembly) in assemblies {
            let expected = if target.bf16 { [1, 0] } else { [0, 2] };
            assert_eq!(counts(&assembly, ["bfdot", "fmla"]), expected, "{}:\n{assembly}", target.name);
        }
    }

    #[test]
    fn a_table_is_looked_up_by_four_instructions() {
        let assemblies = assemblies(|e, p| {
            e.store(p[2], e.lookup(p[0], Kind::I8, e.load(p[1], Kind::I8, 2 * REGISTER)));
        });
        for (target, assembly) in assemblies {
            assert_eq!(counts(&assembly, ["tbl", "tbx"]), [2, 6], "{}:\n{assembly}", target.name);
        }
    }

    #[test]
    fn bytes_are_quantized_by_instructions_that_saturate() {
        let assemblies = assemblies(|e, p| {
            e.store(p[2], e.quantize_bytes(e.load(p[0], Kind::F32, REGISTER), 3, (0, 255), false));
        });
        let instructions = ["fcvtns", "sqxtn", "sqxtn2", "sqadd", "sqxtun", "sqxtun2", "umin", "fminnm"];
        for (target, assembly) in assemblies {
            assert_eq!(counts(&assembly, instructions), [4, 2, 2, 2, 1, 1, 0, 0], "{}:\n{assembly}", target.name);
        }
    }
}

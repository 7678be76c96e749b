//! x86-64: SSE, AVX2 and AVX-512 and their extensions, as far as the target has them.
//!
//! Intrinsics exist for 128, 256 and 512 bits. The code uses those of the target's register width.

mod lookup;

use super::{Bytes, FloatMode, Generic, Isa, round_by_instruction};
use crate::target::Target;
use crate::vector::built;
use crate::vector::{Emitter, Kind, Ptr, Rounding, Vector};

/// See the module's documentation.
pub(super) struct X86;

impl Isa for X86 {
    /// LLVM's models of server CPUs would split 512-bit vectors to keep the clock rate high.
    fn tuning(&self) -> &'static [&'static str] {
        &["-prefer-256-bit"]
    }

    fn pause(&self) -> Option<(&'static str, &'static [u32])> {
        Some(("llvm.x86.sse2.pause", &[]))
    }

    fn float_mode(&self) -> Option<FloatMode> {
        Some(FloatMode::Memory { store: "llvm.x86.sse.stmxcsr", load: "llvm.x86.sse.ldmxcsr", ours: 0x1f80 })
    }

    fn converts_halves(&self, target: &Target, _lanes: usize) -> bool {
        target.features.contains(&"f16c")
    }

    /// `roundps`
    fn round<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx> {
        round_by_instruction(e, v, rounding)
    }

    fn dot<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        products: &[[Vector<'ctx>; 2]],
        _signed: bool,
    ) -> Vector<'ctx> {
        if e.target().dot.pair_limit.is_none() {
            let name = format!("llvm.x86.avx512.vpdpbusd.{}", e.target().vector_bits);
            return products.iter().fold(sum, |sum, [x, w]| {
                let (x, w) = (e.bits_as(*x, Kind::I32), e.bits_as(*w, Kind::I32));
                e.vector(e.intrinsic(&name, &[], &[sum, x, w]), Kind::I32, sum.lanes)
            });
        }
        let pairs = products.iter().map(|[x, w]| multiply_byte_pairs(e, *x, *w));
        let pairs = pairs.reduce(|a, b| e.add(a, b)).expect("at least one product");
        e.add(sum, self.multiply_pairs(e, pairs, e.splat_int(1, Kind::I16, 2 * sum.lanes)))
    }

    /// `vdpbf16ps`, if the target has it. It treats numbers below 2^-126 as zero, and the CPU defines the order of its
    /// two additions.
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
        let function = e.declared("llvm.x86.avx512bf16.dpbf16ps.512", &[]);
        let call = built(e.builder.build_call(function, &[sum.value.into(), x.into(), w.into()], ""));
        e.vector(call.try_as_basic_value().unwrap_basic(), Kind::F32, sum.lanes)
    }

    /// `pmaddwd` on whole registers.
    fn multiply_pairs<'ctx>(&self, e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let names = ["llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx512.pmaddw.d.512"];
        let register = 2 * e.lanes();
        if a.lanes.is_multiple_of(register) {
            return halve(e, a, b, Kind::I32, names);
        }
        let whole = |v: Vector<'ctx>| e.insert(e.zero(v.kind, v.lanes.next_multiple_of(register)), v, 0);
        e.slice(halve(e, whole(a), whole(b), Kind::I32, names), 0, a.lanes / 2)
    }

    /// Pack instructions saturate, so whole registers only need the upper clamp on floats. Numbers below the I32 range,
    /// and NaN, convert to the least integer, which saturates to the least byte.
    fn quantize_bytes<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, bytes: Bytes) -> Vector<'ctx> {
        let Bytes { zero_point, min, max, signed } = bytes;
        let register = e.lanes();
        if !v.lanes.is_multiple_of(register) || i16::try_from(zero_point).is_err() {
            return Generic.quantize_bytes(e, v, bytes);
        }
        // NaN is kept, because `v` is the right operand.
        let clamped = e.min(e.bound(max, zero_point, v.lanes), v);
        let registers: Vec<_> = e.split(clamped, register).into_iter().map(|v| convert(e, v)).collect();
        let packed = registers.chunks(4).map(|four| {
            // If fewer than four registers remain, some are repeated to fill the pack instructions.
            let [ab, cd] = [[0, 1], [2, 3]].map(|pair| {
                let [a, b] = pair.map(|index| four[index % four.len()]);
                let words = pack(e, "ssdw", a, b, Kind::I16);
                match zero_point {
                    0 => words,
                    _ => {
                        let zero_point = e.splat_int(zero_point.into(), Kind::I16, words.lanes);
                        e.lanewise("llvm.sadd.sat", &[words, zero_point])
                    }
                }
            });
            let bytes = pack(e, if signed { "sswb" } else { "uswb" }, ab, cd, Kind::I8);
            // Pack instructions interleave 128-bit parts of their operands: this shuffle restores the order.
            let quads = e.bits_as(bytes, Kind::I32);
            let blocks = register / 4;
            let picks: Vec<_> = (0..four.len() * blocks).map(|at| at % blocks * 4 + at / blocks).collect();
            e.bits_as(e.shuffle(quads, quads, &picks), Kind::I8)
        });
        let bytes = e.concat(&packed.collect::<Vec<_>>());
        let least = e.splat_int(min.into(), Kind::I8, v.lanes);
        match (min, signed) {
            (0, false) | (-128, true) => bytes,
            (_, false) => e.max_unsigned(bytes, least),
            (_, true) => e.max(bytes, least),
        }
    }

    fn lookup<'ctx>(&self, e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
        lookup::bytes(e, table, indices)
    }
}

/// `pmaddubsw`: sums of two adjacent products of bytes, saturated to 16 bits; `x` is unsigned.
fn multiply_byte_pairs<'ctx>(e: &Emitter<'_, 'ctx>, x: Vector<'ctx>, w: Vector<'ctx>) -> Vector<'ctx> {
    let names = ["llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx512.pmaddubs.w.512"];
    halve(e, x, w, Kind::I16, names)
}

/// Applies an instruction of 128, 256 or 512 bits that combines two lanes into one.
fn halve<'ctx>(e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>, kind: Kind, names: [&str; 3]) -> Vector<'ctx> {
    let name = names[e.target().vector_bits.ilog2() as usize - 7];
    let register = e.target().vector_bits / a.kind.bits();
    let pieces = e.split(a, register).into_iter().zip(e.split(b, register));
    let halved = pieces.map(|(a, b)| e.vector(e.intrinsic(name, &[], &[a, b]), kind, register / 2));
    e.concat(&halved.collect::<Vec<_>>())
}

/// Converts a register of F32 to I32, rounding half to even. Numbers outside the I32 range and NaN give the least
/// integer.
fn convert<'ctx>(e: &Emitter<'_, 'ctx>, v: Vector<'ctx>) -> Vector<'ctx> {
    match v.lanes {
        4 => return e.vector(e.intrinsic("llvm.x86.sse2.cvtps2dq", &[], &[v]), Kind::I32, 4),
        8 => return e.vector(e.intrinsic("llvm.x86.avx.cvt.ps2dq.256", &[], &[v]), Kind::I32, 8),
        _ => {}
    }
    let all = e.context.i16_type().const_all_ones();
    let current_rounding = e.context.i32_type().const_int(4, false);
    let blank = e.zero(Kind::I32, v.lanes);
    let args = [v.value.into(), blank.value.into(), all.into(), current_rounding.into()];
    let function = e.declared("llvm.x86.avx512.mask.cvtps2dq.512", &[]);
    let value = built(e.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic();
    e.vector(value, Kind::I32, v.lanes)
}

/// Packs two registers into one with lanes of half the width, with saturation: in each 128 bits first lanes of `a`,
/// then of `b`.
fn pack<'ctx>(e: &Emitter<'_, 'ctx>, how: &str, a: Vector<'ctx>, b: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
    let name = match a.lanes * a.kind.bits() {
        128 => format!("llvm.x86.sse2.pack{how}.128"),
        256 => format!("llvm.x86.avx2.pack{how}"),
        _ => format!("llvm.x86.avx512.pack{how}.512"),
    };
    e.vector(e.intrinsic(&name, &[], &[a, b]), kind, 2 * a.lanes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::target::{InstructionSet, TARGETS};

    /// Compiles a function of three pointers for each target of this instruction set, and passes its assembly to
    /// `check`.
    fn each_assembly(
        emit: impl for<'m, 'ctx> Fn(&Emitter<'m, 'ctx>, &[Ptr<'ctx>]),
        check: impl Fn(&'static Target, &str),
    ) {
        for target in TARGETS.iter().filter(|target| target.instructions == InstructionSet::X86) {
            let jit = Jit::default();
            let compiled = jit.compile_with(target, true, |e| {
                let pointers = e.function("function", 3, 0);
                emit(e, &pointers);
                e.end();
                Ok(())
            });
            check(target, &compiled.expect("compiles").assembly);
        }
    }

    fn has_line(assembly: &str, words: [&str; 2]) -> bool {
        assembly.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    #[test]
    fn each_target_sums_products_by_its_own_instructions() {
        each_assembly(
            |e, p| {
                let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I8, 4 * e.lanes()));
                e.store(p[2], e.dot_accumulate(e.load(p[2], Kind::I32, e.lanes()), x, w, false));
            },
            |target, assembly| {
                let register = ["%xmm", "%ymm", "%zmm"][target.vector_bits.ilog2() as usize - 7];
                let instruction = match (target.vector_bits, target.dot.pair_limit) {
                    (128, _) => "\tpmaddubsw",
                    (_, Some(_)) => "vpmaddubsw",
                    // Only the 512-bit form needs no `{vex}` prefix.
                    (256, None) => "{vex}\tvpdpbusd",
                    (_, None) => "vpdpbusd",
                };
                assert!(has_line(assembly, [instruction, register]), "{}:\n{assembly}", target.name);
            },
        );
    }

    #[test]
    fn bf16_products_are_one_instruction_where_there_is_one() {
        each_assembly(
            |e, p| {
                let [x, w] = [p[0], p[1]].map(|pointer| e.load(pointer, Kind::I32, e.lanes()));
                e.store(p[2], e.dot_accumulate_bf16(e.load(p[2], Kind::F32, e.lanes()), x, w));
            },
            |target, assembly| {
                let found = has_line(assembly, ["vdpbf16ps", "%zmm"]);
                assert_eq!(found, target.bf16, "{}:\n{assembly}", target.name);
            },
        );
    }

    #[test]
    fn tables_are_looked_up_at_once_where_there_is_an_instruction() {
        each_assembly(
            |e, p| e.store(p[2], e.lookup(p[0], Kind::I8, e.load(p[1], Kind::I8, 4 * e.lanes()))),
            |target, assembly| {
                let words = if target.byte_permute { ["vperm", "b\t"] } else { ["pshufb", "mm"] };
                assert!(has_line(assembly, words), "{}:\n{assembly}", target.name);
            },
        );
    }
}

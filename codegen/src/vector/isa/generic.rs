//! Plain LLVM IR: vectors of any length, and intrinsics that exist on every architecture. Exact everywhere.
//!
//! A new architecture starts with this and replaces the verbs for which it has better instructions.

use super::{Bytes, FloatMode, Isa};
use crate::target::Target;
use crate::vector::{Compare, Emitter, Kind, Ptr, Rounding, Vector};

/// See the module's documentation.
pub(super) struct Generic;

impl Isa for Generic {
    fn tuning(&self) -> &'static [&'static str] {
        &[]
    }

    fn pause(&self) -> Option<(&'static str, &'static [u32])> {
        None
    }

    fn float_mode(&self) -> Option<FloatMode> {
        None
    }

    fn converts_halves(&self, _target: &Target, _lanes: usize) -> bool {
        false
    }

    /// LLVM's own rounding intrinsics become library calls if the architecture has no instruction.
    fn round<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, rounding: Rounding) -> Vector<'ctx> {
        // Numbers of at least 2^23 are integral. A sum of this size has no bits for fractions.
        let integral = e.splat((1 << 23) as f32, v.lanes);
        let magnitude = e.fabs(v);
        let nearest = |x| e.sub(e.add(x, integral), integral);
        // Restores the sign of `v`, also for zeros.
        let with_sign = |magnitude| e.lanewise("llvm.copysign", &[magnitude, v]);
        let (one, zero) = (e.splat(1.0, v.lanes), e.zero(Kind::F32, v.lanes));
        // The nearest integer, minus `by` if it is past the limit.
        let corrected = |rounded, past, limit, by: Vector<'ctx>| {
            e.sub(rounded, e.select(e.compare(past, rounded, limit, true), by, zero))
        };
        let even = nearest(magnitude);
        let rounded = match rounding {
            Rounding::Even => with_sign(even),
            Rounding::TowardsZero => with_sign(corrected(even, Compare::Greater, magnitude, one)),
            Rounding::Down => with_sign(corrected(with_sign(even), Compare::Greater, v, one)),
            Rounding::Up => with_sign(corrected(with_sign(even), Compare::Less, v, e.neg(one))),
        };
        e.select(e.compare(Compare::Less, magnitude, integral, true), rounded, v)
    }

    /// 16 bits hold any product of a signed or unsigned byte and a signed byte.
    fn dot<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        products: &[[Vector<'ctx>; 2]],
        signed: bool,
    ) -> Vector<'ctx> {
        products.iter().fold(sum, |sum, [x, w]| {
            let x = halves(e, e.bits_as(*x, Kind::I16), signed);
            let w = halves(e, e.bits_as(*w, Kind::I16), true);
            x.into_iter().zip(w).fold(sum, |sum, (x, w)| {
                let [lower, upper] = halves(e, e.bits_as(e.mul(x, w), Kind::I32), true);
                e.add(e.add(sum, lower), upper)
            })
        })
    }

    /// Adds in f32, where products of bf16 are exact.
    fn dot_bf16<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        sum: Vector<'ctx>,
        x: Vector<'ctx>,
        w: Vector<'ctx>,
    ) -> Vector<'ctx> {
        let int = |number| e.splat_int(number, Kind::I32, sum.lanes);
        let upper = |v| e.bits_as(e.and(v, int(-0x1_0000)), Kind::F32);
        let lower = |v| e.bits_as(e.shift_left(v, int(16)), Kind::F32);
        let sum = e.accumulate(upper(x), upper(w), sum);
        e.accumulate(lower(x), lower(w), sum)
    }

    fn multiply_pairs<'ctx>(&self, e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let [a, b] = [a, b].map(|v| halves(e, e.bits_as(v, Kind::I32), true));
        e.add(e.mul(a[0], b[0]), e.mul(a[1], b[1]))
    }

    fn quantize_bytes<'ctx>(&self, e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, bytes: Bytes) -> Vector<'ctx> {
        e.narrow(e.quantize(v, bytes.zero_point, bytes.min, bytes.max), Kind::I8)
    }

    /// A loop through memory: unrolled loads would take LLVM a long time.
    fn lookup<'ctx>(&self, e: &Emitter<'_, 'ctx>, table: Ptr<'ctx>, indices: Vector<'ctx>) -> Vector<'ctx> {
        let place = e.scratch(indices.lanes);
        e.store(place, indices);
        e.repeat(e.int(indices.lanes), |lane| {
            let at = e.offset_by(place, lane);
            let index = e.load_int(at, Kind::I8, false);
            e.store(at, e.load(e.offset_by(table, index), Kind::I8, 1));
        });
        e.load(place, Kind::I8, indices.lanes)
    }
}

/// The lower and the upper half of each integer, each extended to the full lane.
fn halves<'ctx>(e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, signed: bool) -> [Vector<'ctx>; 2] {
    let by = e.splat_int(v.kind.bits() as i64 / 2, v.kind, v.lanes);
    [e.shift_left(v, by), v].map(|topmost| e.shift_right(topmost, by, signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::jit::Jit;
    use crate::llvm::trial;
    use crate::target::InstructionSet;

    #[test]
    fn numbers_are_rounded_as_the_standard_library_rounds_them() {
        let mut numbers = vec![0.0, -0.0, 0.5, -0.5, 0.499_999_97, 1.5, -1.5, 2.5, -2.5, 0.7, -0.7, 0.3, -0.3, 1e-40];
        numbers.extend([8_388_607.5, -8_388_607.5, 8_388_608.0, 8_388_609.0, -16_777_217.0, 1e30, -1e30, f32::MAX]);
        numbers.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 4_194_303.5, -4_194_304.5, 1.0, -1.0, 3.0]);
        numbers.resize(numbers.len().next_multiple_of(8), 0.0);
        let mut random = trial::Numbers(3);
        numbers.extend((0..4096).map(|_| random.between(-1 << 24, 1 << 24) as f32 / 256.0));
        let rounded = |x: f32, rounding| match rounding {
            Rounding::Even => x.round_ties_even(),
            Rounding::Down => x.floor(),
            Rounding::Up => x.ceil(),
            Rounding::TowardsZero => x.trunc(),
        };
        let roundings = [Rounding::Even, Rounding::Down, Rounding::Up, Rounding::TowardsZero];
        let bytes = trial::bytes(&numbers, f32::to_le_bytes);
        for (target, rounding) in trial::targets().iter().flat_map(|t| roundings.map(|rounding| (t, rounding))) {
            let left = trial::run(target, &[&bytes, &bytes], |e, p| {
                e.repeat(e.int(numbers.len() / 8), |turn| {
                    let at = |pointer| e.offset_by(pointer, e.scale(turn, 32));
                    e.store(at(p[1]), e.isa().round(e, e.load(at(p[0]), Kind::F32, 8), rounding));
                });
            });
            let found = trial::floats(&left[1]);
            for (x, found) in numbers.iter().zip(found) {
                let expected = rounded(*x, rounding);
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "{} {rounding:?}: {x:e} became {found:e}, not {expected:e}", target.name);
            }
        }
    }

    /// Checks every verb that an instruction set may implement.
    #[test]
    fn no_intrinsic_is_of_one_architecture() {
        for target in trial::targets().iter().filter(|t| t.instructions == InstructionSet::Generic) {
            let jit = Jit::default();
            let compiled = jit.compile_with(target, true, |e| {
                let p = e.function("all", 2, 0);
                let lanes = e.lanes();
                let bytes = |at| e.load(e.offset(p[0], at), Kind::I8, 4 * lanes);
                let sum = e.dot_accumulate(e.zero(Kind::I32, lanes), bytes(0), bytes(64), true);
                let words = [bytes(0), bytes(64)].map(|v| e.bits_as(v, Kind::I16));
                let sum = e.add(sum, e.multiply_pairs(words[0], words[1]));
                let floats = e.dot_accumulate_bf16(e.to_float(sum, Kind::F32, true), sum, sum);
                let floats = [Rounding::Even, Rounding::Down].iter().fold(floats, |v, r| e.isa().round(e, v, *r));
                let halves = e.convert_float(e.convert_float(floats, Kind::F16), Kind::F32);
                let four = e.concat(&[floats, halves, floats, halves]);
                let found = e.lookup(p[1], Kind::I8, e.quantize_bytes(four, 3, (0, 255), false));
                e.store(p[0], found);
                e.end();
                let text = e.module().print_to_string().to_string();
                assert!(!text.contains("llvm.x86") && !text.contains(" asm "), "{text}");
                Ok(())
            });
            let assembly = compiled.expect("compiles").assembly;
            let calls = assembly.lines().filter(|line| line.contains("\tcall") && !line.contains("all"));
            assert_eq!(calls.collect::<Vec<_>>(), [""; 0], "{}", target.name);
        }
    }
}

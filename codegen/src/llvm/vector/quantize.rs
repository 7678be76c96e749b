//! From real numbers that count steps to stored integers.

use super::{Emitter, Kind, Vector};
use crate::llvm::built;

impl<'ctx> Emitter<'_, 'ctx> {
    /// F32 numbers that count steps, as stored integers: clamped to `min - zero_point..=max - zero_point`, rounded half
    /// to even, plus `zero_point`; NaN becomes `min`. The result has lanes of I32.
    pub(crate) fn quantize(&self, v: Vector<'ctx>, zero_point: i32, min: i32, max: i32) -> Vector<'ctx> {
        // The bound on the right is what a comparison with NaN yields.
        let clamped = self.max(v, self.bound(min, zero_point, v.lanes));
        let rounded = self.round_to_int(self.min(clamped, self.bound(max, zero_point, v.lanes)));
        match zero_point {
            0 => rounded,
            _ => self.add(rounded, self.splat_int(zero_point.into(), Kind::I32, v.lanes)),
        }
    }

    /// The same for bytes, with a sign or without, in lanes of I8.
    ///
    /// Instructions that pack saturate, so of whole registers only the upper bound is left to do on floats: what is less
    /// than an integer holds, and NaN, comes out of the conversion as the least integer, and saturates to the least byte.
    pub(crate) fn quantize_bytes(
        &self,
        v: Vector<'ctx>,
        zero_point: i32,
        (min, max): (i32, i32),
        signed: bool,
    ) -> Vector<'ctx> {
        let register = self.isa.lanes();
        if !v.lanes.is_multiple_of(register) || i16::try_from(zero_point).is_err() {
            return self.narrow(self.quantize(v, zero_point, min, max), Kind::I8);
        }
        // NaN stays: it is on the right.
        let clamped = self.min(self.bound(max, zero_point, v.lanes), v);
        let registers: Vec<_> = self.split(clamped, register).into_iter().map(|v| self.convert(v)).collect();
        let packed = registers.chunks(4).map(|four| {
            // Of fewer than four some stand in for those that are not there.
            let [ab, cd] = [[0, 1], [2, 3]].map(|pair| {
                let [a, b] = pair.map(|index| four[index % four.len()]);
                let words = self.pack("ssdw", a, b, Kind::I16);
                match zero_point {
                    0 => words,
                    _ => {
                        let zero_point = self.splat_int(zero_point.into(), Kind::I16, words.lanes);
                        self.lanewise("llvm.sadd.sat", &[words, zero_point])
                    }
                }
            });
            let bytes = self.pack(if signed { "sswb" } else { "uswb" }, ab, cd, Kind::I8);
            // Packing takes 128 bits of each operand in turn: here these come to lie one after the other.
            let quads = self.bits_as(bytes, Kind::I32);
            let blocks = register / 4;
            let picks: Vec<_> = (0..four.len() * blocks).map(|at| at % blocks * 4 + at / blocks).collect();
            self.bits_as(self.shuffle(quads, quads, &picks), Kind::I8)
        });
        let bytes = self.concat(&packed.collect::<Vec<_>>());
        let least = self.splat_int(min.into(), Kind::I8, v.lanes);
        match (min, signed) {
            (0, false) | (-128, true) => bytes,
            (_, false) => self.max_unsigned(bytes, least),
            (_, true) => self.max(bytes, least),
        }
    }

    fn bound(&self, end: i32, zero_point: i32, lanes: usize) -> Vector<'ctx> {
        self.splat((i64::from(end) - i64::from(zero_point)) as f32, lanes)
    }

    /// A register of F32 to I32, halves to even. What does not fit, and NaN, becomes the least integer.
    fn convert(&self, v: Vector<'ctx>) -> Vector<'ctx> {
        match v.lanes {
            4 => return self.vector(self.intrinsic("llvm.x86.sse2.cvtps2dq", &[], &[v]), Kind::I32, 4),
            8 => return self.vector(self.intrinsic("llvm.x86.avx.cvt.ps2dq.256", &[], &[v]), Kind::I32, 8),
            _ => {}
        }
        let all = self.context.i16_type().const_all_ones();
        let current_rounding = self.context.i32_type().const_int(4, false);
        let blank = self.zero(Kind::I32, v.lanes);
        let args = [v.value.into(), blank.value.into(), all.into(), current_rounding.into()];
        let function = self.declared("llvm.x86.avx512.mask.cvtps2dq.512", &[]);
        let value = built(self.builder.build_call(function, &args, "")).try_as_basic_value().unwrap_basic();
        self.vector(value, Kind::I32, v.lanes)
    }

    /// Two registers as one of half as wide lanes, with saturation: of each 128 bits those of `a`, then those of `b`.
    fn pack(&self, how: &str, a: Vector<'ctx>, b: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
        let name = match a.lanes * a.kind.bits() {
            128 => format!("llvm.x86.sse2.pack{how}.128"),
            256 => format!("llvm.x86.avx2.pack{how}"),
            _ => format!("llvm.x86.avx512.pack{how}.512"),
        };
        self.vector(self.intrinsic(&name, &[], &[a, b]), kind, 2 * a.lanes)
    }
}

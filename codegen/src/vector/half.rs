//! Half precision without half instructions: computes the results of x86's `vcvtph2ps` and `vcvtps2ph` on integers.

use super::{Compare, Emitter, Kind, Vector};

/// The bits of infinity as a half, without sign.
const INFINITY: i64 = 0x7c00;

/// 2^-112: the exponent biases of singles and halves differ by 112.
const RATIO: f32 = f32::from_bits((127 - 112) << 23);

impl<'ctx> Emitter<'_, 'ctx> {
    /// F16 to F32, exactly.
    pub(super) fn half_to_single(&self, v: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!(v.kind, Kind::F16);
        let lanes = v.lanes;
        let int = |x| self.splat_int(x, Kind::I32, lanes);
        let bits = self.widen(self.bits_as(v, Kind::I16), Kind::I32, false);
        let magnitude = self.and(bits, int(0x7fff));
        let sign = self.shift_left(self.xor(bits, magnitude), int(16));
        let moved = self.shift_left(magnitude, int(13));
        let number = self.mul(self.bits_as(moved, Kind::F32), self.splat(RATIO.recip(), lanes));
        let special = self.compare(Compare::GreaterOrEqual, magnitude, int(INFINITY), true);
        // A signaling NaN becomes a quiet NaN.
        let nan = self.compare(Compare::Greater, magnitude, int(INFINITY), true);
        let quiet = self.select(nan, int(0x40_0000), int(0));
        let unbounded = self.or(self.or(moved, int(0x7f80_0000)), quiet);
        let number = self.select(special, unbounded, self.bits_as(number, Kind::I32));
        self.bits_as(self.or(number, sign), Kind::F32)
    }

    /// F32 to F16, rounded to nearest even.
    pub(super) fn single_to_half(&self, v: Vector<'ctx>) -> Vector<'ctx> {
        let lanes = v.lanes;
        let int = |x| self.splat_int(x, Kind::I32, lanes);
        let all = self.bits_as(v, Kind::I32);
        let bits = self.and(all, int(0x7fff_ffff));
        // Normal numbers: change the exponent, and add half a unit of the last kept bit, less one bit if that bit is
        // even.
        let odd = self.and(self.shift_right(bits, int(13), false), int(1));
        let rounded = self.add(self.sub(bits, int(112 << 23)), self.add(int(0xfff), odd));
        let normal = self.min(self.shift_right(rounded, int(13), true), int(INFINITY));
        // Subnormal numbers: in the sum with 1/2, the last bit of f32 has the weight of the half's last bit.
        let half = self.splat(0.5, lanes);
        let sum = self.add(self.bits_as(bits, Kind::F32), half);
        let subnormal = self.sub(self.bits_as(sum, Kind::I32), self.bits_as(half, Kind::I32));
        let least_normal = int(i64::from((127 - 14) << 23));
        let number = self.select(self.compare(Compare::Less, bits, least_normal, true), subnormal, normal);
        let payload = self.and(self.shift_right(bits, int(13), false), int(0x3ff));
        let nan = self.or(payload, int(INFINITY | 0x200));
        let number = self.select(self.compare(Compare::Greater, bits, int(0x7f80_0000), true), nan, number);
        let sign = self.and(self.shift_right(all, int(16), false), int(0x8000));
        self.bits_as(self.narrow(self.or(number, sign), Kind::I16), Kind::F16)
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::llvm::trial;

    const LANES: usize = 8;

    /// Converts all numbers from the first kind to the second.
    fn converted(target: &'static crate::target::Target, kinds: [Kind; 2], bytes: &[u8]) -> Vec<u8> {
        let [from, to] = kinds;
        let count = bytes.len() / from.bytes();
        let mut left = trial::run(target, &[bytes, &vec![0; count * to.bytes()]], |e, p| {
            e.repeat(e.int(count / LANES), |turn| {
                let at = |pointer, kind: Kind| e.offset_by(pointer, e.scale(turn, (LANES * kind.bytes()) as isize));
                let numbers = e.load(at(p[0], from), from, LANES);
                e.store(at(p[1], to), e.convert_float(numbers, to));
            });
        });
        left.swap_remove(1)
    }

    #[test]
    fn every_half_and_singles_around_it_convert_as_their_definition_says() {
        let halves: Vec<u16> = (0..=u16::MAX).collect();
        let singles = halves.iter().flat_map(|bits| {
            let single = f16::from_bits(*bits).to_f32().to_bits();
            // Ties and their neighbours.
            [0, 0xfff, 0x1000, 0x1001, 0x1fff, 1].map(|more| f32::from_bits(single.wrapping_add(more)))
        });
        let singles: Vec<f32> = singles.chain([1e-30, -1e-30, 1e30, -1e30, 65519.9, 65520.0, 3e-8, 2.9e-8]).collect();
        for target in trial::targets() {
            let bytes: Vec<u8> = halves.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            let found = converted(target, [Kind::F16, Kind::F32], &bytes);
            for (bits, found) in halves.iter().zip(found.chunks_exact(4)) {
                let found = u32::from_le_bytes(found.try_into().expect("four"));
                assert_eq!(found, f16::from_bits(*bits).to_f32().to_bits(), "{}: {bits:#x}", target.name);
            }
            let bytes: Vec<u8> = singles.iter().flat_map(|x| x.to_le_bytes()).collect();
            let found = converted(target, [Kind::F32, Kind::F16], &bytes);
            for (x, found) in singles.iter().zip(found.chunks_exact(2)) {
                let found = u16::from_le_bytes(found.try_into().expect("two"));
                assert_eq!(found, f16::from_f32(*x).to_bits(), "{}: {x} {:#x}", target.name, x.to_bits());
            }
        }
    }
}

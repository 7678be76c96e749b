//! Quantization: from real numbers divided by the scale to stored integers.

use super::isa::Bytes;
use super::{Emitter, Kind, Vector};

impl<'ctx> Emitter<'_, 'ctx> {
    /// Quantizes F32 numbers that are already divided by the scale: clamps to `min - zero_point..=max - zero_point`,
    /// rounds half to even, adds `zero_point`; NaN becomes `min`. The result has lanes of I32.
    pub(crate) fn quantize(&self, v: Vector<'ctx>, zero_point: i32, min: i32, max: i32) -> Vector<'ctx> {
        // A comparison with NaN yields the right operand, the bound.
        let clamped = self.max(v, self.bound(min, zero_point, v.lanes));
        let rounded = self.round_to_int(self.min(clamped, self.bound(max, zero_point, v.lanes)));
        match zero_point {
            0 => rounded,
            _ => self.add(rounded, self.splat_int(zero_point.into(), Kind::I32, v.lanes)),
        }
    }

    /// The same for signed or unsigned bytes, in lanes of I8.
    pub(crate) fn quantize_bytes(
        &self,
        v: Vector<'ctx>,
        zero_point: i32,
        (min, max): (i32, i32),
        signed: bool,
    ) -> Vector<'ctx> {
        self.isa().quantize_bytes(self, v, Bytes { zero_point, min, max, signed })
    }

    /// A bound of the range minus the zero point.
    pub(super) fn bound(&self, end: i32, zero_point: i32, lanes: usize) -> Vector<'ctx> {
        self.splat((i64::from(end) - i64::from(zero_point)) as f32, lanes)
    }
}

//! Conversions from one kind of lane to another.

use super::{Emitter, Kind, Vector};
use crate::vector::built;

impl<'ctx> Emitter<'_, 'ctx> {
    /// Extends integers to wider lanes by their sign or by zeros. A mask becomes 0 and 1 (or -1 if `signed`).
    pub(crate) fn widen(&self, v: Vector<'ctx>, kind: Kind, signed: bool) -> Vector<'ctx> {
        let wide = self.vector_type(kind, v.lanes);
        let value = match (v.kind == kind, signed) {
            (true, _) => return v,
            (false, true) => built(self.builder.build_int_s_extend(v.value, wide, "")),
            (false, false) => built(self.builder.build_int_z_extend(v.value, wide, "")),
        };
        self.vector(value, kind, v.lanes)
    }

    /// Truncates integers to narrower lanes.
    pub(crate) fn narrow(&self, v: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
        if v.kind == kind {
            return v;
        }
        let value = built(self.builder.build_int_truncate(v.value, self.vector_type(kind, v.lanes), ""));
        self.vector(value, kind, v.lanes)
    }

    /// Converts integers to floats, rounded to nearest even.
    pub(crate) fn to_float(&self, v: Vector<'ctx>, kind: Kind, signed: bool) -> Vector<'ctx> {
        let float = self.vector_type(kind, v.lanes);
        let value = match signed {
            true => built(self.builder.build_signed_int_to_float(v.value, float, "")),
            false => built(self.builder.build_unsigned_int_to_float(v.value, float, "")),
        };
        self.vector(value, kind, v.lanes)
    }

    /// Converts floats to integers, rounded towards zero and saturated; NaN gives 0.
    pub(crate) fn to_int(&self, v: Vector<'ctx>, kind: Kind, signed: bool) -> Vector<'ctx> {
        let name = if signed { "llvm.fptosi.sat" } else { "llvm.fptoui.sat" };
        let types = [self.vector_type(kind, v.lanes).into(), self.vector_type(v.kind, v.lanes).into()];
        self.vector(self.intrinsic(name, &types, &[v]), kind, v.lanes)
    }

    /// Converts F32 to I32, rounding half to even. Numbers outside the I32 range and NaN give the least integer.
    pub(crate) fn round_to_int(&self, v: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!(v.kind, Kind::F32);
        let types = [self.vector_type(Kind::I32, v.lanes).into(), self.vector_type(Kind::F32, v.lanes).into()];
        self.vector(self.intrinsic("llvm.lrint", &types, &[v]), Kind::I32, v.lanes)
    }

    /// Converts floats to floats of another size.
    pub(crate) fn convert_float(&self, v: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
        match (v.kind, kind) {
            (from, to) if from == to => return v,
            (Kind::F16, _) if !self.isa().converts_halves(self.target, v.lanes) => {
                return self.convert_float(self.half_to_single(v), kind);
            }
            (_, Kind::F16) if !self.isa().converts_halves(self.target, v.lanes) => {
                debug_assert_eq!(v.kind, Kind::F32, "doubles would round twice");
                return self.single_to_half(v);
            }
            _ => {}
        }
        let value = built(self.builder.build_float_cast(v.value, self.vector_type(kind, v.lanes), ""));
        self.vector(value, kind, v.lanes)
    }

    /// Reinterprets the bits as lanes of another kind.
    pub(crate) fn bits_as(&self, v: Vector<'ctx>, kind: Kind) -> Vector<'ctx> {
        if v.kind == kind {
            return v;
        }
        let lanes = v.lanes * v.kind.bits() / kind.bits();
        let value = built(self.builder.build_bit_cast(v.value, self.vector_type(kind, lanes), ""));
        self.vector(value, kind, lanes)
    }
}

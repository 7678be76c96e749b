//! Conversions between the lanes in which a type is stored and those in which it is computed, and between types.
//!
//! Floats are computed in f32, integers of up to 32 bits in I32, and integers that do not fit I32 in I64.

use eightfold_ir::DType;

use crate::vector::{Compare, Emitter, Kind, Vector};

/// The lanes in which elements of this type are stored.
pub(crate) fn kind(dtype: DType) -> Kind {
    match dtype {
        DType::I4 | DType::U4 | DType::I8 | DType::U8 | DType::Bool => Kind::I8,
        // Halves are moved as integers: a target without half instructions would call a library to move them.
        DType::I16 | DType::U16 | DType::Bf16 | DType::F16 => Kind::I16,
        DType::I32 | DType::U32 => Kind::I32,
        DType::I64 | DType::U64 => Kind::I64,
        DType::F32 => Kind::F32,
        DType::F64 => Kind::F64,
    }
}

/// Whether the top bit of the stored integer is a sign. 64-bit integers are treated as signed, as in the interpreter.
pub(super) fn is_signed(dtype: DType) -> bool {
    matches!(dtype, DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::U64)
}

/// The lanes in which numbers of this type are computed.
pub(crate) fn work_kind(dtype: DType) -> Kind {
    match dtype {
        _ if dtype.is_float() => Kind::F32,
        DType::U32 | DType::I64 | DType::U64 => Kind::I64,
        _ => Kind::I32,
    }
}

/// Converts stored numbers to the lanes in which they are computed.
pub(crate) fn worked<'ctx>(e: &Emitter<'_, 'ctx>, stored: Vector<'ctx>, dtype: DType) -> Vector<'ctx> {
    match dtype {
        DType::F16 => e.convert_float(e.bits_as(stored, Kind::F16), Kind::F32),
        DType::F32 | DType::F64 => e.convert_float(stored, Kind::F32),
        DType::Bf16 => {
            let upper = e.shift_left(e.widen(stored, Kind::I32, false), e.splat_int(16, Kind::I32, stored.lanes));
            e.bits_as(upper, Kind::F32)
        }
        _ => e.widen(stored, work_kind(dtype), is_signed(dtype)),
    }
}

/// Rounds or wraps computed numbers to their type, in the lanes in which it is stored.
pub(super) fn stored<'ctx>(e: &Emitter<'_, 'ctx>, worked: Vector<'ctx>, dtype: DType) -> Vector<'ctx> {
    let lanes = worked.lanes;
    match dtype {
        DType::F16 => e.bits_as(e.convert_float(worked, Kind::F16), Kind::I16),
        DType::F32 | DType::F64 => e.convert_float(worked, kind(dtype)),
        DType::Bf16 => {
            // Rounds to nearest even: adds half a unit of the upper half, less one bit if that half is even.
            let int = |x| e.splat_int(x, Kind::I32, lanes);
            let bits = e.bits_as(worked, Kind::I32);
            let upper = |bits| e.shift_right(bits, int(16), false);
            let odd = e.and(upper(bits), int(1));
            let rounded = upper(e.add(e.add(bits, int(0x7fff)), odd));
            let quiet = e.or(upper(bits), int(0x40));
            e.narrow(e.select(e.is_nan(worked), quiet, rounded), Kind::I16)
        }
        DType::Bool => e.widen(e.compare(Compare::NotEqual, worked, e.zero(worked.kind, lanes), true), Kind::I8, false),
        DType::U4 => e.and(e.narrow(worked, Kind::I8), e.splat_int(0xf, Kind::I8, lanes)),
        DType::I4 => {
            let four = e.splat_int(4, Kind::I8, lanes);
            e.shift_right(e.shift_left(e.narrow(worked, Kind::I8), four), four, true)
        }
        _ => e.narrow(worked, kind(dtype)),
    }
}

/// Converts stored numbers of one type to another: floats to integers towards zero with saturation, integers to floats
/// to nearest even, integers to integers by wrapping. Everything but zero is true.
pub(crate) fn cast<'ctx>(e: &Emitter<'_, 'ctx>, v: Vector<'ctx>, from: DType, to: DType) -> Vector<'ctx> {
    if from == to {
        return v;
    }
    let number = worked(e, v, from);
    let number = match (from.is_float(), to.is_float()) {
        _ if to == DType::Bool => number,
        (true, true) => number,
        (false, true) => e.to_float(number, Kind::F32, true),
        (true, false) => {
            let integers = e.to_int(number, work_kind(to), to != DType::U64);
            match to.integer_range() {
                Some((low, high)) if to != DType::I32 => {
                    let bound = |x| e.splat_int(x, integers.kind, v.lanes);
                    e.min(e.max(integers, bound(low)), bound(high))
                }
                _ => integers,
            }
        }
        (false, false) if number.kind.bits() < kind(to).bits() => e.widen(number, kind(to), true),
        (false, false) => number,
    };
    stored(e, number, to)
}

//! `i4`: two weights per byte, converted to f32 by shifts.
//!
//! The lower half of byte `l` holds the weight of lane `l`, the upper half that of lane `l + lanes / 2`.

use eightfold_ir::DType;

use super::WeightFormat;
use crate::vector::{Emitter, Kind, Ptr, Vector};

/// See the module's documentation.
pub(super) struct I4;

impl WeightFormat for I4 {
    fn plain(&self) -> DType {
        DType::I4
    }

    fn packed(&self) -> DType {
        DType::U8
    }

    fn bits(&self) -> usize {
        4
    }

    fn pack(&self, weights: &[i32], packed: &mut Vec<u8>) {
        let (lower, upper) = weights.split_at(weights.len() / 2);
        packed.extend(lower.iter().zip(upper).map(|(lower, upper)| (lower & 15 | upper << 4) as u8));
    }

    fn load<'ctx>(&self, e: &Emitter<'_, 'ctx>, pointer: Ptr<'ctx>) -> Vector<'ctx> {
        let half = e.lanes() / 2;
        let [four, most] = [4, 28].map(|bits| e.splat_int(bits, Kind::I32, half));
        let bytes = e.widen(e.load(pointer, Kind::I8, half), Kind::I32, true);
        // The lower half moves to the top of its lane and back, to extend its sign.
        let lower = e.shift_right(e.shift_left(bytes, most), most, true);
        let upper = e.shift_right(bytes, four, true);
        e.to_float(e.concat(&[lower, upper]), Kind::F32, true)
    }

    /// Widening to 32 bits, three shifts, joining both halves, conversion to f32.
    fn instructions(&self) -> f64 {
        4.0
    }
}

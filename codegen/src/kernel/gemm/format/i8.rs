//! `i8`: one byte per weight, converted to f32 by two instructions.

use eightfold_ir::DType;

use super::WeightFormat;
use crate::vector::{Emitter, Kind, Ptr, Vector};

/// See the module's documentation.
pub(super) struct I8;

impl WeightFormat for I8 {
    fn plain(&self) -> DType {
        DType::I8
    }

    fn packed(&self) -> DType {
        DType::I8
    }

    fn bits(&self) -> usize {
        8
    }

    fn pack(&self, weights: &[i32], packed: &mut Vec<u8>) {
        packed.extend(weights.iter().map(|weight| *weight as i8 as u8));
    }

    fn load<'ctx>(&self, e: &Emitter<'_, 'ctx>, pointer: Ptr<'ctx>) -> Vector<'ctx> {
        let bytes = e.load(pointer, Kind::I8, e.lanes());
        e.to_float(e.widen(bytes, Kind::I32, true), Kind::F32, true)
    }

    /// Widening to 32 bits and conversion to f32.
    fn instructions(&self) -> f64 {
        2.0
    }
}

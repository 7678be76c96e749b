//! Weight formats (weight-only quantization): how the weights of a product with f32 are stored in fewer bits, and how
//! the kernel converts them to f32 in registers.
//!
//! A format is one row of [`FORMATS`] and one file. Scales are not part of a format: each output channel has one scale,
//! which multiplies the finished accumulator as a step of the call. A product without a format has weights of its
//! input's type.

mod i4;
mod i8;

use std::fmt::{self, Debug, Formatter};

use eightfold_ir::DType;

use crate::kernel::attribute::Attribute;
use crate::vector::{Emitter, Ptr, Vector};

/// What packing, cost models and the kernel need to know about a format. Formats work on vectors of weights, one per
/// lane.
pub(crate) trait WeightFormat: Sync {
    /// The type of the plain weights, which is also the format's name in the text of programs.
    fn plain(&self) -> DType;

    /// The type of the elements of packed weights.
    fn packed(&self) -> DType;

    /// Bits per packed weight. A vector of weights takes whole bytes.
    fn bits(&self) -> usize;

    /// Appends the packed form of a vector of weights.
    fn pack(&self, weights: &[i32], packed: &mut Vec<u8>);

    /// Loads a vector of packed weights as f32.
    fn load<'ctx>(&self, e: &Emitter<'_, 'ctx>, pointer: Ptr<'ctx>) -> Vector<'ctx>;

    /// Instructions of [`load`](Self::load) besides the load itself.
    fn instructions(&self) -> f64;
}

/// All formats.
static FORMATS: &[&dyn WeightFormat] = &[&i8::I8, &i4::I4];

/// A row of [`FORMATS`].
#[derive(Clone, Copy)]
pub struct Format(&'static dyn WeightFormat);

impl Format {
    /// The format of a product of this input with plain weights of this type; `None` if the product takes such weights
    /// without a format.
    #[must_use]
    pub fn of(input: DType, weights: DType) -> Option<Format> {
        FORMATS.iter().find(|row| input == DType::F32 && row.plain() == weights).map(|row| Format(*row))
    }

    /// All formats.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Format> {
        FORMATS.iter().map(|row| Format(*row))
    }

    /// The format's definition.
    pub(crate) fn row(self) -> &'static dyn WeightFormat {
        self.0
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.0.plain() == other.0.plain()
    }
}

impl Eq for Format {}

impl Debug for Format {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.plain())
    }
}

/// `i8`, the type of the plain weights.
impl Attribute for Format {
    fn text(&self) -> String {
        self.0.plain().to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        FORMATS.iter().find(|row| row.plain().to_string() == text).map(|row| Format(*row))
    }
}

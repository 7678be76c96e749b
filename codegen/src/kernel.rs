//! Kernel families: one file each, which writes the code of a call in the verbs of [`crate::llvm::vector`].
//!
//! Invariant: a kernel reads no byte outside its operands' views and their slack, and writes only the elements of its
//! output's view.

pub(crate) mod depthwise;
pub(crate) mod fill;
pub(crate) mod finish;
pub(crate) mod fold;
pub(crate) mod gather;
pub(crate) mod gemm;
pub(crate) mod interpolate;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod nest;
pub(crate) mod pixels;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod softmax;
pub(crate) mod winograd;
pub(crate) mod winograd_input;

use crate::program::Producer;

/// A family of kernels.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// First word of its kernels' names.
    pub name: &'static str,
    /// What it computes.
    pub summary: &'static str,
}

/// All families, for lists.
pub const KERNELS: &[Family] = &[
    Family {
        name: "gemm",
        summary: "products with constant matrices, convolutions as implicit products; int8, bf16 and f32",
    },
    Family { name: "depthwise", summary: "convolutions channel by channel; int8, bf16 and f32" },
    Family { name: "winograd_input", summary: "4 x 4 tiles of bytes as Winograd's F(2x2, 3x3) multiplies them; int8" },
    Family { name: "winograd", summary: "3 x 3 convolutions of stride 1 over such tiles; int8" },
    Family { name: "pointwise", summary: "elementwise chains, copies, layout changes, broadcasts" },
    Family { name: "pool", summary: "sums, means and extremes of windows" },
    Family { name: "reduce", summary: "sums, means, extremes and products along axes" },
    Family { name: "softmax", summary: "softmax along an axis; int8 by a table, and f32" },
    Family { name: "gather", summary: "elements at positions that a tensor holds" },
    Family { name: "interpolate", summary: "linear interpolation along an axis" },
    Family { name: "matmul", summary: "products of two matrices neither of which is constant" },
    Family { name: "fill", summary: "one number everywhere" },
];

/// The family that does this, as [`KERNELS`] names it.
#[must_use]
pub fn family(producer: &Producer) -> &'static str {
    match producer {
        Producer::Gemm(_) => "gemm",
        Producer::Depthwise(_) => "depthwise",
        Producer::WinogradInput(_) => "winograd_input",
        Producer::Winograd(_) => "winograd",
        Producer::Pointwise => "pointwise",
        Producer::Pool { .. } => "pool",
        Producer::Reduce { .. } => "reduce",
        Producer::Softmax { .. } => "softmax",
        Producer::Gather { .. } => "gather",
        Producer::Interpolate { .. } => "interpolate",
        Producer::MatMul { .. } => "matmul",
        Producer::Fill { .. } => "fill",
    }
}

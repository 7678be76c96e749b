//! Placeholder.

pub mod artifact;
pub mod onnx;

//! Placeholder.

pub mod artifact;
pub mod dataset;
pub mod onnx;
pub mod output_file;

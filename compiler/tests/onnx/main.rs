//! ONNX in and out, against models that others made and against programs that others wrote.

mod export;
mod import;
mod outside;

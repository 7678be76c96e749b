//! ONNX import and export, compared with models and programs of others.

#[path = "../emulated/runner.rs"]
mod emulated;

mod bad_input;
mod broken;
mod conv_transpose;
mod cumsum;
mod damage;
mod export;
mod external;
mod four_bits;
mod import;
mod indexed;
mod making;
mod meaning;
mod oracle;
mod outside;
mod quantized;
mod regions;
mod scales;
mod support;
mod whole_models;

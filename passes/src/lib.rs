//! Graph passes: what happens between the imported model and lowering.

pub mod calibrate;

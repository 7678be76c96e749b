//! The stages from a model file to an artifact, one file each; `driver` runs them in order.

pub mod emit;
pub mod load;
pub mod lower;
pub mod optimize;
pub mod progress;
pub mod schedule;

//! The stages between a model's file and an artifact, one file each; `driver` puts them in a row.

pub mod emit;
pub mod load;
pub mod lower;
pub mod optimize;
pub mod progress;
pub mod schedule;

//! Runs models on data: compiled in memory, loaded, or evaluated; and compares two of them tensor by tensor.

pub mod executable;
pub mod layers;
mod oracle;

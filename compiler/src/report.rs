//! Contents of reports: arithmetic by precision, similarity of results, node names and numbers as text.

pub mod coverage;
pub(crate) mod nodes;
pub mod numbers;
pub mod saturation;
pub mod similarity;

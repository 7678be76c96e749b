//! What reports say: which arithmetic a graph is computed in, how alike two results are, names of nodes and numbers as text.

pub mod coverage;
pub(crate) mod nodes;
pub mod numbers;
pub mod saturation;
pub mod similarity;

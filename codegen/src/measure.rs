//! Measurements on this machine: what kernels reach of its peaks, and which candidates are fastest.

pub mod rates;
pub mod tune;

//! Measurements on this machine: the rates of kernels beside its peaks, and the fastest candidates of decisions.

pub mod rates;
pub mod tune;

//! Placeholder.

pub mod artifact;

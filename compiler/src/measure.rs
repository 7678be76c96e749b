//! Measurements on this machine: peaks, the time of each call beside its bound, and the fastest choices.

pub mod machine;
pub mod profile;
pub mod roofline;
pub mod tune;
pub mod tuning_file;

//! Measurements on this machine: its peaks, the least time of each call against the time that it takes, and the choices
//! that are the fastest here.

pub mod machine;
pub mod profile;
pub mod roofline;
pub mod tune;
pub mod tuning_file;

//! The limit on memory that a model may need.
//!
//! Shapes are numbers in a file: a few bytes can claim a tensor of terabytes. So sizes are checked against the limit
//! before memory is allocated, and the error names the tensor and its size.

use std::fmt;
use std::fs;
use std::str::FromStr;

use eightfold_ir::Graph;

use crate::report::numbers::bytes;

/// The maximum number of bytes that a tensor or a whole model may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemoryLimit(pub u64);

/// Something needs more memory than the limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} takes {}, the limit is {limit}", bytes(*size))]
pub struct TooLarge {
    /// What needs it.
    pub what: String,
    /// Its size in bytes.
    pub size: u64,
    /// The limit.
    pub limit: MemoryLimit,
}

impl Default for MemoryLimit {
    /// Three quarters of this machine's memory, or of its control group's if that is less; 8 GiB if the system does not
    /// report its memory.
    fn default() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            Some(kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
        });
        let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
        let least = machine.into_iter().chain(group).min();
        MemoryLimit(least.map_or(8 << 30, |bytes| bytes / 4 * 3))
    }
}

/// The units that a size may end in.
const UNITS: [(char, u32); 4] = [('K', 10), ('M', 20), ('G', 30), ('T', 40)];

impl FromStr for MemoryLimit {
    type Err = String;

    /// `8G`, `500M` or a number of bytes.
    fn from_str(text: &str) -> Result<Self, String> {
        let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(*unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((text, 0));
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
        let expected = || format!("expected a number of bytes above 0, or one with K, M, G or T: 8G; got {text:?}");
        bytes.filter(|bytes| *bytes > 0).map(MemoryLimit).ok_or_else(expected)
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bytes(self.0))
    }
}

impl MemoryLimit {
    /// Checks a size; `what` describes it in the error.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn check(self, size: u64, what: impl FnOnce() -> String) -> Result<(), TooLarge> {
        if size <= self.0 { Ok(()) } else { Err(TooLarge { what: what(), size, limit: self }) }
    }

    /// Checks each tensor of a graph.
    ///
    /// # Errors
    /// [`TooLarge`] names the first tensor above the limit.
    pub fn check_tensors(self, graph: &Graph) -> Result<(), TooLarge> {
        for (id, value) in graph.values() {
            self.check(value.ty.byte_size() as u64, || {
                let origin = graph.producer(id).map(|node| node.origin.to_string()).filter(|names| !names.is_empty());
                match (&value.name, origin) {
                    (Some(name), _) => format!("tensor {name:?} ({})", value.ty),
                    (None, Some(origin)) => format!("the result of {origin} ({})", value.ty),
                    (None, None) => format!("a tensor ({})", value.ty),
                }
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_with_units() {
        let read = |text: &str| text.parse::<MemoryLimit>().map(|limit| limit.0);
        assert_eq!([read("17"), read("500M"), read("2T")], [Ok(17), Ok(500 << 20), Ok(2 << 40)]);
        for wrong in ["", "0", "-1", "1.5G", "G", "8GB", "99999999999T"] {
            assert!(read(wrong).is_err_and(|error| error.contains("expected a number of bytes")), "{wrong}");
        }
    }

    #[test]
    fn the_default_is_part_of_what_there_is() {
        let MemoryLimit(bytes) = MemoryLimit::default();
        assert!((64 << 20..1 << 50).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_tensor_beyond_the_limit_is_named() {
        let graph = eightfold_ir::parse("graph @g {\n  input %x: 1024x1024xf32\n  output %x\n}").expect("a graph");
        assert_eq!(MemoryLimit(4 << 20).check_tensors(&graph), Ok(()));
        let error = MemoryLimit(1 << 20).check_tensors(&graph).expect_err("too large").to_string();
        assert_eq!(error, "tensor \"x\" (1024x1024xf32) takes 4.0 MiB, the limit is 1.0 MiB");
    }
}

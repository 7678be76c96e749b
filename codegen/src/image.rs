//! The layout of constants in memory: one after the other, each aligned, with slack after the last.
//!
//! Weights are most of an artifact, so they are shared rather than copied, and never go through LLVM: code contains
//! only the address of the first byte and the offsets of the constants.

use std::io::{self, Write};

use eightfold_ir::Bytes;

use crate::program::Program;
use crate::view::Const;

/// Alignment of each constant: a cache line, and the widest vector.
pub(crate) const ALIGN: usize = 64;

/// Constants in the order of their layout.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    parts: Vec<Bytes>,
    /// Bytes up to the end of the last part.
    end: usize,
}

/// Aligned memory with the bytes of constants.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes: Vec<u8>,
    /// The offset of the first constant.
    start: usize,
}

impl Image {
    /// Appends constants; returns the offset of each.
    pub(crate) fn add(&mut self, consts: &[Const]) -> Vec<usize> {
        let place = |constant: &Const| {
            let start = self.end.next_multiple_of(ALIGN);
            self.end = start + constant.bytes.len();
            self.parts.push(constant.bytes.clone());
            start
        };
        consts.iter().map(place).collect()
    }

    /// The size in bytes, with the slack after the last constant.
    pub(crate) fn size(&self) -> usize {
        self.end + Program::SLACK
    }

    /// Writes the constants and the slack.
    ///
    /// # Errors
    /// Fails if `out` fails.
    pub(crate) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for (index, part) in self.parts.iter().enumerate() {
            out.write_all(part)?;
            if index + 1 < self.parts.len() {
                out.write_all(&[0; ALIGN][..part.len().next_multiple_of(ALIGN) - part.len()])?;
            }
        }
        out.write_all(&[0; Program::SLACK])
    }

    /// Copies the constants into memory, and frees each as soon as it has been copied.
    pub(crate) fn into_memory(self) -> Memory {
        // The system provides pages of zeros only as constants are copied into them.
        let mut bytes = vec![0; self.size() + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN);
        let mut at = start;
        for part in self.parts {
            bytes[at..at + part.len()].copy_from_slice(&part);
            at += part.len().next_multiple_of(ALIGN);
        }
        Memory { bytes, start }
    }
}

impl Memory {
    /// The address of the first byte, which does not change.
    pub(crate) fn address(&self) -> usize {
        self.bytes[self.start..].as_ptr().addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Constants of these sizes, filled with their position.
    fn image(sizes: &[usize]) -> (Image, Vec<usize>) {
        let constant =
            |(index, size): (usize, &usize)| Const { name: String::new(), bytes: vec![index as u8 + 1; *size].into() };
        let consts: Vec<Const> = sizes.iter().enumerate().map(constant).collect();
        let mut image = Image::default();
        let offsets = image.add(&consts);
        (image, offsets)
    }

    #[test]
    fn each_is_aligned_and_the_last_has_slack() {
        let (image, offsets) = image(&[3, 64, 65, 1]);
        assert_eq!(offsets, [0, 64, 128, 256]);
        let mut bytes = Vec::new();
        image.write_to(&mut bytes).unwrap();
        assert_eq!(bytes.len(), image.size());
        assert_eq!(bytes.len(), 257 + Program::SLACK);
        let numbers: Vec<(usize, u8)> = bytes.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).collect();
        let expected = [(0, 3), (64, 64), (128, 65), (256, 1)].into_iter().enumerate();
        let expected =
            expected.flat_map(|(index, (start, size))| (start..start + size).map(move |at| (at, index as u8 + 1)));
        assert_eq!(numbers, expected.collect::<Vec<_>>());
    }

    #[test]
    fn memory_holds_what_a_file_holds() {
        let (image, _) = image(&[3, 0, 130]);
        let mut bytes = Vec::new();
        image.write_to(&mut bytes).unwrap();
        let memory = image.into_memory();
        assert_eq!(memory.address() % ALIGN, 0);
        assert_eq!(memory.bytes[memory.start..][..bytes.len()], bytes);
    }
}

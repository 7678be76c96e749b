//! Adds constants to an object file without LLVM.
//!
//! LLVM emits an empty section and code that refers to it. This module appends the constants to LLVM's output and
//! changes the header of the section accordingly. Nothing else in the file changes. Constants are written directly from
//! their own memory.

use std::io::{self, Write};

use object::read::elf::{ElfFile64, FileHeader as _};
use object::{LittleEndian, Object as _, ObjectSection as _};

use crate::image::{ALIGN, Image};

/// The section that holds the constants.
pub(crate) const CONSTANTS: &str = ".rodata.eightfold";

/// The offsets of fields in a section's header.
const FILE_OFFSET: usize = 24;
const SIZE: usize = 32;

/// An object file.
#[derive(Clone, Debug)]
pub struct ObjectFile {
    /// The file up to the constants.
    code: Vec<u8>,
    constants: Option<Image>,
}

impl From<Vec<u8>> for ObjectFile {
    /// A file without constants to add.
    fn from(code: Vec<u8>) -> Self {
        ObjectFile { code, constants: None }
    }
}

impl ObjectFile {
    /// The object file `code` with these constants in its empty section.
    ///
    /// # Panics
    /// If `code` is not an object file with an empty section for constants.
    pub(crate) fn with_constants(mut code: Vec<u8>, constants: Image) -> Self {
        code.resize(code.len().next_multiple_of(ALIGN), 0);
        let elf = ElfFile64::<LittleEndian>::parse(&*code).expect("LLVM makes an ELF file");
        let section = elf.section_by_name(CONSTANTS).expect("code refers to the section");
        assert_eq!(section.size(), 0, "LLVM has seen no constants");
        let (table, entry) = (elf.elf_header().e_shoff(LittleEndian), elf.elf_header().e_shentsize(LittleEndian));
        let header = table as usize + section.index().0 * usize::from(entry);
        let (offset, size) = (code.len() as u64, constants.size() as u64);
        for (field, value) in [(FILE_OFFSET, offset), (SIZE, size)] {
            code[header + field..][..8].copy_from_slice(&value.to_le_bytes());
        }
        ObjectFile { code, constants: Some(constants) }
    }

    /// The file without its constants, which begins with the ELF header.
    #[must_use]
    pub fn code(&self) -> &[u8] {
        &self.code
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Fails if `out` fails.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.code)?;
        self.constants.as_ref().map_or(Ok(()), |constants| constants.write_to(out))
    }

    /// The file in memory.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).unwrap_or_else(|error| unreachable!("memory takes all bytes: {error}"));
        bytes
    }
}

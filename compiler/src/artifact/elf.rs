//! Checks whether a file is an artifact, without running its code.
//!
//! Loading a library runs its constructors, and touching a missing page of a truncated, mapped file kills the process.
//! So everything that can be checked is checked before loading. The last check is a checksum over the whole file,
//! written by [`seal`]: a single wrong bit in code or descriptors could crash the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use eightfold_runtime::abi::{ABI_VERSION, NOTE_CHECKSUM, NOTE_OWNER, NOTE_SECTION, NOTE_TYPE};
use object::elf::{EM_386, EM_AARCH64, EM_ARM, EM_RISCV, EM_X86_64, ET_DYN, ET_REL, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::read::{ReadCache, ReadRef as _};
use object::{LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _};
use sha2::{Digest, Sha256};

use super::{ArtifactError, Damage};

/// Reads only the requested bytes of a file.
type Bytes<'a> = &'a ReadCache<File>;
type Header = FileHeader64<LittleEndian>;

/// The ELF machine type of this process.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    EM_X86_64
} else if cfg!(target_arch = "aarch64") {
    EM_AARCH64
} else {
    0
};

/// Checks the artifact at `path` and returns the name of its query function.
pub(super) fn query_symbol(path: &Path) -> Result<String, ArtifactError> {
    let open = |source| ArtifactError::Open { path: path.to_owned(), source };
    let file = File::open(path).map_err(open)?;
    let metadata = file.metadata().map_err(open)?;
    if !metadata.is_file() {
        return Err(open(io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
    }
    let cache = ReadCache::new(file);
    let header = header(path, &cache, metadata.len())?;
    whole(path, header, &cache, metadata.len())?;

    let damaged = |damage| ArtifactError::Damaged { path: path.to_owned(), damage };
    let elf = ElfFile64::<LittleEndian, _>::parse(&cache).map_err(|_| damaged(Damage::Sections))?;
    let Some(section) = elf.section_by_name(NOTE_SECTION) else {
        return Err(ArtifactError::NotOurs { path: path.to_owned() });
    };
    let note = section.data().ok().and_then(parse_note);
    let Note { abi_version, query_symbol, checksum } = note.ok_or_else(|| damaged(Damage::Note))?;
    if abi_version != ABI_VERSION {
        return Err(ArtifactError::AbiVersion { path: path.to_owned(), expected: ABI_VERSION, got: abi_version });
    }
    match header.e_type(LittleEndian) {
        ET_DYN => {}
        ET_REL => return Err(ArtifactError::NotLinked { path: path.to_owned() }),
        _ => return Err(ArtifactError::NotOurs { path: path.to_owned() }),
    }
    let query = |symbol: &str| symbol == query_symbol;
    if !elf.dynamic_symbols().any(|symbol| symbol.is_definition() && symbol.name().is_ok_and(query)) {
        return Err(damaged(Damage::Symbol));
    }
    if let Some((offset, expected)) = checksum.filter(|(_, sum)| *sum != [0; NOTE_CHECKSUM]) {
        let start = section.file_range().map_or(0, |(start, _)| start);
        let got = File::open(path).and_then(|mut file| digest(&mut file, start + offset)).map_err(open)?;
        if got != expected {
            return Err(damaged(Damage::Checksum));
        }
    }
    Ok(query_symbol)
}

/// Writes the checksum of a linked artifact into its note. A file without space for one stays unchanged.
pub(crate) fn seal(path: &Path) -> io::Result<()> {
    let cache = ReadCache::new(File::open(path)?);
    let elf = ElfFile64::<LittleEndian, _>::parse(&cache).map_err(io::Error::other)?;
    let found = elf.section_by_name(NOTE_SECTION).and_then(|section| {
        let (offset, _) = section.data().ok().and_then(parse_note)?.checksum?;
        Some(section.file_range()?.0 + offset)
    });
    let Some(place) = found else { return Ok(()) };
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let sum = digest(&mut file, place)?;
    file.seek(SeekFrom::Start(place))?;
    file.write_all(&sum)
}

/// The SHA-256 of a file, with zeros in place of the checksum.
fn digest(file: &mut File, place: u64) -> io::Result<[u8; NOTE_CHECKSUM]> {
    let (mut hash, mut buffer, mut begin) = (Sha256::new(), vec![0; 1 << 20], 0);
    file.rewind()?;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let bytes = &mut buffer[..count];
        let within = |position: u64| position.saturating_sub(begin).min(count as u64) as usize;
        bytes[within(place)..within(place + NOTE_CHECKSUM as u64)].fill(0);
        hash.update(bytes);
        begin += count as u64;
    }
    Ok(hash.finalize().into())
}

/// The ELF header, if the file is ELF and its code is for this machine.
fn header<'a>(path: &Path, bytes: Bytes<'a>, length: u64) -> Result<&'a Header, ArtifactError> {
    let path = || path.to_owned();
    if bytes.read_bytes_at(0, 4) != Ok(b"\x7fELF") {
        return Err(ArtifactError::NotElf { path: path() });
    }
    let expected = size_of::<Header>() as u64;
    let Ok(header) = bytes.read_at::<Header>(0) else {
        return Err(ArtifactError::Truncated { path: path(), expected, got: length });
    };
    let machine = header.e_machine(LittleEndian);
    if header.is_supported() && header.is_little_endian() && machine == MACHINE {
        return Ok(header);
    }
    let got = match machine {
        _ if !header.is_little_endian() => "big-endian".to_owned(),
        EM_X86_64 => "x86_64".to_owned(),
        EM_AARCH64 => "aarch64".to_owned(),
        EM_ARM => "arm".to_owned(),
        EM_386 => "x86".to_owned(),
        EM_RISCV => "riscv".to_owned(),
        other => format!("machine {other}"),
    };
    Err(ArtifactError::Machine { path: path(), expected: std::env::consts::ARCH, got })
}

/// Checks that the file has the length that its headers imply.
fn whole(path: &Path, header: &Header, bytes: Bytes<'_>, length: u64) -> Result<(), ArtifactError> {
    let table = |offset: u64, entry: u16, count: u16| offset.saturating_add(u64::from(entry) * u64::from(count));
    let le = LittleEndian;
    let sections = table(header.e_shoff(le), header.e_shentsize(le), header.e_shnum(le));
    let segments = table(header.e_phoff(le), header.e_phentsize(le), header.e_phnum(le));
    let mut expected = sections.max(segments);
    for segment in header.program_headers(le, bytes).unwrap_or_default() {
        expected = expected.max(segment.p_offset(le).saturating_add(segment.p_filesz(le)));
    }
    for section in header.section_headers(le, bytes).unwrap_or_default() {
        let (start, size) = section.file_range(le).unwrap_or_default();
        expected = expected.max(start.saturating_add(size));
    }
    if length < expected {
        return Err(ArtifactError::Truncated { path: path.to_owned(), expected, got: length });
    }
    Ok(())
}

/// The contents of the note; see `eightfold_runtime::abi::NOTE_SECTION`.
struct Note {
    abi_version: u32,
    query_symbol: String,
    /// The checksum and its offset in the note; `None` for an artifact without one, written by another program.
    checksum: Option<(u64, [u8; NOTE_CHECKSUM])>,
}

fn parse_note(note: &[u8]) -> Option<Note> {
    let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
    let (owner_size, rest) = note.split_first_chunk()?;
    let (size, rest) = rest.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let owner_size = word(owner_size) as usize;
    let owner = rest.get(..owner_size)?;
    if owner != NOTE_OWNER || word(kind) != NOTE_TYPE {
        return None;
    }
    let descriptor = rest.get(owner_size.next_multiple_of(4)..)?.get(..word(size) as usize)?;
    let (abi_version, text) = descriptor.split_first_chunk()?;
    let end = text.iter().position(|byte| *byte == 0)?;
    let (symbol, behind) = (&text[..end], &text[end + 1..]);
    let checksum = match behind.len() {
        0 => None,
        _ => {
            let offset = descriptor.as_ptr().addr() - note.as_ptr().addr() + 4 + end + 1;
            Some((offset as u64, behind.try_into().ok()?))
        }
    };
    Some(Note { abi_version: word(abi_version), query_symbol: String::from_utf8(symbol.to_vec()).ok()?, checksum })
}

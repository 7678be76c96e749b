//! A model's bytes, large parts of which are read on demand.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::onnx::error::OnnxError;

/// A seekable reader.
pub(crate) trait Input: Read + Seek {}

impl<T: Read + Seek> Input for T {}

/// A model's bytes.
pub(crate) struct Source<'a> {
    input: BufReader<Box<dyn Input + 'a>>,
    path: PathBuf,
    size: u64,
    position: u64,
}

impl<'a> Source<'a> {
    /// A source that reads `input`; `path` is its file, if any.
    pub(crate) fn new(mut input: impl Input + 'a, path: Option<&Path>) -> Result<Self, OnnxError> {
        let path = path.map(Path::to_owned).unwrap_or_default();
        let size = input.seek(SeekFrom::End(0)).and_then(|size| input.rewind().map(|()| size));
        let size = size.map_err(|source| OnnxError::Read { path: path.clone(), source })?;
        Ok(Source { input: BufReader::new(Box::new(input)), path, size, position: 0 })
    }

    /// The file, if any.
    pub(super) fn path(&self) -> Option<&Path> {
        Some(&*self.path).filter(|path| !path.as_os_str().is_empty())
    }

    /// The number of bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The position of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Moves to a position.
    pub(super) fn go_to(&mut self, position: u64) -> Result<(), OnnxError> {
        let distance = position as i64 - self.position as i64;
        self.input.seek_relative(distance).map_err(|source| self.failure(source))?;
        self.position = position;
        Ok(())
    }

    /// The next byte; `None` at `end`.
    pub(super) fn byte(&mut self, end: u64) -> Result<Option<u8>, OnnxError> {
        if self.position >= end {
            return Ok(None);
        }
        let mut byte = [0];
        self.input.read_exact(&mut byte).map_err(|source| self.failure(source))?;
        self.position += 1;
        Ok(Some(byte[0]))
    }

    /// The bytes in a range, which must lie within the file.
    pub(super) fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, OnnxError> {
        self.go_to(range.start)?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.input.read_exact(&mut bytes).map_err(|source| self.failure(source))?;
        self.position = range.end;
        Ok(bytes)
    }

    /// The SHA-256 state after all bytes, to which external data can be added.
    pub(super) fn hash(&mut self) -> Result<Sha256, OnnxError> {
        const PIECE: u64 = 1 << 20;
        let mut hash = Sha256::new();
        for start in (0..self.size).step_by(PIECE as usize) {
            hash.update(self.read(start..self.size.min(start + PIECE))?);
        }
        Ok(hash)
    }

    fn failure(&self, source: io::Error) -> OnnxError {
        OnnxError::Read { path: self.path.clone(), source }
    }
}

//! External data of tensors: files beside the model.
//!
//! A model may come from an untrusted source, so it must not select files elsewhere. A location is a relative path
//! without `..`, and the file that it leads to, after following links, is in one of two folders:
//! - the folder of the path that the user gave;
//! - if that path is a link, the folder of the file that it leads to. Some caches store models like this: `model.onnx`
//!   and `model.onnx_data` are links into one folder of files named by their hashes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use crate::onnx::error::{ExternalFault, OnnxError};

/// The files opened so far, by their names in the model.
pub(super) struct External {
    model: Option<PathBuf>,
    files: BTreeMap<String, (PathBuf, File)>,
}

impl External {
    /// `model` is the path of the model's file; a model given as bytes has none, and no external data.
    pub(super) fn new(model: Option<&Path>) -> Self {
        External { model: model.map(Path::to_owned), files: BTreeMap::new() }
    }

    /// The files opened so far.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.values().map(|(path, _)| path.clone()).collect()
    }

    /// The range of a tensor's bytes: from `offset`, `length` bytes or the rest of the file.
    pub(super) fn find(
        &mut self,
        tensor: &str,
        location: &str,
        offset: Option<&str>,
        length: Option<&str>,
    ) -> Result<Range<u64>, OnnxError> {
        let error = |fault| OnnxError::External { tensor: tensor.to_owned(), location: location.to_owned(), fault };
        if !self.files.contains_key(location) {
            let opened = open(self.model.as_deref(), location).map_err(error)?;
            self.files.insert(location.to_owned(), opened);
        }
        let file = &self.files[location].1;
        let size = file.metadata().map_err(ExternalFault::from).map_err(error)?.len();
        range(size, offset, length).map_err(error)
    }

    /// The bytes of `tensor`, in a range of the file at `location` that [`find`](Self::find) returned.
    pub(super) fn read(&mut self, tensor: &str, location: &str, range: Range<u64>) -> Result<Vec<u8>, OnnxError> {
        let mut file = &self.files[location].1;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut bytes));
        let (tensor, location) = (tensor.to_owned(), location.to_owned());
        read.map_err(|error| OnnxError::External { tensor, location, fault: error.into() })?;
        Ok(bytes)
    }
}

fn range(size: u64, offset: Option<&str>, length: Option<&str>) -> Result<Range<u64>, ExternalFault> {
    let number = |key: &str, text: Option<&str>, default: u64| match text {
        Some(text) => {
            text.parse::<u64>().map_err(|_| ExternalFault::Number { key: key.to_owned(), value: text.to_owned() })
        }
        None => Ok(default),
    };
    let offset = number("offset", offset, 0)?;
    let length = number("length", length, size.saturating_sub(offset))?;
    let end = offset.saturating_add(length);
    if end > size {
        return Err(ExternalFault::Range { offset, end, size });
    }
    Ok(offset..end)
}

/// Opens the file at `location` if the rules in the module's documentation allow it.
fn open(model: Option<&Path>, location: &str) -> Result<(PathBuf, File), ExternalFault> {
    let model = model.ok_or(ExternalFault::NoFolder)?;
    let relative = Path::new(location);
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() || location.contains('\\') {
        return Err(ExternalFault::Escapes);
    }
    let folder = match model.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let path = folder.join(relative).canonicalize()?;
    let target = model.canonicalize()?;
    let allowed = [Some(folder.canonicalize()?), target.parent().map(Path::to_owned)];
    if !allowed.iter().flatten().any(|folder| path.starts_with(folder)) {
        return Err(ExternalFault::Escapes);
    }
    // Checked before opening: opening a pipe would block.
    if !path.metadata()?.is_file() {
        return Err(ExternalFault::Io(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let file = File::open(&path)?;
    Ok((path, file))
}

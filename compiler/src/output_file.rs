//! Files that are written whole or not at all.
//!
//! The contents go to a temporary file beside the destination, which then takes its name: a reader never sees half a
//! file, and a failed run leaves what was there before. A run that is interrupted calls [`abandon`], and leaves nothing
//! else either.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::error::Error;

/// Where the contents of an output file go.
pub trait OutputFile: Write + Seek {}

impl<T: Write + Seek> OutputFile for T {}

/// Writes `path` by way of a temporary file in the same folder.
///
/// # Errors
/// Those of `write` and of the file system; `path` is then as it was before.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn OutputFile) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path)?;
    let mut builder = Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is for its owner alone; an output is as open as the umask lets any new file be.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let (file, _unfinished) = Unfinished::begin(|| builder.tempfile_in(folder), NamedTempFile::path)?;
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    let file: NamedTempFile = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes `bytes` to `path`.
///
/// # Errors
/// [`Error::Write`]; `path` is then as it was before.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_file(path, |file| file.write_all(bytes)).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Whether `path` can be written, asked before the work whose result goes there.
///
/// # Errors
/// [`Error::Write`].
pub fn check_writable(path: &Path) -> Result<(), Error> {
    let made = folder_of(path).and_then(|folder| {
        Unfinished::begin(|| Builder::new().prefix(PREFIX).tempfile_in(folder), NamedTempFile::path)
    });
    made.map(drop).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Has `make` make a file at the path that it is given, in a new folder beside `path`, and moves it to `path`.
///
/// # Errors
/// Those of the file system; within, those of `make`. In both cases `path` is as it was before.
pub(crate) fn make_file<E>(path: &Path, make: impl FnOnce(&Path) -> Result<(), E>) -> io::Result<Result<(), E>> {
    let folder = folder_of(path)?;
    let mut builder = Builder::new();
    builder.prefix(PREFIX);
    let (work, _unfinished) = Unfinished::begin(|| builder.tempdir_in(folder), TempDir::path)?;
    let file = work.path().join("output");
    match make(&file) {
        Ok(()) => fs::rename(file, path).map(Ok),
        failed => Ok(failed),
    }
}

/// Removes all that is being written, by a process that is about to end: whoever wants to write more waits for ever.
pub fn abandon() {
    let unfinished = unfinished();
    for path in &*unfinished {
        // There is nobody left to tell that it could not be removed.
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
    std::mem::forget(unfinished);
}

const PREFIX: &str = ".eightfold-";

/// The folder that an output belongs in.
fn folder_of(path: &Path) -> io::Result<&Path> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::metadata(folder).map(|_| folder)
}

/// Temporary files and folders that are there.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A row of [`UNFINISHED`].
struct Unfinished(PathBuf);

impl Unfinished {
    /// Makes a temporary file or folder; it is never there without its row.
    fn begin<T>(make: impl FnOnce() -> io::Result<T>, path: impl Fn(&T) -> &Path) -> io::Result<(T, Unfinished)> {
        let mut unfinished = unfinished();
        // The error would name the temporary path, which means nothing to the user.
        let made = make().map_err(|error| io::Error::from(error.kind()))?;
        let path = path(&made).to_owned();
        unfinished.insert(path.clone());
        Ok((made, Unfinished(path)))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

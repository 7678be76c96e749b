//! Output files: written completely or not at all, and never over a file that the command reads.
//!
//! The contents go to a temporary file beside the destination, which is then renamed. A reader never sees an incomplete
//! file, and a failed run keeps the previous file. An interrupted run calls [`abandon`], which removes the temporary
//! files.
//!
//! All outputs go through `Destination::of`. It follows symbolic links, so a link stays a link. It rejects an input of
//! the command (see [`declare_input`]), and everything that cannot be replaced as a whole: folders, pipes, sockets,
//! block devices. Character devices such as `/dev/null` are written directly.

use std::collections::BTreeSet;
use std::fs::{self, FileType, Metadata};
use std::io::{self, BufWriter, Cursor, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::{Builder, NamedTempFile, TempDir};

/// An output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    /// The output.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// The writer for the contents of an output file.
pub trait OutputFile: Write + Seek {}

impl<T: Write + Seek> OutputFile for T {}

/// Writes `path` through a temporary file in the same folder.
///
/// # Errors
/// Those of `write` and of the file system; then `path` is unchanged.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn OutputFile) -> io::Result<()>) -> io::Result<()> {
    let path = match Destination::of(path)? {
        Destination::File(path) => path,
        Destination::Device(device) => {
            let mut contents = Cursor::new(Vec::new());
            write(&mut contents)?;
            return write_through(&device, &contents.into_inner());
        }
    };
    let mut builder = Builder::new();
    builder.prefix(PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is private to its owner; an output has the permissions that the umask gives any new file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let (file, _unfinished) = Unfinished::begin(|| builder.tempfile_in(folder_of(&path)), NamedTempFile::path)?;
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    let file: NamedTempFile = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes `bytes` to `path`.
///
/// # Errors
/// [`WriteError`]; then `path` is unchanged.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_file(path, |file| file.write_all(bytes)).map_err(|source| WriteError { path: path.to_owned(), source })
}

/// Checks, before the work, that its result can be written to `path`. A later [`declare_input`] of the same file fails.
///
/// # Errors
/// [`WriteError`].
pub fn check_writable(path: &Path) -> Result<(), WriteError> {
    let probe = |path: &Path| {
        let make = || Builder::new().prefix(PREFIX).tempfile_in(folder_of(path));
        Unfinished::begin(make, NamedTempFile::path).map(drop)
    };
    let checked = Destination::of(path).and_then(|destination| match destination {
        Destination::File(path) => probe(&path),
        Destination::Device(_) => Ok(()),
    });
    checked.map_err(|source| WriteError { path: path.to_owned(), source })?;
    files().outputs.push(path.to_owned());
    Ok(())
}

/// Declares a file an input of this command: from now on no output overwrites it, under any name.
///
/// # Errors
/// [`WriteError`] if [`check_writable`] was called for it.
pub fn declare_input(path: &Path) -> Result<(), WriteError> {
    let mut files = files();
    if let Some(output) = files.outputs.iter().find(|output| is_same_file(output, path)) {
        return Err(WriteError { path: output.clone(), source: would_lose(path) });
    }
    if !files.inputs.iter().any(|input| input == path) {
        files.inputs.push(path.to_owned());
    }
    Ok(())
}

/// Whether two paths lead to the same file, which may not exist yet.
#[must_use]
pub fn is_same_file(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => same_inode(&a, &b),
        (Err(_), Err(_)) => {
            let resolved = |path: &Path| {
                let path = follow(path).ok()?;
                Some(folder_of(&path).canonicalize().ok()?.join(path.file_name()?))
            };
            resolved(a).is_some_and(|path| resolved(b) == Some(path))
        }
        _ => false,
    }
}

/// Lets `make` write a file to the path that it is given, in a new folder beside `path`, and moves that file to `path`.
///
/// # Errors
/// Those of the file system; the inner result has those of `make`. In both cases `path` is unchanged.
pub(crate) fn make_file<E>(path: &Path, make: impl FnOnce(&Path) -> Result<(), E>) -> io::Result<Result<(), E>> {
    let destination = Destination::of(path)?;
    let begin = || match &destination {
        Destination::File(path) => Builder::new().prefix(PREFIX).tempdir_in(folder_of(path)),
        Destination::Device(_) => Builder::new().prefix(PREFIX).tempdir(),
    };
    let (work, _unfinished) = Unfinished::begin(begin, TempDir::path)?;
    let file = work.path().join("output");
    match (make(&file), &destination) {
        (Ok(()), Destination::File(path)) => fs::rename(file, path).map(Ok),
        (Ok(()), Destination::Device(device)) => write_through(device, &fs::read(file)?).map(Ok),
        (failed, _) => Ok(failed),
    }
}

/// Removes all unfinished outputs of a process that is about to end. Threads that write outputs block forever.
pub fn abandon() {
    let unfinished = unfinished();
    for path in &*unfinished {
        // The linker is another process and may keep writing into the folder while it is removed; it cannot create
        // files in a removed folder. A final failure cannot be reported to anyone.
        for _ in 0..100 {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            if removed.is_ok() || !path.exists() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    std::mem::forget(unfinished);
}

const PREFIX: &str = ".eightfold-";

/// The end of an output's path, links followed.
enum Destination {
    /// A regular file, or a file that does not exist yet. It is replaced as a whole.
    File(PathBuf),
    /// A character device. It is written directly.
    Device(PathBuf),
}

impl Destination {
    /// The only place that decides whether a path can be an output.
    fn of(path: &Path) -> io::Result<Destination> {
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = follow(path)?;
                fs::metadata(folder_of(&path))?;
                return Ok(Destination::File(path));
            }
            metadata => metadata?,
        };
        if let Some(input) = files().inputs.iter().find(|input| is_same_file(input, path)) {
            return Err(would_lose(input));
        }
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if metadata.is_file() {
            // The shell has already opened the file: printed text would go to the replaced file.
            let streams = ["/dev/stdout", "/dev/stderr"].map(fs::metadata);
            if streams.iter().flatten().any(|stream| same_inode(stream, &metadata)) {
                return Err(io::Error::other("standard output or standard error goes to this file"));
            }
            return path.canonicalize().map(Destination::File);
        }
        match special_kind(metadata.file_type()) {
            None => Ok(Destination::Device(path.to_owned())),
            Some(kind) => Err(io::Error::other(format!("it is a {kind}, expected a regular file"))),
        }
    }
}

/// The kind of a file that cannot be an output; `None` for a character device.
#[cfg(unix)]
fn special_kind(file: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt as _;
    // Opening a pipe without a reader would block forever.
    let kinds = [
        (file.is_char_device(), None),
        (file.is_fifo(), Some("pipe")),
        (file.is_socket(), Some("socket")),
        (file.is_block_device(), Some("block device")),
    ];
    kinds.into_iter().find_map(|(is, kind)| is.then_some(kind)).unwrap_or(Some("special file"))
}

#[cfg(not(unix))]
fn special_kind(_: FileType) -> Option<&'static str> {
    Some("special file")
}

#[cfg(unix)]
fn same_inode(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(not(unix))]
fn same_inode(_: &Metadata, _: &Metadata) -> bool {
    false
}

/// The path that links lead to; the last one may not exist.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    // The limit of Linux.
    for _ in 0..40 {
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            return Ok(path);
        }
        let target = fs::read_link(&path)?;
        path = folder_of(&path).join(target);
    }
    Err(io::Error::other("too many symbolic links"))
}

fn write_through(device: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(device)?.write_all(bytes)
}

fn would_lose(input: &Path) -> io::Error {
    io::Error::other(format!("it is the same file as the input {}, which would be lost", input.display()))
}

/// The folder that contains a file.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files of this command.
struct Files {
    inputs: Vec<PathBuf>,
    outputs: Vec<PathBuf>,
}

static FILES: Mutex<Files> = Mutex::new(Files { inputs: Vec::new(), outputs: Vec::new() });

fn files() -> MutexGuard<'static, Files> {
    FILES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Temporary files and folders that exist.
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry of [`UNFINISHED`].
struct Unfinished(PathBuf);

impl Unfinished {
    /// Creates a temporary file or folder; it never exists without its entry.
    fn begin<T>(make: impl FnOnce() -> io::Result<T>, path: impl Fn(&T) -> &Path) -> io::Result<(T, Unfinished)> {
        let mut unfinished = unfinished();
        // The original error would name the temporary path, which means nothing to the user.
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

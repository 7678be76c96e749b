//! Files that are written whole or not at all.
//!
//! The contents go to a temporary file beside the destination, which then takes its name: a reader never sees half a
//! file, and a failed run leaves what was there before.

use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Where the contents of an output file go.
pub trait OutputFile: Write + Seek {}

impl<T: Write + Seek> OutputFile for T {}

/// Writes `path` by way of a temporary file in the same folder.
///
/// # Errors
/// Those of `write` and of the file system; `path` is then as it was before.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn OutputFile) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is for its owner alone; an output is as open as the umask lets any new file be.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut buffer = BufWriter::new(builder.tempfile_in(folder)?);
    write(&mut buffer)?;
    let file: NamedTempFile = buffer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

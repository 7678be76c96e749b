//! The destination of a verb's result, and the meaning of file extensions.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use eightfold::{Error, check_writable, write_bytes};

/// A file, or standard output (`-o -`).
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    File(PathBuf),
    Stdout,
}

/// File extensions and the kind of contents they stand for.
const EXTENSIONS: &[(&str, &str)] = &[
    ("so", "a shared library"),
    ("o", "an object file"),
    ("h", "a C header"),
    ("s", "assembly"),
    ("ll", "LLVM IR"),
    ("ir", "a graph in text form"),
    ("program", "a program in text form"),
    ("onnx", "an ONNX model"),
    ("npz", "named arrays"),
    ("npy", "one array"),
    ("tuning", "a tuning file"),
];

impl From<OsString> for Destination {
    fn from(text: OsString) -> Self {
        if text == "-" { Destination::Stdout } else { Destination::File(text.into()) }
    }
}

impl Destination {
    /// Checks, before any work, that text can be written there. The extension must not belong to another kind of file.
    pub(crate) fn check(&self, extensions: &[&str]) -> Result<(), Error> {
        match self {
            Destination::Stdout => Ok(()),
            Destination::File(path) => {
                check_extension(path, extensions)?;
                Ok(check_writable(path)?)
            }
        }
    }

    /// The file; an error for standard output, which cannot take `what`.
    pub(crate) fn file(&self, what: &str) -> Result<&Path, Error> {
        match self {
            Destination::File(path) => Ok(path),
            Destination::Stdout => {
                Err(Error::Usage(format!("-o -: standard output takes text only, {what} needs a file")))
            }
        }
    }

    /// Writes text.
    pub(crate) fn write(&self, text: &str) -> Result<(), Error> {
        match self {
            Destination::File(path) => Ok(write_bytes(path, text.as_bytes())?),
            Destination::Stdout => print(text),
        }
    }

    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Destination::Stdout)
    }

    /// The name for reports.
    pub(crate) fn name(&self) -> String {
        match self {
            Destination::File(path) => path.display().to_string(),
            Destination::Stdout => "-".to_owned(),
        }
    }
}

/// Prints text to standard output. A closed pipe is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Error::Usage(format!("cannot write to standard output: {error}"))),
    }
}

/// The file's extension, if it is in the table.
pub(crate) fn known_extension(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?;
    EXTENSIONS.iter().map(|(known, _)| *known).find(|known| *known == extension)
}

/// Fails if the extension is in the table and not among `expected`.
pub(crate) fn check_extension(path: &Path, expected: &[&str]) -> Result<(), Error> {
    let Some(extension) = known_extension(path).filter(|extension| !expected.contains(extension)) else {
        return Ok(());
    };
    let holds = |extension: &str| EXTENSIONS.iter().find(|row| row.0 == extension).map_or("text", |row| row.1);
    let wanted: Vec<String> = expected.iter().map(|extension| format!("{} (.{extension})", holds(extension))).collect();
    let wanted = if wanted.is_empty() { "another name".to_owned() } else { wanted.join(" or ") };
    let got = holds(extension);
    Err(Error::Usage(format!("{}: expected {wanted}, .{extension} is for {got}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_of_another_kind_of_file_is_refused() {
        let check =
            |path: &str, expected: &[&str]| check_extension(Path::new(path), expected).map_err(|e| e.to_string());
        assert_eq!(check("net.ir", &["ir"]), Ok(()));
        assert_eq!(check("net_1.0", &["ir"]), Ok(()));
        let expected = "net.so: expected an ONNX model (.onnx), .so is for a shared library".to_owned();
        assert_eq!(check("net.so", &["onnx"]), Err(expected));
        assert!(check("net.so", &[]).unwrap_err().contains("expected another name"));
    }
}

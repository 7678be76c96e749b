//! Recognizes the kind of a file that is not an ONNX model by its first bytes.

/// The number of first bytes that are needed.
pub(super) const BYTES: u64 = 256;

/// First bytes of other kinds of files.
const BEGINNINGS: &[(&[u8], &str)] = &[
    (b"\x7fELF", "a compiled library or object file (ELF)"),
    (b"PK\x03\x04", "a zip archive, as .npz files and PyTorch checkpoints are"),
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras writes"),
    (b"\x89PNG", "an image (PNG)"),
    (b"\xff\xd8\xff", "an image (JPEG)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GGUF", "a GGUF model"),
    (b"eightfold calibration table", "a calibration table"),
    (b"eightfold tuning", "a tuning file"),
    (b"graph @", "a graph in text form, whose name must end in .ir"),
    (b"version https://git-lfs", "a Git LFS pointer, which stands for a file that was not downloaded"),
];

/// The kind of file that `bytes` belong to, if known and not ONNX.
pub(super) fn of(bytes: &[u8]) -> Option<&'static str> {
    let begins = BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning));
    if let Some((_, kind)) = begins {
        return Some(kind);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    let start = &bytes[..bytes.len().min(BYTES as usize)];
    // The last character may be incomplete.
    let is_utf8 = std::str::from_utf8(start).err().is_none_or(|error| error.error_len().is_none());
    let printable = |byte: &u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    (is_utf8 && start.iter().all(printable)).then_some("text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_files_are_named_and_models_are_not() {
        assert_eq!(of(b"\x7fELF\x02\x01"), Some("a compiled library or object file (ELF)"));
        assert_eq!(of(b"hello world\n"), Some("text"));
        assert_eq!(of(b"\x1c\0\0\0TFL3"), Some("a TensorFlow Lite model"));
        assert_eq!(of(b"\x08\x08\x12\x07pytorch"), None);
    }
}

//! NumPy's .npz format: a zip archive of .npy files, stored or deflated.
//!
//! Archives are written without compression and without dates, so equal tensors give equal files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use eightfold_ir::Tensor;
use zip::result::ZipError;
use zip::write::FileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::error::DatasetError;
use super::npy::{self, Array, NpyError};
use crate::host::output_file::write_file;

/// An open .npz file.
pub(super) struct Npz {
    file: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    pub(super) fn open(file: &Path) -> Result<Npz, DatasetError> {
        let read = |source| DatasetError::Read { file: file.to_owned(), source };
        let archive = ZipArchive::new(BufReader::new(File::open(file).map_err(read)?));
        Ok(Npz { file: file.to_owned(), archive: archive.map_err(|error| read(error.into()))? })
    }

    /// The names of the arrays, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().filter_map(|name| name.strip_suffix(".npy"));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The array with this name, if any.
    pub(super) fn array(&mut self, name: &str) -> Result<Option<Array>, DatasetError> {
        match self.archive.by_name(&format!("{name}.npy")) {
            Ok(entry) => npy::read(entry).map(Some).map_err(|error| located(error, &self.file, name)),
            Err(ZipError::FileNotFound) => Ok(None),
            Err(error) => Err(DatasetError::Read { file: self.file.clone(), source: error.into() }),
        }
    }
}

fn located(error: NpyError, file: &Path, array: &str) -> DatasetError {
    match error {
        NpyError::Io(source) => DatasetError::Read { file: file.to_owned(), source },
        NpyError::Form { expected, got } => {
            DatasetError::Npy { file: file.to_owned(), array: array.to_owned(), expected, got }
        }
    }
}

/// Reads a .npy file without conversion to a tensor.
pub(super) fn read_npy_array(file: &Path) -> Result<Array, DatasetError> {
    let open = File::open(file).map_err(|source| DatasetError::Read { file: file.to_owned(), source })?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    npy::read(BufReader::new(open)).map_err(|error| located(error, file, &name))
}

/// Reads a .npy file.
///
/// # Errors
/// If the file cannot be read, or is not an array of numbers.
pub fn read_npy(file: &Path) -> Result<Tensor, DatasetError> {
    read_npy_array(file).map(Array::into_tensor)
}

/// Reads all arrays of a .npz file, by name.
///
/// # Errors
/// If the file cannot be read, or contains something other than arrays of numbers.
pub fn read_npz(file: &Path) -> Result<BTreeMap<String, Tensor>, DatasetError> {
    let mut npz = Npz::open(file)?;
    let mut tensors = BTreeMap::new();
    for name in npz.names() {
        if let Some(array) = npz.array(&name)? {
            tensors.insert(name, array.into_tensor());
        }
    }
    Ok(tensors)
}

/// Writes a .npy file. NumPy has no bfloat16 and no 4-bit integers: they are written as f32 and as 8-bit integers.
///
/// # Errors
/// The file cannot be written.
pub fn write_npy(file: &Path, tensor: &Tensor) -> Result<(), DatasetError> {
    write_file(file, |output| npy::write(tensor, output))
        .map_err(|source| DatasetError::Write { file: file.to_owned(), source })
}

/// Writes a .npz file of named tensors, in the given order; types as in [`write_npy`].
///
/// # Errors
/// The file cannot be written.
pub fn write_npz<'a>(
    file: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), DatasetError> {
    let write = |output: &mut dyn crate::host::output_file::OutputFile| -> io::Result<()> {
        let mut archive = ZipWriter::new(output);
        let written = write_arrays(&mut archive, tensors).and_then(|()| Ok(archive.finish().map(drop)?));
        if written.is_err() {
            // Dropping the archive would try to write again, and print another error.
            std::mem::forget(archive);
        }
        written
    };
    write_file(file, write).map_err(|source| DatasetError::Write { file: file.to_owned(), source })
}

fn write_arrays<'a>(
    archive: &mut ZipWriter<&mut dyn crate::host::output_file::OutputFile>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> io::Result<()> {
    for (name, tensor) in tensors {
        // Above this size the 64-bit form is needed, with room for bfloat16, which doubles in size.
        let large = tensor.bytes().len() >= 0x7000_0000;
        let options = FileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        // The default is the current time.
        let options = options.last_modified_time(DateTime::default());
        archive.start_file(format!("{name}.npy"), options)?;
        npy::write(tensor, &mut *archive)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_archives_carry_no_time_of_day() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("a.npz");
        write_npz(&file, [("x", &Tensor::f32(&[1], &[1.0]))]).expect("written");
        let mut archive = ZipArchive::new(File::open(&file).expect("there")).expect("an archive");
        let time = archive.by_index(0).expect("an entry").last_modified();
        assert_eq!((time.year(), time.month(), time.hour(), time.second()), (1980, 1, 0, 0));
    }
}

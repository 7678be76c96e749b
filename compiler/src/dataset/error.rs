//! Errors of data sets and of the arguments that name them.

use std::io;
use std::path::PathBuf;

use eightfold_ir::DType;

use super::preprocess::{ImageSizeError, PreprocessError};

/// Why data cannot be read, written, or used with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The file system fails, or the archive is damaged.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// The error of the system or of the format's reader.
        source: io::Error,
    },
    /// The requested samples do not exist.
    #[error("samples {begin}..{end} do not exist: there are {count} samples")]
    NoSuchSamples {
        /// The first requested sample.
        begin: usize,
        /// The end of the requested samples (exclusive).
        end: usize,
        /// The number of samples.
        count: usize,
    },
    /// The file system fails. The previous file is unchanged.
    #[error("cannot write {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The data has an unknown form.
    #[error(
        "{}: expected a .npz or .npy file, or a folder of images",
        file.display()
    )]
    Form {
        /// The file or folder.
        file: PathBuf,
    },
    /// An array violates NumPy's format.
    #[error("{}: array `{array}`: expected {expected}, got {got}", file.display())]
    Npy {
        /// The .npy or .npz file.
        file: PathBuf,
        /// The array's name; for a .npy file, the file's name.
        array: String,
        /// The violated part of the format.
        expected: &'static str,
        /// The actual contents.
        got: String,
    },
    /// The data lacks an array for an input of the model.
    #[error("{}: expected an array for each input ({expected}), got {got}", file.display())]
    MissingArray {
        /// The file or folder.
        file: PathBuf,
        /// The names of the model's inputs.
        expected: String,
        /// The names of the arrays.
        got: String,
    },
    /// The data has one array, but the model does not have exactly one input.
    #[error("{}: expected a model with one input, got {got}", file.display())]
    OneInput {
        /// The file or folder.
        file: PathBuf,
        /// The names of the model's inputs.
        got: String,
    },
    /// An array has another element type than the input. Nothing is converted implicitly.
    #[error("{}: array `{array}`: expected elements of type {expected}, got {got}", file.display())]
    ElementType {
        /// The file or folder.
        file: PathBuf,
        /// The array's name.
        array: String,
        /// The input's type, or the types that labels may have.
        expected: String,
        /// The actual type.
        got: DType,
    },
    /// An array's shape does not fit the input's.
    #[error("{}: array `{array}`: expected shape {expected}, got {got}", file.display())]
    Shape {
        /// The file or folder.
        file: PathBuf,
        /// The array's name.
        array: String,
        /// The shapes that would fit; `N` is the number of samples.
        expected: String,
        /// The actual shape.
        got: String,
    },
    /// There are no samples.
    #[error("{}: expected at least one sample, got none", file.display())]
    Empty {
        /// The file or folder.
        file: PathBuf,
    },
    /// Arrays hold different numbers of samples, or labels.
    #[error("{}: array `{array}`: expected {expected} samples as in `{first}`, got {got}", file.display())]
    SampleCount {
        /// The file or folder.
        file: PathBuf,
        /// The array that differs.
        array: String,
        /// The array that sets the number.
        first: String,
        /// The number of samples in `first`.
        expected: usize,
        /// The number of samples in `array`.
        got: usize,
    },
    /// A number in the data is NaN or infinite.
    #[error("{}: array `{array}`, sample {sample}: expected finite numbers, got {got}", file.display())]
    NotFinite {
        /// The file or folder.
        file: PathBuf,
        /// The array's name.
        array: String,
        /// The sample's index, from 0.
        sample: usize,
        /// The number.
        got: f64,
    },
    /// An image cannot be decoded.
    #[error("cannot decode {}", file.display())]
    Image {
        /// The image.
        file: PathBuf,
        /// The decoder's error.
        source: image::ImageError,
    },
    /// An image's size does not fit the preprocessing.
    #[error("cannot preprocess {}", file.display())]
    ImageSize {
        /// The image.
        file: PathBuf,
        /// The problem with its size.
        source: ImageSizeError,
    },
    /// `labels.csv` is not a table of comma-separated values.
    #[error("cannot read {}", file.display())]
    Csv {
        /// The table.
        file: PathBuf,
        /// The reader's error, with the line.
        source: csv::Error,
    },
    /// `labels.csv` lacks a column.
    #[error("{}: expected a column `{expected}`, got {got}", file.display())]
    MissingColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        expected: &'static str,
        /// The names of the columns.
        got: String,
    },
    /// A cell of `labels.csv` has an invalid value.
    #[error("{}, line {line}: expected {expected}, got `{got}`", file.display())]
    Cell {
        /// The table.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the column must contain.
        expected: &'static str,
        /// The cell's contents.
        got: String,
    },
    /// Images must be preprocessed as in training, which only the user knows.
    #[error(
        "{}: images need --preprocess, for most ImageNet models --preprocess resize=256,crop=224,color=rgb,scale=1/255,\
         mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32",
        file.display()
    )]
    NoPreprocess {
        /// The folder.
        file: PathBuf,
    },
    /// Preprocessing is for images only.
    #[error("{}: --preprocess is for folders of images, got arrays", file.display())]
    UnusedPreprocess {
        /// The file or folder.
        file: PathBuf,
    },
    /// The argument of `--preprocess` is invalid.
    #[error("--preprocess")]
    Preprocess(#[from] PreprocessError),
    /// An `--input` is not of the form `NAME=FILE.npy`.
    #[error("--input: expected NAME=FILE.npy or FILE.npz, got `{got}`")]
    InputArgument {
        /// The argument.
        got: String,
    },
    /// An `--input` names an input that the model does not have.
    #[error("--input: expected one of {expected}, got `{got}`")]
    InputName {
        /// The names of the model's inputs.
        expected: String,
        /// The name given.
        got: String,
    },
    /// An input is given twice, or not at all.
    #[error("--input: expected `{name}` once, got it {count} times")]
    InputCount {
        /// The input's name.
        name: String,
        /// How often it is given.
        count: usize,
    },
}

/// Names for a message: quoted and separated by commas; `none` if empty.
pub(super) fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

//! What can be wrong with data, and with the words that name it.

use std::io;
use std::path::PathBuf;

use eightfold_ir::DType;

use super::preprocess::{ImageSizeError, PreprocessError};

/// Why data cannot be read, written, or used with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The file system refuses, or the archive is damaged.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// What the system, or the format's reader, says.
        source: io::Error,
    },
    /// Samples were named that the data does not have.
    #[error("there are {count} samples, {begin}..{end} are none of them")]
    NoSuchSamples {
        /// The first sample named.
        begin: usize,
        /// The one behind the last.
        end: usize,
        /// Samples that there are.
        count: usize,
    },
    /// The file system refuses. Whatever was there before is unchanged.
    #[error("cannot write {}", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The data is of none of the forms that are read.
    #[error(
        "{}: expected a .npz or .npy file, or a folder of images",
        file.display()
    )]
    Form {
        /// The file or folder.
        file: PathBuf,
    },
    /// An array is not what NumPy writes.
    #[error("{}: array `{array}`: expected {expected}, got {got}", file.display())]
    Npy {
        /// The .npy or .npz file.
        file: PathBuf,
        /// The array's name; for a .npy file that of the file.
        array: String,
        /// The part of the format that is violated.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// The data lacks an array for an input of the model.
    #[error("{}: expected an array for each input ({expected}), got {got}", file.display())]
    MissingArray {
        /// The file or folder.
        file: PathBuf,
        /// The names of the model's inputs.
        expected: String,
        /// The names of the arrays there are.
        got: String,
    },
    /// The data has one array and the model has another number of inputs.
    #[error("{}: expected a model with one input, got {got}", file.display())]
    OneInput {
        /// The file or folder.
        file: PathBuf,
        /// The names of the model's inputs.
        got: String,
    },
    /// An array's elements are not of the input's type. Nothing is converted silently.
    #[error("{}: array `{array}`: expected elements of type {expected}, got {got}", file.display())]
    ElementType {
        /// The file or folder.
        file: PathBuf,
        /// The array's name.
        array: String,
        /// The input's type, or what labels may be.
        expected: String,
        /// The type that is there.
        got: DType,
    },
    /// An array's extents do not fit the input's.
    #[error("{}: array `{array}`: expected shape {expected}, got {got}", file.display())]
    Shape {
        /// The file or folder.
        file: PathBuf,
        /// The array's name.
        array: String,
        /// The shapes that would fit, `N` for any number of samples.
        expected: String,
        /// The shape that is there.
        got: String,
    },
    /// There is not one sample.
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
        /// The sample's position, from 0.
        sample: usize,
        /// The number.
        got: f64,
    },
    /// An image cannot be decoded.
    #[error("cannot decode {}", file.display())]
    Image {
        /// The image.
        file: PathBuf,
        /// What the decoder says.
        source: image::ImageError,
    },
    /// An image's size does not suit the preprocessing.
    #[error("cannot preprocess {}", file.display())]
    ImageSize {
        /// The image.
        file: PathBuf,
        /// What is wrong with its size.
        source: ImageSizeError,
    },
    /// `labels.csv` is not a table of comma-separated values.
    #[error("cannot read {}", file.display())]
    Csv {
        /// The table.
        file: PathBuf,
        /// What the reader says, with the line.
        source: csv::Error,
    },
    /// `labels.csv` lacks a column.
    #[error("{}: expected a column `{expected}`, got {got}", file.display())]
    MissingColumn {
        /// The table.
        file: PathBuf,
        /// The column.
        expected: &'static str,
        /// The columns there are.
        got: String,
    },
    /// A cell of `labels.csv` is not what its column holds.
    #[error("{}, line {line}: expected {expected}, got `{got}`", file.display())]
    Cell {
        /// The table.
        file: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What the column holds.
        expected: &'static str,
        /// What the cell holds.
        got: String,
    },
    /// Images must be preprocessed in the way the model was trained with, which nobody but the user knows.
    #[error(
        "{}: images need --preprocess, for most ImageNet models --preprocess resize=256,crop=224,color=rgb,scale=1/255,\
         mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32",
        file.display()
    )]
    NoPreprocess {
        /// The folder.
        file: PathBuf,
    },
    /// Only images are preprocessed; arrays are taken as they are.
    #[error("{}: --preprocess is for folders of images, got arrays", file.display())]
    UnusedPreprocess {
        /// The file or folder.
        file: PathBuf,
    },
    /// The words after `--preprocess` do not say how.
    #[error("--preprocess")]
    Preprocess(#[from] PreprocessError),
    /// An `--input` is not of the form `NAME=FILE.npy`.
    #[error("--input: expected NAME=FILE.npy or FILE.npz, got `{got}`")]
    InputArgument {
        /// The argument.
        got: String,
    },
    /// An `--input` names none of the model's inputs.
    #[error("--input: expected a name out of {expected}, got `{got}`")]
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

/// Names for a message: quoted, with commas; `none` if there are none.
pub(super) fn list(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

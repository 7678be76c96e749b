//! Data for calibration and evaluation: samples that fit a model's inputs, and their labels.
//!
//! Supported forms: a .npz file (an array per input, and `labels`), a .npy file (for a model with one input), and a
//! folder of images with `labels.csv` or with a folder per class, together with a [`Preprocess`] recipe. Samples keep
//! the order of the data.
//!
//! Invariants: a sample's tensors have exactly the types and shapes of the inputs; nothing is converted implicitly.
//! Samples contain only finite numbers, because ranges and accuracies of others are meaningless; tensors for a single
//! run may contain any. Arrays are kept in memory unchanged; images are read one at a time.

mod error;
mod image_folder;
mod input_arguments;
mod noise;
mod npy;
mod npz;
mod preprocess;
mod sample_range;

use std::path::{Path, PathBuf};

use eightfold_ir::{DType, Data, Shape, Tensor};

use self::error::list;
use self::image_folder::ImageFolder;
use self::npy::Array;
use self::npz::{Npz, read_npy_array};
use crate::host::output_file::{WriteError, declare_input};

pub use self::error::DatasetError;
pub use self::input_arguments::{input_files, read_inputs};
pub use self::npz::{read_npy, read_npz, write_npy, write_npz};
pub use self::preprocess::{ImageSizeError, Preprocess, PreprocessError};
pub use self::sample_range::SampleRange;

/// The name of the array that holds the labels.
const LABELS: &str = "labels";

/// An input of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// The name.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The shape, including the batch axis.
    pub shape: Shape,
}

impl InputSpec {
    /// An input with this name, type and shape.
    pub fn new(name: impl Into<String>, dtype: DType, shape: &[usize]) -> Self {
        InputSpec { name: name.into(), dtype, shape: Shape::new(shape) }
    }

    /// Checks that a tensor read from `file` fits this input.
    fn check(&self, tensor: &Tensor, file: &Path) -> Result<(), DatasetError> {
        self.check_type(tensor.dtype(), file)?;
        if *tensor.shape() != self.shape {
            let (expected, got) = (self.shape.to_string(), tensor.shape().to_string());
            return Err(DatasetError::Shape { file: file.to_owned(), array: self.name.clone(), expected, got });
        }
        Ok(())
    }

    fn check_type(&self, got: DType, file: &Path) -> Result<(), DatasetError> {
        if got == self.dtype {
            return Ok(());
        }
        let expected = self.dtype.to_string();
        Err(DatasetError::ElementType { file: file.to_owned(), array: self.name.clone(), expected, got })
    }

    /// Checks that all elements are finite.
    fn check_finite(&self, bytes: &[u8], sample: usize, file: &Path) -> Result<(), DatasetError> {
        match first_not_finite(bytes, self.dtype) {
            None => Ok(()),
            Some(got) => Err(DatasetError::NotFinite { file: file.to_owned(), array: self.name.clone(), sample, got }),
        }
    }
}

fn first_not_finite(bytes: &[u8], dtype: DType) -> Option<f64> {
    fn first<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Option<f64> {
        let (elements, _) = bytes.as_chunks();
        elements.iter().map(|&element| number(element)).find(|number| !number.is_finite())
    }
    match dtype {
        DType::F32 => first(bytes, |b| f32::from_le_bytes(b).into()),
        DType::F64 => first(bytes, f64::from_le_bytes),
        DType::F16 => first(bytes, |b| half::f16::from_le_bytes(b).into()),
        DType::Bf16 => first(bytes, |b| half::bf16::from_le_bytes(b).into()),
        _ => None,
    }
}

/// Options for reading data.
#[derive(Debug, Clone, Default)]
pub struct DatasetOptions {
    /// How to preprocess images; required for images, and not allowed for arrays.
    pub preprocess: Option<Preprocess>,
    /// Added to each label: 1 for models whose class 0 is the background.
    pub label_offset: i64,
}

/// The data of one run of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// A tensor per input, in the order of the inputs.
    pub inputs: Vec<Tensor>,
    /// The class of each row that is data; empty if the data has no labels.
    pub labels: Vec<i64>,
    /// The number of rows that are data, from the first. If the last batch has too few rows, its last row is repeated.
    pub rows: usize,
}

/// Samples that fit the inputs of a model.
///
/// With an input of shape `[B, …]`, an array of shape `[N, …]` gives sample `i` as its rows `i * B` to `(i + 1) * B`, and
/// an array of shape `[N, B, …]` its row `i`. An image is a row.
///
/// # Examples
/// ```
/// use eightfold::dataset::{Dataset, DatasetOptions, InputSpec, write_npz};
/// use eightfold_ir::{DType, Tensor};
///
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("data.npz");
/// let x = Tensor::f32(&[3, 2], &[0.0, 0.1, 1.0, 1.1, 2.0, 2.1]);
/// write_npz(&file, [("x", &x), ("labels", &Tensor::int(DType::I64, &[3], &[7, 8, 9]))])?;
///
/// let data = Dataset::open(&file, &[InputSpec::new("x", DType::F32, &[1, 2])], &DatasetOptions::default())?;
/// assert_eq!((data.len(), data.labels()), (3, Some(&[7, 8, 9][..])));
/// assert_eq!(data.sample(1)?.inputs, [Tensor::f32(&[1, 2], &[1.0, 1.1])]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    inputs: Vec<InputSpec>,
    source: Source,
    labels: Option<Vec<i64>>,
    /// The number of rows: images, or rows of the first input's array.
    rows: usize,
    /// The number of rows per sample.
    batch: usize,
}

#[derive(Debug)]
enum Source {
    Arrays(Vec<Rows>),
    Images(ImageFolder),
}

/// An array that is split along its first axis.
#[derive(Debug)]
struct Rows {
    bytes: Vec<u8>,
    count: usize,
    /// The number of rows per sample.
    per_sample: usize,
}

impl Rows {
    fn samples(&self) -> usize {
        self.count.div_ceil(self.per_sample)
    }

    /// The bytes of a sample; the last row is repeated if there are too few rows.
    fn sample(&self, index: usize) -> Vec<u8> {
        let size = self.bytes.len() / self.count;
        let begin = index * self.per_sample;
        let end = (begin + self.per_sample).min(self.count);
        let mut bytes = self.bytes[begin * size..end * size].to_vec();
        for _ in end - begin..self.per_sample {
            bytes.extend_from_slice(&self.bytes[(self.count - 1) * size..]);
        }
        bytes
    }
}

impl Dataset {
    /// Opens data for a model with these inputs.
    ///
    /// # Errors
    /// If the data cannot be read, does not fit the inputs, or is empty. Errors in single images or samples are
    /// reported when the sample is read.
    pub fn open(path: &Path, inputs: &[InputSpec], options: &DatasetOptions) -> Result<Self, DatasetError> {
        let file = || path.to_owned();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() && ImageFolder::is_at(path) {
            let preprocess = options.preprocess.as_ref().ok_or_else(|| DatasetError::NoPreprocess { file: file() })?;
            return Self::images(path, inputs, preprocess, options.label_offset);
        }
        // A missing file is reported as missing, not as a file of unknown form.
        std::fs::metadata(path).map_err(|source| DatasetError::Read { file: file(), source })?;
        if path.is_dir() || !matches!(extension, Some("npz" | "npy")) {
            return Err(DatasetError::Form { file: file() });
        }
        if options.preprocess.is_some() {
            return Err(DatasetError::UnusedPreprocess { file: file() });
        }
        let data = if extension == Some("npy") {
            let input = only_input(path, inputs)?;
            Self::arrays(path, inputs, vec![cut(read_npy_array(path)?, input, path)?], None)?
        } else {
            Self::npz(path, inputs, options.label_offset)?
        };
        if data.is_empty() { Err(DatasetError::Empty { file: file() }) } else { Ok(data) }
    }

    /// Opens data that a command reads: no output of the command may overwrite these files.
    ///
    /// # Errors
    /// Those of [`Dataset::open`]; [`DatasetError::Write`] if an output is one of these files.
    pub fn open_input(path: &Path, inputs: &[InputSpec], options: &DatasetOptions) -> Result<Self, DatasetError> {
        let data = Self::open(path, inputs, options)?;
        let lost = |WriteError { path, source }| DatasetError::Write { file: path, source };
        data.files().try_for_each(declare_input).map_err(lost)?;
        Ok(data)
    }

    fn npz(path: &Path, inputs: &[InputSpec], label_offset: i64) -> Result<Self, DatasetError> {
        let mut npz = Npz::open(path)?;
        let mut arrays = Vec::new();
        for input in inputs {
            let array = npz.array(&input.name)?.ok_or_else(|| DatasetError::MissingArray {
                file: path.to_owned(),
                expected: list(inputs.iter().map(|input| &input.name)),
                got: list(npz.names()),
            })?;
            arrays.push(cut(array, input, path)?);
        }
        // If an input itself is called `labels`, there are no labels.
        let labels = if inputs.iter().any(|input| input.name == LABELS) { None } else { npz.array(LABELS)? };
        let labels = labels.map(|array| integers(array, label_offset, path)).transpose()?;
        Self::arrays(path, inputs, arrays, labels)
    }

    fn arrays(
        path: &Path,
        inputs: &[InputSpec],
        arrays: Vec<Rows>,
        labels: Option<Vec<i64>>,
    ) -> Result<Self, DatasetError> {
        let (Some(first), Some(first_input)) = (arrays.first(), inputs.first()) else {
            return Err(DatasetError::Empty { file: path.to_owned() });
        };
        let mismatch = |array: &str, expected, got| {
            let (array, first) = (array.to_owned(), first_input.name.clone());
            DatasetError::SampleCount { file: path.to_owned(), array, first, expected, got }
        };
        for (rows, input) in arrays.iter().zip(inputs) {
            if rows.samples() != first.samples() {
                return Err(mismatch(&input.name, first.samples(), rows.samples()));
            }
        }
        // In an array `[N, B, …]` a row is a whole batch, and each row of the batch has a label.
        let batch = first_input.shape.first().copied().unwrap_or(1).max(1);
        let rows = if first.per_sample == 1 { first.count * batch } else { first.count };
        if let Some(labels) = &labels
            && labels.len() != rows
        {
            return Err(mismatch(LABELS, rows, labels.len()));
        }
        let (path, inputs) = (path.to_owned(), inputs.to_vec());
        Ok(Dataset { path, inputs, source: Source::Arrays(arrays), labels, rows, batch })
    }

    fn images(
        path: &Path,
        inputs: &[InputSpec],
        preprocess: &Preprocess,
        label_offset: i64,
    ) -> Result<Self, DatasetError> {
        let input = only_input(path, inputs)?;
        input.check_type(preprocess.dtype(), path)?;
        let folder = ImageFolder::open(path, preprocess)?;
        if let Some(shape) = preprocess.shape() {
            check_row(&shape, input, path)?;
        }
        if folder.images.is_empty() {
            return Err(DatasetError::Empty { file: path.to_owned() });
        }
        let labels = folder
            .labels
            .as_ref()
            .map(|labels| labels.iter().map(|&label| label.saturating_add(label_offset)).collect());
        let (rows, batch) = (folder.images.len(), input.shape[0]);
        let source = Source::Images(folder);
        Ok(Dataset { path: path.to_owned(), inputs: inputs.to_vec(), source, labels, rows, batch })
    }

    /// The files that hold the data.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let (one, images) = match &self.source {
            Source::Arrays(_) => (self.path.as_path(), &[][..]),
            Source::Images(folder) => (folder.table.as_path(), &folder.images[..]),
        };
        std::iter::once(one).chain(images.iter().map(PathBuf::as_path))
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.rows.div_ceil(self.batch)
    }

    /// Whether there are no samples; always false, because opening empty data fails.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The inputs that the samples are for.
    pub fn inputs(&self) -> &[InputSpec] {
        &self.inputs
    }

    /// The label of each row of all samples, including the offset.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// Reads a range of samples, one at a time.
    ///
    /// # Errors
    /// [`DatasetError::NoSuchSamples`]; each sample can fail like [`Dataset::sample`].
    pub fn samples(
        &self,
        range: &SampleRange,
    ) -> Result<impl ExactSizeIterator<Item = Result<Sample, DatasetError>> + use<'_>, DatasetError> {
        Ok(range.of(self.len())?.map(|index| self.sample(index)))
    }

    /// Reads sample `index`, counted from 0; panics if it does not exist.
    ///
    /// # Errors
    /// If a number is not finite, or a file cannot be read or does not fit.
    pub fn sample(&self, index: usize) -> Result<Sample, DatasetError> {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        let inputs = match &self.source {
            Source::Arrays(arrays) => {
                let samples = arrays.iter().zip(&self.inputs);
                samples
                    .map(|(array, input)| self.tensor(input, array.sample(index), index))
                    .collect::<Result<_, _>>()?
            }
            Source::Images(folder) => vec![self.batch_of_images(folder, index)?],
        };
        let begin = index * self.batch;
        let end = (begin + self.batch).min(self.rows);
        let labels = self.labels.as_ref().map_or(Vec::new(), |labels| labels[begin..end].to_vec());
        Ok(Sample { inputs, labels, rows: end - begin })
    }

    /// All samples in order; each is read on demand.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<Sample, DatasetError>> + '_ {
        (0..self.len()).map(|index| self.sample(index))
    }

    fn batch_of_images(&self, folder: &ImageFolder, sample: usize) -> Result<Tensor, DatasetError> {
        let input = &self.inputs[0];
        let mut bytes = Vec::with_capacity(input.shape.elements() * input.dtype.byte_size());
        for row in sample * self.batch..(sample + 1) * self.batch {
            let image = row.min(self.rows - 1);
            let (row, shape) = folder.load(image)?;
            check_row(&shape, input, &folder.images[image])?;
            bytes.extend(row);
        }
        self.tensor(input, bytes, sample)
    }

    fn tensor(&self, input: &InputSpec, bytes: Vec<u8>, sample: usize) -> Result<Tensor, DatasetError> {
        input.check_finite(&bytes, sample, &self.path)?;
        Ok(Tensor::from_unpacked(input.dtype, input.shape.clone(), bytes).expect("a sample is as large as the input"))
    }
}

/// The only input, which unnamed data is for; an error if the model has several.
fn only_input<'a>(path: &Path, inputs: &'a [InputSpec]) -> Result<&'a InputSpec, DatasetError> {
    match inputs {
        [input] => Ok(input),
        _ => Err(DatasetError::OneInput { file: path.to_owned(), got: list(inputs.iter().map(|input| &input.name)) }),
    }
}

/// Checks that images of this shape fit the input.
fn check_row(shape: &[usize; 3], input: &InputSpec, file: &Path) -> Result<(), DatasetError> {
    if input.shape.get(1..) == Some(&shape[..]) && input.shape[0] > 0 {
        return Ok(());
    }
    let (file, array) = (file.to_owned(), input.name.clone());
    Err(DatasetError::Shape { file, array, expected: input.shape.to_string(), got: with_count("N", shape) })
}

/// Determines how an array is split into samples of an input.
fn cut(array: Array, input: &InputSpec, path: &Path) -> Result<Rows, DatasetError> {
    input.check_type(array.dtype, path)?;
    let shape: &[usize] = &input.shape;
    let per_sample = match (&array.shape[..], shape) {
        ([_, row @ ..], shape) if row == shape => Some(1),
        ([_, row @ ..], [batch, rest @ ..]) if row == rest && *batch > 0 => Some(*batch),
        _ => None,
    };
    let Some(per_sample) = per_sample else {
        let mut expected = with_count("N", shape);
        if let [_, row @ ..] = shape {
            expected = format!("{} or {expected}", with_count("N", row));
        }
        let (file, array, got) = (path.to_owned(), input.name.clone(), Shape::new(&array.shape).to_string());
        return Err(DatasetError::Shape { file, array, expected, got });
    };
    let count = array.shape[0];
    if count == 0 || array.bytes.is_empty() {
        return Err(DatasetError::Empty { file: path.to_owned() });
    }
    Ok(Rows { bytes: array.bytes, count, per_sample })
}

/// `Nx3x224x224`.
fn with_count(count: &str, shape: &[usize]) -> String {
    if shape.is_empty() { count.to_owned() } else { format!("{count}x{}", Shape::new(shape)) }
}

fn integers(array: Array, offset: i64, path: &Path) -> Result<Vec<i64>, DatasetError> {
    let got = array.dtype;
    match array.into_tensor().data() {
        Data::Int(labels) if got.is_integer() => {
            Ok(labels.into_iter().map(|label| label.saturating_add(offset)).collect())
        }
        _ => {
            let (file, expected) = (path.to_owned(), "an integer".to_owned());
            Err(DatasetError::ElementType { file, array: LABELS.to_owned(), expected, got })
        }
    }
}

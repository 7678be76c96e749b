//! Calibration: chooses the quantization range of each tensor from its values on sample data.
//!
//! An [`Observer`] reads the values of one tensor, sample by sample, and then returns a [`Range`]. [`OBSERVERS`] lists
//! all observers, one file each. A [`Calibrator`] holds one observer per tensor. Its result is a [`CalibrationTable`],
//! the text file that `calibrate` writes and `compile` reads.
//!
//! Invariants: memory per tensor does not grow with the number of samples. A range contains zero, so padding and the
//! zeros of a ReLU are exact. Equal values in equal order give equal ranges, bit for bit.
//!
//! Not here: running the network (the caller does it), and the scale and zero point (`QuantParams` computes them from a
//! range).

mod activations;
mod channel_means;
mod clip;
mod entropy;
mod histogram;
mod min_max;
mod moving_average;
mod mse;
mod percentile;
mod table;

use std::collections::BTreeMap;

use eightfold_ir::quant::Symmetry;

pub use activations::Activations;
pub use channel_means::ChannelMeans;
pub use entropy::Entropy;
pub use histogram::Histogram;
pub use min_max::MinMax;
pub use moving_average::MovingAverage;
pub use mse::Mse;
pub use percentile::Percentile;
pub use table::{CalibrationTable, TableError};

/// The range of real numbers that a quantized tensor represents: `min <= 0 <= max`, both finite.
///
/// Both are 0 for a tensor of zeros.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lower end, at most 0.
    pub min: f32,
    /// The upper end, at least 0.
    pub max: f32,
}

impl Range {
    /// Returns the smallest range of this symmetry that contains `min`, `max` and zero.
    fn covering(min: f32, max: f32, symmetry: Symmetry) -> Range {
        // `+ 0.0` turns a negative zero into a positive one, so that equal ranges print and compare as equal.
        let (min, max) = (min.min(0.0) + 0.0, max.max(0.0) + 0.0);
        match symmetry {
            Symmetry::Affine => Range { min, max },
            Symmetry::Symmetric => {
                let magnitude = max.max(-min);
                Range { min: 0.0 - magnitude, max: magnitude }
            }
        }
    }
}

/// Returns the number of steps between the lowest and the highest 8-bit code.
fn steps(symmetry: Symmetry) -> u32 {
    match symmetry {
        Symmetry::Affine => 255,
        Symmetry::Symmetric => 254,
    }
}

/// Observes the values of one tensor and chooses its range.
pub trait Observer: Send {
    /// Reads the tensor's values for one sample, or none of them if one is not finite.
    ///
    /// # Errors
    /// [`ObserveError::NotFinite`] with the first NaN or infinity: the model or its input data is wrong.
    fn observe(&mut self, sample: Activations<'_>) -> Result<(), ObserveError>;

    /// Returns the range for the values observed so far.
    ///
    /// # Errors
    /// [`ObserveError::Empty`] if no value was observed.
    fn range(&self, symmetry: Symmetry) -> Result<Range, ObserveError>;
}

/// Why an observer failed. The caller adds the name of the tensor.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// A value is NaN or infinite: the data is wrong, or the model overflows.
    #[error("value {index} is {value}, expected a finite number")]
    NotFinite {
        /// The index of the value in the observed slice.
        index: usize,
        /// The value.
        value: f32,
    },
    /// No value was observed: there are no samples, or the tensor is empty.
    #[error("no value was observed")]
    Empty,
}

/// The options of all observers. Each observer reads its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObserverOptions {
    /// For `moving-average`: the weight of the old average against a new sample, at least 0 and below 1.
    pub momentum: f32,
    /// For `percentile`: the percentage of values inside the range, above 0 and at most 100.
    pub percentile: f64,
}

impl Default for ObserverOptions {
    /// Momentum 0.9, as in MQBench and Sparsebit, and 99.999 %, as in ONNX Runtime.
    fn default() -> Self {
        ObserverOptions { momentum: 0.9, percentile: 99.999 }
    }
}

/// A row of [`OBSERVERS`].
#[derive(Debug, Clone, Copy)]
pub struct ObserverRow {
    /// The name on the command line and in calibration tables.
    pub name: &'static str,
    /// One line that says what the observer does.
    pub summary: &'static str,
    /// Creates the observer of one tensor.
    pub new: fn(&ObserverOptions) -> Box<dyn Observer>,
}

/// All observers.
pub const OBSERVERS: &[ObserverRow] = &[
    ObserverRow {
        name: "minmax",
        summary: "the smallest and the largest value seen",
        new: |_| Box::new(MinMax::default()),
    },
    ObserverRow {
        name: "moving-average",
        summary: "each sample's smallest and largest value, averaged exponentially over the samples",
        new: |options| Box::new(MovingAverage::new(options.momentum)),
    },
    ObserverRow {
        name: "percentile",
        summary: "the range without a given share of outliers, half of it at each end",
        new: |options| Box::new(Percentile::new(options.percentile)),
    },
    ObserverRow {
        name: "entropy",
        summary: "the range whose 8-bit histogram diverges least (Kullback-Leibler) from the original",
        new: |_| Box::new(Entropy::default()),
    },
    ObserverRow {
        name: "mse",
        summary: "the range with the least mean squared error of rounding and clipping, relative to the signal's power",
        new: |_| Box::new(Mse::default()),
    },
];

/// Returns the observer with this name.
///
/// # Errors
/// [`CalibrateError::UnknownObserver`], which lists all names.
pub fn observer(name: &str) -> Result<&'static ObserverRow, CalibrateError> {
    OBSERVERS.iter().find(|row| row.name == name).ok_or_else(|| CalibrateError::UnknownObserver {
        got: name.to_owned(),
        expected: OBSERVERS.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
    })
}

/// Why calibration failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// A usage error: no observer has this name.
    #[error("no calibrator is called `{got}`, expected one of {expected}")]
    UnknownObserver {
        /// The requested name.
        got: String,
        /// All names.
        expected: String,
    },
    /// A usage error: the value of an option is out of bounds.
    #[error("calibrator option {option} is {got}, expected {expected}")]
    Option {
        /// The field of [`ObserverOptions`].
        option: &'static str,
        /// The bounds.
        expected: &'static str,
        /// The value given.
        got: f64,
    },
    /// An observer could not choose a range.
    #[error("tensor `{tensor}`")]
    Observe {
        /// The tensor's name.
        tensor: String,
        /// What is wrong with its values.
        source: ObserveError,
    },
}

/// One observer for each tensor of a network.
///
/// # Examples
/// ```
/// use eightfold_passes::calibrate::{Calibrator, ObserverOptions, Range, observer};
/// use eightfold_ir::quant::Symmetry;
///
/// let mut calibrator = Calibrator::new(observer("minmax")?, ObserverOptions::default())?;
/// calibrator.observe("x", &[-0.5, 2.0])?;
/// calibrator.observe("x", &[1.0, 3.0])?;
/// assert_eq!(calibrator.ranges(Symmetry::Affine)?["x"], Range { min: -0.5, max: 3.0 });
/// # Ok::<(), eightfold_passes::calibrate::CalibrateError>(())
/// ```
pub struct Calibrator {
    row: &'static ObserverRow,
    options: ObserverOptions,
    tensors: BTreeMap<String, Box<dyn Observer>>,
}

impl Calibrator {
    /// Creates a calibrator that has observed nothing yet.
    ///
    /// # Errors
    /// [`CalibrateError::Option`] if an option is out of bounds.
    pub fn new(row: &'static ObserverRow, options: ObserverOptions) -> Result<Self, CalibrateError> {
        let ObserverOptions { momentum, percentile } = options;
        if !(0.0..1.0).contains(&momentum) {
            let expected = "at least 0 and below 1";
            return Err(CalibrateError::Option { option: "momentum", expected, got: momentum.into() });
        }
        if !(percentile > 0.0 && percentile <= 100.0) {
            let expected = "above 0 and at most 100";
            return Err(CalibrateError::Option { option: "percentile", expected, got: percentile });
        }
        Ok(Calibrator { row, options, tensors: BTreeMap::new() })
    }

    /// Returns the name of the observer.
    pub fn observer_name(&self) -> &'static str {
        self.row.name
    }

    /// Reads the values of `tensor` for one sample.
    ///
    /// # Errors
    /// [`CalibrateError::Observe`] if a value is not finite.
    pub fn observe<'a>(&mut self, tensor: &str, sample: impl Into<Activations<'a>>) -> Result<(), CalibrateError> {
        let observer = match self.tensors.get_mut(tensor) {
            Some(observer) => observer,
            None => self.tensors.entry(tensor.to_owned()).or_insert_with(|| (self.row.new)(&self.options)),
        };
        observer.observe(sample.into()).map_err(|source| CalibrateError::Observe { tensor: tensor.to_owned(), source })
    }

    /// Returns the range of each observed tensor, by name.
    ///
    /// # Errors
    /// [`CalibrateError::Observe`] if a tensor had no values.
    pub fn ranges(&self, symmetry: Symmetry) -> Result<BTreeMap<String, Range>, CalibrateError> {
        let range = |tensor: &String, observer: &dyn Observer| match observer.range(symmetry) {
            Ok(range) => Ok((tensor.clone(), range)),
            Err(source) => Err(CalibrateError::Observe { tensor: tensor.clone(), source }),
        };
        self.tensors.iter().map(|(tensor, observer)| range(tensor, observer.as_ref())).collect()
    }
}

/// Returns the smallest and the largest value; `None` if there are no values. A negative zero counts as zero.
///
/// Fails with the first value that is not finite.
fn extremes(values: &[f32]) -> Result<Option<(f32, f32)>, ObserveError> {
    // One pass without branches, which the compiler vectorizes: a calibration run reads billions of values.
    let (min, max, finite) =
        values.iter().fold((f32::INFINITY, f32::NEG_INFINITY, true), |(min, max, finite), &value| {
            (min.min(value), max.max(value), finite & value.is_finite())
        });
    if !finite && let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(ObserveError::NotFinite { index, value: values[index] });
    }
    Ok((!values.is_empty()).then_some((min + 0.0, max + 0.0)))
}

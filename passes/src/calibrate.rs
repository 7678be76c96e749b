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
mod std_dev;
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
pub use std_dev::StdDev;
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

/// A number that the user may set for an observer, as `--percentile 99.9` on the command line.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name of the command line's option.
    pub name: &'static str,
    /// What the number means, in a line.
    pub summary: &'static str,
    /// The numbers allowed, in words.
    pub expected: &'static str,
    /// Whether a number is allowed.
    pub accepts: fn(f64) -> bool,
    /// The number if the user sets none.
    pub default: f64,
}

/// One row of [`OBSERVERS`]. Each observer's file declares its own.
#[derive(Debug, Clone, Copy)]
pub struct ObserverRow {
    /// The name on the command line and in calibration tables.
    pub name: &'static str,
    /// One line that says what the observer does.
    pub summary: &'static str,
    /// The number that the user may set, if there is one.
    pub setting: Option<Setting>,
    /// Makes the observer of one tensor. The argument is the setting's number, or 0 if there is no setting.
    pub new: fn(f64) -> Box<dyn Observer>,
}

impl ObserverRow {
    /// An observer of one tensor with the default setting.
    #[must_use]
    pub fn with_default(&self) -> Box<dyn Observer> {
        (self.new)(self.setting.map_or(0.0, |setting| setting.default))
    }
}

/// All observers, in the order in which `eightfold list calibrators` shows them.
pub const OBSERVERS: &[ObserverRow] = &[
    min_max::MINMAX,
    moving_average::MOVING_AVERAGE,
    percentile::PERCENTILE,
    std_dev::STD_DEV,
    entropy::ENTROPY,
    mse::MSE,
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
    /// A setting is outside its interval: a usage error.
    #[error("calibrator option {setting} is {got}, expected {expected}")]
    Setting {
        /// The name of the [`Setting`].
        setting: &'static str,
        /// The numbers allowed.
        expected: &'static str,
        /// The number given.
        got: f64,
    },
    /// A number is given for an observer that has no setting: a usage error.
    #[error("calibrator {observer} has no option")]
    NoSetting {
        /// The name of the observer.
        observer: &'static str,
    },
    /// A tensor's values have no range.
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
/// use eightfold_passes::calibrate::{Calibrator, Range, observer};
/// use eightfold_ir::quant::Symmetry;
///
/// let mut calibrator = Calibrator::new(observer("minmax")?, None)?;
/// calibrator.observe("x", &[-0.5, 2.0])?;
/// calibrator.observe("x", &[1.0, 3.0])?;
/// assert_eq!(calibrator.ranges(Symmetry::Affine)?["x"], Range { min: -0.5, max: 3.0 });
/// # Ok::<(), eightfold_passes::calibrate::CalibrateError>(())
/// ```
pub struct Calibrator {
    row: &'static ObserverRow,
    setting: f64,
    tensors: BTreeMap<String, Box<dyn Observer>>,
}

impl Calibrator {
    /// A calibrator that has seen no tensor yet; its observers have the default setting if `setting` is `None`.
    ///
    /// # Errors
    /// [`CalibrateError::Setting`] if the number is outside its interval, [`CalibrateError::NoSetting`] if the observer
    /// has no setting.
    pub fn new(row: &'static ObserverRow, setting: Option<f64>) -> Result<Self, CalibrateError> {
        let setting = match (row.setting, setting) {
            (None, None) => 0.0,
            (None, Some(_)) => return Err(CalibrateError::NoSetting { observer: row.name }),
            (Some(own), None) => own.default,
            (Some(own), Some(got)) if (own.accepts)(got) => got,
            (Some(Setting { name, expected, .. }), Some(got)) => {
                return Err(CalibrateError::Setting { setting: name, expected, got });
            }
        };
        Ok(Calibrator { row, setting, tensors: BTreeMap::new() })
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
            None => self.tensors.entry(tensor.to_owned()).or_insert_with(|| (self.row.new)(self.setting)),
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

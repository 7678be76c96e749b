//! The source of a model's tensor ranges: the model, a calibration table, or calibration data.

use std::path::PathBuf;

use eightfold_passes::calibrate::CalibrationTable;

use super::table::read_table;
use super::{CalibrateOptions, calibrate};
use crate::dataset::{Dataset, DatasetOptions, SampleRange};
use crate::error::Error;
use crate::options::{OptimizeOptions, PrecisionRequest};
use crate::stages::load::Model;
use crate::stages::progress::Progress;

/// With fewer samples, ranges are unreliable.
const FEW_SAMPLES: usize = 8;

/// The source of tensor ranges.
#[derive(Clone, Debug, Default)]
pub enum Ranges {
    /// The model, if it is quantized.
    #[default]
    Model,
    /// A calibration table written by `eightfold calibrate`.
    Table(PathBuf),
    /// A calibration on data.
    Data(CalibrationData),
}

/// Calibration data and the calibrator.
#[derive(Clone, Debug)]
pub struct CalibrationData {
    /// A file or folder, as [`Dataset::open`] takes it.
    pub path: PathBuf,
    /// The samples to use.
    pub samples: SampleRange,
    /// How the data is read.
    pub reading: DatasetOptions,
    /// The calibrator's name, see [`CalibrateOptions::calibrator`].
    pub calibrator: String,
    /// The calibrator's number, see [`CalibrateOptions::setting`].
    pub setting: Option<f64>,
}

impl Ranges {
    /// Reads the calibration table, or computes it by running the model; `None` if the model needs no ranges. Notes
    /// options that have no effect with these ranges.
    ///
    /// # Errors
    /// If the precision does not use ranges, the table belongs to another model, or the data does not fit.
    pub fn calibrate(
        &self,
        model: &Model,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Option<CalibrationTable>, Error> {
        let table = match (self, options.precision.without_ranges()) {
            (Ranges::Model, _) => None,
            (_, Some(precision)) => return Err(Error::UnusedCalibration { precision }),
            (Ranges::Table(path), None) => Some(read_table(path, model, options, progress)?),
            (Ranges::Data(data), None) => Some(data.calibrate(model, options, progress)?),
        };
        note_needless_keep_float(model, table.is_some(), options, progress);
        Ok(table)
    }
}

impl CalibrationData {
    fn calibrate(
        &self,
        model: &Model,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<CalibrationTable, Error> {
        let data = Dataset::open_input(&self.path, &model.inputs(), &self.reading)?;
        let samples = data.samples(&self.samples)?;
        let (calibrator, setting, optimize) = (self.calibrator.clone(), self.setting, options.clone());
        warn_of_few(samples.len(), progress);
        calibrate(model, samples, &CalibrateOptions { calibrator, setting, optimize }, progress)
    }
}

/// Warns if there are few samples.
pub fn warn_of_few(samples: usize, progress: &mut dyn Progress) {
    if samples < FEW_SAMPLES {
        progress.note(&format!(
            "warning: calibration on {samples} samples: real values may lie far outside their ranges; 100 are usual"
        ));
    }
}

/// Notes that `--keep-float` has no effect, because all nodes are in float or the model decides itself.
fn note_needless_keep_float(model: &Model, has_table: bool, options: &OptimizeOptions, progress: &mut dyn Progress) {
    if options.keep_float.is_empty() {
        return;
    }
    let decides_itself = !has_table && model.is_quantized();
    let is_f32 = match options.precision {
        PrecisionRequest::Auto => !has_table && !model.is_quantized(),
        precision => precision == PrecisionRequest::F32,
    };
    let needless = match (is_f32, decides_itself) {
        (true, _) => "in f32 every node is in float",
        (false, true) => "the model itself determines what is quantized",
        (false, false) => return,
    };
    progress.note(&format!("--keep-float changes nothing: {needless}"));
}

//! The arguments that decide how a model becomes a graph that code is made of: those of `compile`, for every verb that
//! goes that way.

use std::path::Path;

use clap::{Args, ValueEnum};
use eightfold::dataset::Sample;
use eightfold::{CalibrateOptions, Error, Model, OptimizeOptions, Optimized, PrecisionRequest, Progress};
use eightfold_codegen::choice::Prefer;
use eightfold_passes::calibrate::CalibrationTable;

use super::{CalibrationArguments, ImportArguments, Precision, SchemeArguments, TargetArguments};

/// How a model is optimized.
#[derive(Args, Clone, Debug)]
pub(crate) struct OptimizeArguments {
    /// The precision to compute in.
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    precision: Precision,
    #[command(flatten)]
    calibration: CalibrationArguments,
    #[command(flatten)]
    scheme: SchemeArguments,
    /// Run each call on all its rows before the next, also where bands of rows would keep the numbers in the cache.
    #[arg(long)]
    no_bands: bool,
    /// What to be best in, where the code cannot be both: 3 x 3 convolutions in int8 for CPUs with AVX2 and without VNNI are
    /// quicker with weights of 3.6 times the bytes.
    #[arg(long, value_enum, default_value_t = PreferArgument::Speed)]
    prefer: PreferArgument,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    pub(crate) import: ImportArguments,
}

/// What the code is to be best in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PreferArgument {
    /// The time of an inference.
    Speed,
    /// The size of the artifact.
    Size,
}

impl From<PreferArgument> for Prefer {
    fn from(argument: PreferArgument) -> Self {
        match argument {
            PreferArgument::Speed => Prefer::Speed,
            PreferArgument::Size => Prefer::Size,
        }
    }
}

impl OptimizeArguments {
    /// The options asked for.
    pub(crate) fn options(&self, pass_limit: Option<usize>) -> Result<OptimizeOptions, Error> {
        let options = self.scheme.apply(self.target.options()?);
        Ok(OptimizeOptions {
            precision: self.precision.into(),
            bands: !self.no_bands,
            prefer: self.prefer.into(),
            pass_limit,
            ..options
        })
    }

    /// Imports a model, calibrates it where that is asked for, and optimizes it.
    pub(crate) fn optimize(
        &self,
        path: &Path,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Optimized, Error> {
        let Calibrated { model, options, table } = self.calibrated(path, options, progress)?;
        eightfold::optimize_owned(model, table, &options, progress)
    }

    /// The same for where only time counts: what int8 lacks of ranges is found on noise, aloud.
    pub(crate) fn optimize_for_time(
        &self,
        path: &Path,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Optimized, Error> {
        let Calibrated { model, options, mut table } = self.calibrated(path, options, progress)?;
        if options.precision == PrecisionRequest::Int8 && table.is_none() && !model.is_quantized() {
            progress.note("calibration: on noise, as only time is looked at");
            table = Some(noise_table(&model, &options, progress)?);
        }
        eightfold::optimize_owned(model, table, &options, progress)
    }

    /// The model, the options with its nodes in them, and the ranges that were asked for.
    fn calibrated(
        &self,
        path: &Path,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Calibrated, Error> {
        let model = self.import.load(path, progress)?;
        let options = self.scheme.keep_float(&model, options.clone())?;
        let table = self.calibration.table(&model, &options, progress)?;
        let is_f32 = match options.precision {
            PrecisionRequest::Auto => table.is_none() && !model.is_quantized(),
            precision => precision == PrecisionRequest::F32,
        };
        let needless = match (is_f32, table.is_none() && model.is_quantized()) {
            (true, _) => Some("in f32 every node is in float"),
            (false, true) => Some("the model itself says what is quantized"),
            (false, false) => None,
        };
        if let Some(reason) = needless.filter(|_| !options.keep_float.is_empty()) {
            progress.note(&format!("--keep-float changes nothing: {reason}"));
        }
        Ok(Calibrated { model, options, table })
    }
}

/// A model that is ready to be optimized.
struct Calibrated {
    model: Model,
    options: OptimizeOptions,
    table: Option<CalibrationTable>,
}

/// Ranges of one sample of noise.
fn noise_table(
    model: &Model,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<CalibrationTable, Error> {
    let samples = [Ok(Sample::noise(&model.inputs()))].into_iter();
    eightfold::calibrate(model, samples, &CalibrateOptions::new(options.clone()), progress)
}

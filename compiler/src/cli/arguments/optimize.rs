//! The arguments that decide how a model becomes a graph that code is made of: those of `compile`, for every verb that
//! goes that way.

use std::path::Path;

use clap::{Args, ValueEnum};
use eightfold::calibrate::CalibrateOptions;
use eightfold::dataset::Sample;
use eightfold::{Error, Model, OptimizeOptions, Optimized, PrecisionRequest, Progress};
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
    pub(crate) calibration: CalibrationArguments,
    #[command(flatten)]
    pub(crate) scheme: SchemeArguments,
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

    /// A model for which only time counts, imported, calibrated and optimized: what int8 lacks of ranges is found on noise,
    /// aloud.
    pub(crate) fn optimize_for_time(
        &self,
        path: &Path,
        options: &OptimizeOptions,
        progress: &mut dyn Progress,
    ) -> Result<Optimized, Error> {
        let ranges = self.calibration.ranges()?;
        let model = self.import.load(path, progress)?;
        let options = options.clone().keeping_float(&model.graph, &self.scheme.keep_float)?;
        let mut table = ranges.calibrate(&model, &options, progress)?;
        if options.precision == PrecisionRequest::Int8 && table.is_none() && !model.is_quantized() {
            progress.note("calibration: on noise, as only time is looked at");
            table = Some(noise_table(&model, &options, progress)?);
        }
        eightfold::optimize_owned(model, table, &options, progress)
    }
}

/// Ranges of one sample of noise.
fn noise_table(
    model: &Model,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<CalibrationTable, Error> {
    let samples = [Ok(Sample::noise(&model.inputs()))].into_iter();
    eightfold::calibrate::calibrate(model, samples, &CalibrateOptions::new(options.clone()), progress)
}

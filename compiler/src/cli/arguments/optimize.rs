//! The arguments that decide how a model is optimized: shared by `compile` and all verbs that compile a model.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use eightfold::calibrate::CalibrateOptions;
use eightfold::dataset::Sample;
use eightfold::measure::machine::MachinePeaks;
use eightfold::{Error, Model, OptimizeOptions, Optimized, PrecisionRequest, Progress, declare_input};
use eightfold_codegen::choice::Prefer;
use eightfold_passes::calibrate::CalibrationTable;

use super::{CalibrationArguments, ImportArguments, Precision, SchemeArguments, TargetArguments};

/// How a model is optimized.
#[derive(Args, Clone, Debug)]
pub(crate) struct OptimizeArguments {
    /// Precision of the computation.
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    precision: Precision,
    #[command(flatten)]
    pub(crate) calibration: CalibrationArguments,
    #[command(flatten)]
    pub(crate) scheme: SchemeArguments,
    /// Do not run chains of calls in bands of rows: run each call on all its rows before the next call.
    #[arg(long)]
    no_bands: bool,
    /// What to optimize if code cannot be both fast and small. Example: on CPUs with AVX2 and without VNNI, int8 3 x 3
    /// convolutions are faster with transformed weights of 3.6 times the size.
    #[arg(long, value_enum, default_value_t = PreferArgument::Speed)]
    prefer: PreferArgument,
    /// A file of eightfold bench --machine -o, from this or another machine. The cost model and rooflines use its rates
    /// instead of those of a typical CPU of the target. The model's outputs stay the same.
    #[arg(long, value_name = "FILE")]
    peaks: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    pub(crate) import: ImportArguments,
}

/// What to optimize.
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
    /// The options that the arguments select.
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

    /// The peaks for the cost models, if they are given.
    pub(crate) fn peaks(&self) -> Result<Option<MachinePeaks>, Error> {
        let read = |path: &PathBuf| {
            declare_input(path)?;
            MachinePeaks::read(path)
        };
        self.peaks.as_ref().map(read).transpose()
    }

    /// Imports, calibrates and optimizes a model to measure only its time. If int8 lacks ranges, calibrates on noise
    /// and says so. The cost models use `peaks`.
    pub(crate) fn optimize_for_time(
        &self,
        path: &Path,
        options: &OptimizeOptions,
        peaks: Option<&MachinePeaks>,
        progress: &mut dyn Progress,
    ) -> Result<Optimized, Error> {
        let ranges = self.calibration.ranges()?;
        let model = self.import.load(path, progress)?;
        let options = options.clone().keeping_float(&model.graph, &self.scheme.keep_float)?;
        let mut table = ranges.calibrate(&model, &options, progress)?;
        if options.precision == PrecisionRequest::Int8 && table.is_none() && !model.is_quantized() {
            progress.note("calibration: on noise, as only the time is measured");
            table = Some(noise_table(&model, &options, progress)?);
        }
        let mut optimized = eightfold::optimize_owned(model, table, &options, progress)?;
        peaks.map(|peaks| peaks.choose(&mut optimized)).transpose()?;
        Ok(optimized)
    }
}

/// Calibrates on one sample of noise.
fn noise_table(
    model: &Model,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<CalibrationTable, Error> {
    let samples = [Ok(Sample::noise(&model.inputs()))].into_iter();
    eightfold::calibrate::calibrate(model, samples, &CalibrateOptions::new(options.clone()), progress)
}

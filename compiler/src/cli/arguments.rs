//! Groups of arguments that several verbs take.

mod calibrator;
mod import;
mod optimize;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use eightfold::calibrate::{CalibrationData, Ranges};
use eightfold::dataset::{Dataset, DatasetError, DatasetOptions, InputSpec, Preprocess, Sample, SampleRange};
use eightfold::options::target::target;
use eightfold::{Error, Executable, Model, OptimizeOptions, PrecisionRequest, Progress, ReduceRange};
use eightfold_codegen::interface::Variant;
use eightfold_ir::{DType, Symmetry};
use eightfold_passes::WeightScales;

pub(crate) use self::calibrator::CalibratorArguments;
pub(crate) use self::import::{ImportArguments, compiled_already};
pub(crate) use self::optimize::OptimizeArguments;

/// Selects the reference evaluator, and the graph that it runs.
#[derive(Args, Clone, Debug)]
pub(crate) struct ReferenceArguments {
    /// Run a graph with the reference evaluator, which is slow, instead of compiled code. `compiled` (the default) runs
    /// the graph that the code is generated from: compiled code equals it bit for bit in integers and closely in
    /// floats. `model` runs the graph as imported, where each operator of a quantized model dequantizes, computes in
    /// float and quantizes: compiled code may differ from it by one integer step per rounding.
    #[arg(long, value_enum, value_name = "GRAPH", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "compiled")]
    reference: Option<Reference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reference {
    Compiled,
    Model,
}

impl ReferenceArguments {
    /// Whether `--reference` was given.
    fn given(&self) -> bool {
        self.reference.is_some()
    }

    /// The evaluator on the selected graph; `None` without `--reference`.
    pub(crate) fn executable(&self, model: &Model, progress: &mut dyn Progress) -> Option<Result<Executable, Error>> {
        Some(match self.reference? {
            Reference::Compiled => Executable::compiled_reference(model, progress),
            Reference::Model => Ok(Executable::reference(model)),
        })
    }
}

/// Whether a file is ELF, or has the extension of a compiled model.
pub(crate) fn is_artifact(path: &Path) -> Result<bool, Error> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let mut magic = [0; 4];
    let mut file = fs::File::open(path).map_err(read)?;
    let is_elf = match file.read_exact(&mut magic) {
        Ok(()) => magic == *b"\x7fELF",
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(read(error)),
    };
    Ok(is_elf || path.extension().is_some_and(|extension| extension == "so" || extension == "o"))
}

/// How samples are read.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ReadArguments {
    /// Preprocess images as the model expects:
    /// resize=256,crop=224,color=rgb|bgr,scale=1/255,mean=R:G:B,std=R:G:B,layout=nchw|nhwc,dtype=f32|u8
    #[arg(long, value_name = "RECIPE")]
    preprocess: Option<Preprocess>,
    /// Add this number to each label: 1 for models whose class 0 is the background.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    label_offset: i64,
}

impl ReadArguments {
    fn options(&self) -> DatasetOptions {
        DatasetOptions { preprocess: self.preprocess.clone(), label_offset: self.label_offset }
    }
}

/// Data to run a model on.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataArguments {
    /// The samples: a .npz file with an array per input (and labels), a folder of images with a labels.csv, or a folder
    /// with one folder of images per class.
    #[arg(long, value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Use only these samples: 0..128 is the first 128.
    #[arg(long, value_name = "BEGIN..END")]
    samples: Option<SampleRange>,
    #[command(flatten)]
    read: ReadArguments,
}

impl DataArguments {
    /// Opens the samples.
    pub(crate) fn open(&self, inputs: &[InputSpec]) -> Result<Dataset, Error> {
        Ok(Dataset::open_input(&self.data, inputs, &self.read.options())?)
    }

    /// The index, in the data, of the first row of the selected samples.
    pub(crate) fn first_row(&self, batch: usize) -> u64 {
        (self.samples.as_ref().map_or(0, |samples| samples.begin) * batch) as u64
    }

    /// The selected samples.
    pub(crate) fn samples<'a>(&self, data: &'a Dataset) -> Result<impl Samples + use<'a>, Error> {
        Ok(data.samples(self.samples.as_ref().unwrap_or(&SampleRange::default()))?)
    }
}

/// An iterator over samples.
pub(crate) trait Samples: ExactSizeIterator<Item = Result<Sample, DatasetError>> {}

impl<T: ExactSizeIterator<Item = Result<Sample, DatasetError>>> Samples for T {}

/// The quantization scheme.
#[derive(Args, Clone, Debug)]
pub(crate) struct SchemeArguments {
    /// Granularity of weight scales.
    #[arg(long, value_enum, default_value_t = Weights::PerChannel)]
    weights: Weights,
    /// Integer type and symmetry of activations.
    #[arg(long, value_enum, default_value_t = Activations::AffineU8)]
    activations: Activations,
    /// Keep a node in float, given by its name, by the name of one of its outputs, or by a pattern such as '/head/*'.
    /// Nodes fused with it stay in float, too. May be repeated.
    #[arg(long, value_name = "NODE|PATTERN")]
    pub(crate) keep_float: Vec<String>,
    /// Do not correct biases for the mean error that rounding the weights causes.
    #[arg(long)]
    no_bias_correction: bool,
    /// Limit weights so that the sum of four 8-bit products fits 16 bits: about 25% faster on CPUs without VNNI,
    /// slightly less accurate. `auto` does so for targets without VNNI; `quantize`, which has no target, keeps the full
    /// range under `auto`.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Reduce::Auto)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    reduce_range: Reduce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reduce {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Weights {
    PerChannel,
    PerTensor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Activations {
    AffineU8,
    AffineI8,
    SymmetricU8,
    SymmetricI8,
}

impl SchemeArguments {
    /// Sets the scheme in `options`.
    pub(crate) fn apply(&self, options: OptimizeOptions) -> OptimizeOptions {
        let weight_scales = match self.weights {
            Weights::PerChannel => WeightScales::PerChannel,
            Weights::PerTensor => WeightScales::PerTensor,
        };
        let (activation_symmetry, activation_storage) = match self.activations {
            Activations::AffineU8 => (Symmetry::Affine, DType::U8),
            Activations::AffineI8 => (Symmetry::Affine, DType::I8),
            Activations::SymmetricU8 => (Symmetry::Symmetric, DType::U8),
            Activations::SymmetricI8 => (Symmetry::Symmetric, DType::I8),
        };
        let bias_correction = !self.no_bias_correction;
        let reduce_range = match self.reduce_range {
            Reduce::Auto => ReduceRange::Auto,
            Reduce::Always => ReduceRange::Always,
            Reduce::Never => ReduceRange::Never,
        };
        OptimizeOptions {
            weight_scales,
            activation_storage,
            activation_symmetry,
            bias_correction,
            reduce_range,
            ..options
        }
    }
}

/// Source of the ranges of tensors.
#[derive(Args, Clone, Debug)]
pub(crate) struct CalibrationArguments {
    /// Calibrate on these samples: a .npz file, or a folder of images with --preprocess.
    #[arg(long, value_name = "DATA", conflicts_with = "calibration_table")]
    pub(crate) calibration_data: Option<PathBuf>,
    /// Use only these samples of the calibration data: 0..128 is the first 128.
    #[arg(long, value_name = "BEGIN..END", requires = "calibration_data")]
    calibration_samples: Option<SampleRange>,
    #[command(flatten)]
    read: ReadArguments,
    #[command(flatten)]
    calibrator: CalibratorArguments,
    /// Use the ranges that `eightfold calibrate` wrote.
    #[arg(long, value_name = "FILE")]
    calibration_table: Option<PathBuf>,
}

impl CalibrationArguments {
    /// The source of ranges that the arguments select.
    pub(crate) fn ranges(&self) -> Result<Ranges, Error> {
        let idle = self.calibrator.given().or(self.read.preprocess.is_some().then(|| "--preprocess".to_owned()));
        if let (Some(option), None) = (idle, &self.calibration_data) {
            let instead = if self.calibration_table.is_some() { ", the table has its ranges already" } else { "" };
            return Err(Error::Usage(format!("{option} is for --calibration-data{instead}")));
        }
        if let Some(path) = &self.calibration_table {
            return Ok(Ranges::Table(path.clone()));
        }
        let Some(path) = self.calibration_data.clone() else { return Ok(Ranges::Model) };
        let (calibrator, setting) = self.calibrator.chosen()?;
        let (samples, reading) = (self.calibration_samples.clone().unwrap_or_default(), self.read.options());
        Ok(Ranges::Data(CalibrationData { path, samples, reading, calibrator, setting }))
    }
}

/// The target of code generation.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArguments {
    /// The target: native, or a name from `eightfold list targets`.
    #[arg(long, value_name = "NAME", default_value = "native")]
    target: String,
}

impl TargetArguments {
    /// The default options for the target. Prints the target if the machine chose it.
    pub(crate) fn options(&self) -> Result<OptimizeOptions, Error> {
        let target = target(&self.target)?;
        if self.target == "native" {
            anstream::eprintln!("target: {} (native: {})", target.name, target.summary);
        }
        Ok(OptimizeOptions::new(target))
    }
}

/// The number of threads of one inference.
#[derive(Args, Clone, Debug)]
pub(crate) struct ThreadArguments {
    /// Number of threads per inference, 1 by default. The work of each thread is fixed at compile time. The number of
    /// threads does not change a result.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
}

impl ThreadArguments {
    /// Whether `--threads` was given.
    pub(crate) fn given(&self) -> bool {
        self.threads.is_some()
    }

    /// Warns if the machine has fewer CPUs than threads.
    pub(crate) fn check(&self, progress: &mut dyn Progress) {
        let cpus = std::thread::available_parallelism().map_or(usize::MAX, std::num::NonZero::get);
        if self.count() > cpus {
            progress.note(&format!(
                "warning: {} threads: this machine has {cpus} cpus, fewer threads are faster here",
                self.count()
            ));
        }
    }

    /// The number of threads, 1 by default.
    pub(crate) fn count(&self) -> usize {
        self.threads.unwrap_or(1).into()
    }
}

/// `1 thread`, `2 threads`, and a remark if only the first has work.
pub(crate) fn threads_text(variant: &Variant) -> String {
    match (variant.threads, variant.workers) {
        (1, _) => "1 thread".to_owned(),
        (threads, 0) => format!("{threads} threads (no call is worth sharing: the first does all)"),
        (threads, _) => format!("{threads} threads"),
    }
}

/// A requested precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// int8 with calibration or for a quantized model; otherwise f32.
    Auto,
    /// 32-bit floats.
    F32,
    /// Convolutions and matrix products round weights and inputs to bf16 and accumulate in f32; fast on targets with
    /// AVX512_BF16.
    Bf16,
    /// 8-bit integers.
    Int8,
    /// f32, with the weights of convolutions and matrix products stored as 8-bit integers: a quarter of the size, and
    /// faster where weights come from memory, as in decoders of one token.
    WeightInt8,
}

impl From<Precision> for PrecisionRequest {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => PrecisionRequest::Auto,
            Precision::F32 => PrecisionRequest::F32,
            Precision::Bf16 => PrecisionRequest::Bf16,
            Precision::Int8 => PrecisionRequest::Int8,
            Precision::WeightInt8 => PrecisionRequest::WeightInt8,
        }
    }
}

/// A percentage such as `95%`, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Percentage(pub(crate) f64);

impl FromStr for Percentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
        let number = number.filter(|number| (0.0..=100.0).contains(number));
        number.map(|number| Percentage(number / 100.0)).ok_or_else(|| "expected a percentage, such as 95%".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_parse_or_say_what_is_expected() {
        assert_eq!("95%".parse::<Percentage>().unwrap(), Percentage(0.95));
        assert!("0.95".parse::<Percentage>().unwrap_err().contains("95%"));
        assert!("101%".parse::<Percentage>().is_err());
    }
}

//! Hints: what the user can do about an error, if the message does not say so.

use eightfold_codegen::object::ObjectError;
use eightfold_passes::PassError;
use eightfold_passes::calibrate::CalibrateError;

use super::Error;
use crate::artifact::ArtifactError;
use crate::onnx::OnnxError;

impl Error {
    /// What the user can do about the error, if the message does not say so.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::TooLarge(_) | Error::Import { source: OnnxError::Memory(_), .. } => {
                "--max-memory SIZE sets another limit, --dim NAME=N smaller extents".to_owned()
            }
            Error::Recipe { .. } => "eightfold opt --help lists the valid lines".to_owned(),
            Error::OtherGraph { path, .. } => format!("if the new graph is right, write it with -o {}", path.display()),
            Error::NoOracle => {
                "build it with tract: cargo build --release --package eightfold-compiler --features oracle".to_owned()
            }
            Error::NoRanges => "give --calibration-data DATA, or compile with --precision f32".to_owned(),
            Error::UnusedCalibration { .. } => "leave --precision out, or the calibration".to_owned(),
            Error::Object(ObjectError::LinkerNotFound { variable, package, .. }) => {
                let package = package.map_or(String::new(), |name| format!(" (Debian: {name})"));
                format!(
                    "install a C compiler{package}, name one in the environment variable {variable}, or use \
                     --emit=object,header"
                )
            }
            Error::Object(ObjectError::OtherMachine { .. }) => {
                "use --emit=object,header and link on the target machine".to_owned()
            }
            Error::Object(ObjectError::NoRuntime { triple, .. }) => format!(
                "use --emit=object,header, or run `rustup target add {triple}` and build eightfold again"
            ),
            Error::Artifact(ArtifactError::NotElf { .. }) => {
                "expected a library that eightfold compile has written".to_owned()
            }
            Error::Artifact(ArtifactError::NoSupportedVariant { .. }) => {
                "compile the model with --target native on this machine".to_owned()
            }
            Error::Artifact(ArtifactError::AbiVersion { .. }) => "compile the model again".to_owned(),
            Error::Import { source: OnnxError::NotOnnx { .. }, .. } => {
                "a model is an .onnx file, or a graph in text form whose name ends in .ir".to_owned()
            }
            Error::ForeignTable { .. } | Error::TableMeans { .. } => {
                "make a table for this model with eightfold calibrate, or correct the lines".to_owned()
            }
            Error::ConstantData { .. } => "give real samples of the model's inputs".to_owned(),
            Error::Label { .. } => {
                "--label-offset N is added to each label, --output names another output of the model".to_owned()
            }
            Error::NoCalls { .. } => "give the source model instead, with the flags of eightfold compile".to_owned(),
            Error::CannotRun { .. } => {
                "use --target native; eightfold compile writes libraries for other machines".to_owned()
            }
            Error::TargetNotHere { .. } | Error::Peaks { .. } | Error::ImpossiblePeaks { .. } => {
                "eightfold bench --machine -o FILE saves the peaks of a machine; compile, bench and inspect read them with \
                 --peaks FILE"
                    .to_owned()
            }
            Error::TuneElsewhere { .. } => {
                "tune on a machine that supports the target, then compile with --tuning-file here".to_owned()
            }
            Error::TuneThreads { .. } => {
                "tune fewer threads, or on a machine with more cpus, then compile with --tuning-file here".to_owned()
            }
            Error::TuningCpu { .. } => "use it without --tune, or name another file with --tuning-file".to_owned(),
            Error::TuningTarget { .. } => "give --target, or another --tuning-file".to_owned(),
            Error::PeaksTarget { .. } => "give --target, or peaks that were measured with it".to_owned(),
            Error::Verify { ours: true, .. } => "this is a bug in eightfold: please report it".to_owned(),
            Error::Lower(_) => "eightfold list ops shows what is supported".to_owned(),
            Error::Import { source: OnnxError::Unsupported(_), .. } => {
                "eightfold list ops shows what is supported".to_owned()
            }
            Error::Pass(PassError::UnknownPass { .. }) => "eightfold list passes describes them".to_owned(),
            Error::UnknownTarget { .. } => "eightfold list targets describes them".to_owned(),
            Error::Calibrate(CalibrateError::UnknownObserver { .. }) => {
                "eightfold list calibrators describes them".to_owned()
            }
            Error::Calibrate(CalibrateError::Observe { .. }) => {
                "the model overflows on this data: is it preprocessed as the model expects?".to_owned()
            }
            _ => return None,
        })
    }
}

//! Whose fault an error is; decides the exit code of the command line.

use eightfold_codegen::llvm::artifact::CompileError;
use eightfold_ir::EvalError;
use eightfold_passes::PassError;
use eightfold_passes::calibrate::CalibrateError;
use eightfold_runtime::status::Status;

use super::Error;
use crate::artifact::{ArtifactError, RunError};
use crate::dataset::DatasetError;
use crate::onnx::ErrorKind;

/// Whose fault an error is; decides the exit code of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A requirement of the user is not met; nothing is broken.
    Requirement,
    /// The command line's or the machine's: contradictory flags, a missing file, no linker.
    Usage,
    /// Ours: the model or artifact is valid, but needs something that is not supported.
    Unsupported,
    /// The model's or the data's: it violates its format.
    Broken,
}

impl Fault {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Requirement => "requirement",
            Fault::Usage => "usage",
            Fault::Unsupported => "unsupported",
            Fault::Broken => "broken",
        }
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Fault::Requirement => 1,
            Fault::Usage => 2,
            Fault::Unsupported => 3,
            Fault::Broken => 4,
        }
    }
}

impl Error {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Error::Int8Share { .. } | Error::OtherGraph { .. } => Fault::Requirement,
            Error::TooLarge(_) => Fault::Unsupported,
            Error::Import { source, .. } => match source.kind() {
                ErrorKind::Usage => Fault::Usage,
                ErrorKind::Unsupported => Fault::Unsupported,
                ErrorKind::Broken => Fault::Broken,
            },
            Error::Verify { ours: true, .. } | Error::Lower(_) | Error::Export(_) | Error::NoNativeTarget { .. } => {
                Fault::Unsupported
            }
            Error::Compile(CompileError::Interface(_)) => Fault::Usage,
            Error::Compile(_) | Error::Oracle { .. } => Fault::Unsupported,
            Error::Pass(PassError::UnknownPass { .. } | PassError::Storage { .. } | PassError::WeightType { .. }) => {
                Fault::Usage
            }
            Error::Pass(_) => Fault::Unsupported,
            Error::Calibrate(CalibrateError::Observe { .. }) => Fault::Broken,
            Error::Artifact(error) => artifact_fault(error),
            Error::Dataset(error) => dataset_fault(error),
            Error::Parse { .. } | Error::Verify { .. } | Error::Table { .. } | Error::Tuning { .. } => Fault::Broken,
            Error::NoLabels { .. }
            | Error::Recipe { .. }
            | Error::Program { .. }
            | Error::Label { .. }
            | Error::ConstantData { .. } => Fault::Broken,
            Error::ForeignTable { .. } | Error::TableMeans { .. } => Fault::Broken,
            Error::Peaks { .. } | Error::ImpossiblePeaks { .. } => Fault::Broken,
            Error::Eval(EvalError::Index { .. }) | Error::Run(RunError::Status(Status::INDEX_OUT_OF_RANGE)) => {
                Fault::Broken
            }
            Error::Run(RunError::Status(_)) => Fault::Unsupported,
            _ => Fault::Usage,
        }
    }
}

fn artifact_fault(error: &ArtifactError) -> Fault {
    match error {
        ArtifactError::NotElf { .. }
        | ArtifactError::Truncated { .. }
        | ArtifactError::NotOurs { .. }
        | ArtifactError::NotLinked { .. }
        | ArtifactError::Damaged { .. }
        | ArtifactError::Load { .. } => Fault::Broken,
        ArtifactError::Machine { .. }
        | ArtifactError::AbiVersion { .. }
        | ArtifactError::NoSupportedVariant { .. }
        | ArtifactError::Session { .. } => Fault::Unsupported,
        _ => Fault::Usage,
    }
}

fn dataset_fault(error: &DatasetError) -> Fault {
    match error {
        DatasetError::Read { source, .. }
            if matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) =>
        {
            Fault::Usage
        }
        DatasetError::Write { .. }
        | DatasetError::NoSuchSamples { .. }
        | DatasetError::Form { .. }
        | DatasetError::NoPreprocess { .. }
        | DatasetError::UnusedPreprocess { .. }
        | DatasetError::Preprocess(_)
        | DatasetError::InputArgument { .. }
        | DatasetError::InputName { .. }
        | DatasetError::InputCount { .. } => Fault::Usage,
        _ => Fault::Broken,
    }
}

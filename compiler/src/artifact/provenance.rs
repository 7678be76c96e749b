//! Provenance: the inputs and options of a compilation, as one line of JSON in every artifact.
//!
//! Invariant: it depends only on the compiler's version, the model's bytes, the options, the ranges, the peaks and the tuning; it
//! has no time, path or host name. Together with the model file it is sufficient to compile the artifact again.

use std::collections::BTreeMap;

use eightfold_passes::calibrate::CalibrationTable;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::report::coverage::Coverage;
use crate::report::numbers::hex;

/// The provenance of an artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of the compiler.
    pub eightfold: String,
    /// The target of the code.
    pub target: String,
    /// SHA-256 of the model's bytes, in hexadecimal.
    pub model_sha256: String,
    /// Version of the ONNX operator set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub opset: Option<i64>,
    /// The options that influence the code, by name.
    pub options: BTreeMap<String, String>,
    /// The source of the ranges; `None` if the model has its own, or is not quantized.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calibration: Option<CalibrationRecord>,
    /// The peaks that the cost models went by; `None` if those of the target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peaks: Option<PeaksRecord>,
    /// The tuning measurements; `None` if there are none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tuning: Option<TuningRecord>,
    /// The share of integer arithmetic.
    pub coverage: Coverage,
    /// Bytes of weights and other constants.
    pub weight_bytes: u64,
    /// Lower bound of the arena's size: the most bytes alive at once.
    pub arena_bound_bytes: u64,
}

/// The ranges that tensors were quantized with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationRecord {
    /// The calibrator that computed them.
    pub calibrator: String,
    /// The number of samples.
    pub samples: u64,
    /// SHA-256 of the calibration table's text, in hexadecimal.
    pub sha256: String,
    /// The calibration table; left out in C headers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub table: String,
}

impl CalibrationRecord {
    /// The provenance of a table.
    #[must_use]
    pub fn of(table: &CalibrationTable) -> Self {
        let text = table.to_string();
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        CalibrationRecord { calibrator: table.calibrator.clone(), samples: table.samples, sha256, table: text }
    }
}

/// The peaks of a machine that the cost models went by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeaksRecord {
    /// Name of the measured CPU, for people.
    pub cpu: String,
    /// SHA-256 of the peaks as JSON, in hexadecimal.
    pub sha256: String,
    /// The peaks as JSON; left out in C headers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub file: String,
}

impl PeaksRecord {
    /// The provenance of the peaks of a CPU, which are `json`.
    #[must_use]
    pub fn of(cpu: &str, json: String) -> Self {
        PeaksRecord { cpu: cpu.to_owned(), sha256: hex(&Sha256::digest(json.as_bytes())), file: json }
    }
}

/// The measured choices that were used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuningRecord {
    /// Name of the measured CPU, for people.
    pub cpu: String,
    /// SHA-256 of the tuning file's text, in hexadecimal.
    pub sha256: String,
    /// The tuning file; left out in C headers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub file: String,
}

impl TuningRecord {
    /// The provenance of a tuning file.
    #[must_use]
    pub fn of(tuning: &eightfold_codegen::tuning::Tuning) -> Self {
        let file = tuning.to_string();
        TuningRecord { cpu: tuning.cpu.clone(), sha256: hex(&Sha256::digest(file.as_bytes())), file }
    }
}

impl Provenance {
    /// Parses provenance; `None` if another version or another program wrote the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// A copy without the calibration table, the peaks and the tuning file, for people.
    #[must_use]
    pub fn brief(mut self) -> Self {
        if let Some(peaks) = &mut self.peaks {
            peaks.file.clear();
        }
        if let Some(tuning) = &mut self.tuning {
            tuning.file.clear();
        }
        if let Some(calibration) = &mut self.calibration {
            calibration.table.clear();
        }
        self
    }
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).unwrap_or_else(|error| unreachable!("plain data: {error}")))
    }
}

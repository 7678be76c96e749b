//! What an artifact was made from, and what came of it: one line of JSON in every artifact.
//!
//! Invariant: it is a function of the compiler's version, the model's bytes, the options, the ranges and the tuning; no clock,
//! path or host name gets in. With the model's file it is enough to make the artifact again.

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
    /// The target that code is made for.
    pub target: String,
    /// SHA-256 of the model's bytes, in hexadecimal.
    pub model_sha256: String,
    /// Version of ONNX's operator set.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub opset: Option<i64>,
    /// Whatever options decide about the code, by name.
    pub options: BTreeMap<String, String>,
    /// Where the ranges come from; absent if the model brings its own, or is not quantized.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calibration: Option<Calibration>,
    /// What was measured of kernels; absent if nothing was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tuning: Option<Tuning>,
    /// What is computed in integers.
    pub coverage: Coverage,
    /// Bytes of weights and other constants.
    pub weight_bytes: u64,
    /// Bytes of the arena that no plan goes below: of all that is alive at once, at most.
    pub arena_bound_bytes: u64,
}

/// The ranges that the tensors were quantized with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// The calibrator that chose them.
    pub calibrator: String,
    /// The number of samples it saw.
    pub samples: u64,
    /// SHA-256 of the calibration table's text, in hexadecimal.
    pub sha256: String,
    /// The calibration table; left out in C headers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub table: String,
}

impl Calibration {
    /// The provenance of a table.
    #[must_use]
    pub fn of(table: &CalibrationTable) -> Self {
        let text = table.to_string();
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        Calibration { calibrator: table.calibrator.clone(), samples: table.samples, sha256, table: text }
    }
}

/// The measured choices that kernels were made by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// The CPU that was measured, for people.
    pub cpu: String,
    /// SHA-256 of the tuning file's text, in hexadecimal.
    pub sha256: String,
    /// The tuning file; left out in C headers.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub file: String,
}

impl Tuning {
    /// The provenance of a tuning file.
    #[must_use]
    pub fn of(tuning: &eightfold_codegen::tuning::Tuning) -> Self {
        let file = tuning.to_string();
        Tuning { cpu: tuning.cpu.clone(), sha256: hex(&Sha256::digest(file.as_bytes())), file }
    }
}

impl Provenance {
    /// The provenance that this text holds; `None` if it was written by another version, or by something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The same without the calibration table and the tuning file, for people.
    #[must_use]
    pub fn brief(mut self) -> Self {
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

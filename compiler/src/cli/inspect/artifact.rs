//! The interface and the provenance of an artifact.

use std::fs;
use std::path::Path;

use eightfold::artifact::Artifact;
use eightfold::{Error, Provenance};
use eightfold_codegen::interface::{Tensor, Variant};
use eightfold_runtime::features::HOST_FEATURES;
use serde::Serialize;
use serde_json::Value;

use crate::cli::arguments::threads_text;
use crate::cli::coverage::CoverageReport;
use crate::cli::output::{Format, bytes, table};

/// An artifact.
#[derive(Serialize)]
pub(super) struct Report {
    kind: &'static str,
    name: String,
    symbol: String,
    file_bytes: u64,
    #[serde(flatten)]
    coverage: Option<CoverageReport>,
    /// The first variant that runs on this machine, if any.
    supported_variant: Option<usize>,
    variants: Vec<VariantReport>,
    /// The provenance in the artifact: an object, or text if another version of eightfold wrote it.
    provenance: Value,
    #[serde(skip)]
    read: Option<Provenance>,
}

#[derive(Serialize)]
struct VariantReport {
    target: String,
    features: Vec<&'static str>,
    threads: u32,
    /// Threads other than the first that have work.
    workers: u32,
    #[serde(skip)]
    threads_text: String,
    arena_bytes: u64,
    arena_align: u32,
    inputs: Vec<TensorReport>,
    outputs: Vec<TensorReport>,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization: Option<QuantizationReport>,
}

#[derive(Serialize)]
struct QuantizationReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    axis: Option<u32>,
    scale: Vec<f32>,
    zero_point: Vec<i32>,
}

impl From<&Tensor> for TensorReport {
    fn from(tensor: &Tensor) -> Self {
        let quantization = tensor.quantization.as_ref().map(|q| QuantizationReport {
            axis: q.axis,
            scale: q.scale.clone(),
            zero_point: q.zero_point.clone(),
        });
        TensorReport {
            name: tensor.name.clone(),
            dtype: tensor.dtype.name(),
            shape: tensor.dims.clone(),
            bytes: tensor.byte_size().unwrap_or_default(),
            quantization,
        }
    }
}

impl From<&Variant> for VariantReport {
    fn from(variant: &Variant) -> Self {
        VariantReport {
            target: variant.target.clone(),
            features: variant.features.names(HOST_FEATURES).collect(),
            threads: variant.threads,
            workers: variant.workers,
            threads_text: threads_text(variant),
            arena_bytes: variant.arena_size,
            arena_align: variant.arena_align,
            inputs: variant.inputs.iter().map(TensorReport::from).collect(),
            outputs: variant.outputs.iter().map(TensorReport::from).collect(),
        }
    }
}

impl Report {
    /// The artifact in a file.
    pub(super) fn of(path: &Path) -> Result<Report, Error> {
        let artifact = Artifact::load(path)?;
        let interface = artifact.interface();
        let file = fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let read = Provenance::parse(&interface.provenance);
        let text = || Value::String(interface.provenance.clone());
        Ok(Report {
            kind: "artifact",
            name: interface.name.clone(),
            symbol: interface.query_symbol(),
            file_bytes: file.len(),
            coverage: read.as_ref().map(|provenance| {
                let precision = provenance.options.get("precision").map_or("", String::as_str);
                CoverageReport::new(&provenance.coverage, precision)
            }),
            supported_variant: artifact.supported_variant(),
            variants: interface.variants.iter().map(VariantReport::from).collect(),
            provenance: serde_json::from_str(&interface.provenance).unwrap_or_else(|_| text()),
            read,
        })
    }

    /// The report as text.
    pub(super) fn text(&self, format: Format) -> String {
        let width = self.read.iter().flat_map(|read| read.options.keys()).map(String::len).max().unwrap_or(0).max(11);
        let mut lines = vec![format!("{}  {}  {}", self.name, self.symbol, bytes(self.file_bytes))];
        let mut line = |name: &str, value: String| lines.push(format!("  {name:<width$} {value}"));
        match &self.read {
            Some(provenance) => {
                line("made by", format!("eightfold {}", provenance.eightfold));
                line("model", format!("sha256 {}", provenance.model_sha256));
                for (name, value) in &provenance.options {
                    line(name, value.clone());
                }
                if let Some(peaks) = &provenance.peaks {
                    line("peaks", format!("measured on {}, sha256 {}", peaks.cpu, peaks.sha256));
                }
                if let Some(tuning) = &provenance.tuning {
                    line("tuning", format!("measured on {}, sha256 {}", tuning.cpu, tuning.sha256));
                }
                if let Some(calibration) = &provenance.calibration {
                    let (calibrator, samples) = (&calibration.calibrator, calibration.samples);
                    line("calibration", format!("{calibrator} on {samples} samples, sha256 {}", calibration.sha256));
                }
                line("weights", bytes(provenance.weight_bytes));
                line("arena bound", bytes(provenance.arena_bound_bytes));
            }
            None => line("provenance", self.provenance.to_string()),
        }
        if let Some(coverage) = &self.coverage {
            line(coverage.share_name(), coverage.share_text());
            lines.extend(coverage.float_lines(format));
        }
        for (index, variant) in self.variants.iter().enumerate() {
            let here = if self.supported_variant == Some(index) { ", runs here" } else { "" };
            let VariantReport { target, threads_text, arena_bytes, .. } = variant;
            lines.push(format!("\nvariant {index}: {target}, {threads_text}, arena {}{here}", bytes(*arena_bytes)));
            let inputs = variant.inputs.iter().map(|tensor| row("input", tensor));
            let rows = inputs.chain(variant.outputs.iter().map(|tensor| row("output", tensor)));
            lines.push(table(["", "name", "type", "quantization"], rows, &[]));
        }
        lines.join("\n")
    }
}

fn row(kind: &str, tensor: &TensorReport) -> [String; 4] {
    let shape: String = tensor.shape.iter().map(|dim| format!("{dim}x")).collect();
    let quantization = match &tensor.quantization {
        None => String::new(),
        Some(QuantizationReport { axis: Some(axis), scale, .. }) => format!("{} scales along axis {axis}", scale.len()),
        Some(QuantizationReport { axis: None, scale, zero_point }) => {
            format!("(x - {}) * {}", zero_point[0], scale[0])
        }
    };
    [kind.to_owned(), tensor.name.clone(), format!("{shape}{}", tensor.dtype), quantization]
}

//! `eightfold compare`: the difference between a compiled model and its source model.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use eightfold::artifact::Artifact;
use eightfold::report::similarity::Similarity;
use eightfold::session::executable::real;
use eightfold::{Error, Executable, Model, OptimizeOptions, Progress as _, Provenance, Stage, compare_layers};
use eightfold_passes::calibrate::CalibrationTable;
use serde::Serialize;

use super::arguments::{DataArguments, ImportArguments, ReferenceArguments};
use super::output::{Format, percent, table};
use super::progress::Terminal;

/// The verb's arguments.
#[derive(Args, Debug)]
#[command(after_help = "\
The model is compiled as it is, in f32 unless it is quantized, and both run on the data. --layers compares every \
tensor that both compute, worst first. To do so, the artifact is compiled again from the model, with the options in \
its provenance.

With --oracle tract, tract runs the model file instead: an ONNX implementation that shares no code with eightfold. \
Without a compiled model, the model is compiled as it is and compared with tract. tract is an optional feature of the \
build: cargo build --release --package eightfold-compiler --features oracle

Example:
  eightfold compare model.onnx model.so --data test.npz
  eightfold compare model.onnx model.so --data test.npz --samples 0..16 --layers
  eightfold compare model.onnx --oracle tract --data test.npz")]
pub(crate) struct Arguments {
    /// The source model.
    model: PathBuf,
    /// The compiled model (.so).
    #[arg(required_unless_present = "oracle")]
    artifact: Option<PathBuf>,
    #[command(flatten)]
    data: DataArguments,
    /// Compare intermediate tensors, too.
    #[arg(long, requires = "artifact")]
    layers: bool,
    /// Run the model by this implementation instead of compiled code.
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "reference")]
    oracle: Option<OracleName>,
    #[command(flatten)]
    reference: ReferenceArguments,
    #[command(flatten)]
    import: ImportArguments,
}

/// An ONNX implementation that shares no code with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OracleName {
    /// tract, in Rust.
    Tract,
}

/// The similarity of the outputs.
#[derive(Serialize)]
struct Report {
    samples: u64,
    outputs: Vec<Output>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Vec<TensorReport>>,
}

#[derive(Serialize)]
struct Output {
    name: String,
    #[serde(flatten)]
    measures: Measures,
}

#[derive(Serialize)]
struct TensorReport {
    name: String,
    op: &'static str,
    node: String,
    dtype: String,
    #[serde(flatten)]
    measures: Measures,
}

/// Similarity of a tensor; decibels are `None` if the tensors are equal.
#[derive(Serialize)]
struct Measures {
    sqnr_db: Option<f64>,
    mean_sqnr_db: f64,
    cosine: f64,
    max_abs: f64,
    /// Fraction of the samples with the same top-1.
    top1_agreement: f64,
}

impl From<&Similarity> for Measures {
    fn from(similarity: &Similarity) -> Self {
        Measures {
            sqnr_db: Some(similarity.sqnr_db()).filter(|db| db.is_finite()),
            mean_sqnr_db: similarity.mean_sqnr_db(),
            cosine: similarity.cosine(),
            max_abs: similarity.max_abs(),
            top1_agreement: similarity.same_winner(),
        }
    }
}

impl Measures {
    fn cells(&self) -> [String; 4] {
        let decibels = self.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1}"));
        [decibels, format!("{:.6}", self.cosine), format!("{:.6}", self.max_abs), percent(self.top1_agreement)]
    }
}

impl Arguments {
    /// Compares.
    pub(crate) fn run(&self, format: Format) -> Result<(), Error> {
        let progress = &mut Terminal::plain();
        let loaded = self.artifact.as_ref().map(|path| Executable::load(path)).transpose()?;
        let model = self.import.load(&self.model, progress)?;
        let mut reference = match (self.oracle, self.reference.executable(&model, progress)) {
            (Some(OracleName::Tract), _) => Executable::oracle(&self.model, &model)?,
            (None, Some(evaluated)) => evaluated?,
            (None, None) => Executable::compile(&model, progress)?,
        };
        let mut executable = match loaded {
            Some(loaded) => loaded,
            None => Executable::compile(&model, progress)?,
        };
        let pairs = pairs(&reference, &executable)?;
        let data = self.data.open(&model.inputs())?;

        progress.stage(Stage::Evaluate);
        let mut similarities = vec![Similarity::default(); pairs.len()];
        let samples = self.data.samples(&data)?;
        let count = samples.len();
        for (index, sample) in samples.enumerate() {
            progress.samples(index, count);
            let sample = sample?;
            let (expected, got) = (reference.run(&sample.inputs)?, executable.run(&sample.inputs)?);
            for (similarity, &(a, b)) in similarities.iter_mut().zip(&pairs) {
                let expected = real(&reference.outputs()[a], &expected[a]);
                similarity.add(&expected, &real(&executable.outputs()[b], &got[b]));
            }
        }
        progress.samples(count, count);
        let layers = match self.artifact.as_ref().filter(|_| self.layers) {
            Some(path) => {
                let (options, calibration) = remake(&model, &Artifact::load(path)?)?;
                let samples = self.data.samples(&data)?;
                Some(compare_layers(&model, calibration, &options, samples, progress)?)
            }
            None => None,
        };
        progress.finish(&[])?;

        let name = |&(a, _): &(usize, usize)| reference.outputs()[a].name.clone();
        let outputs = pairs.iter().zip(&similarities);
        let report = Report {
            samples: count as u64,
            outputs: outputs.map(|(pair, s)| Output { name: name(pair), measures: s.into() }).collect(),
            layers: layers.map(ranked),
        };
        format.print(&report, || report.text())
    }
}

/// The layers, least similar first.
fn ranked(mut layers: Vec<eightfold::TensorSimilarity>) -> Vec<TensorReport> {
    layers.sort_by(|a, b| a.similarity.sqnr_db().total_cmp(&b.similarity.sqnr_db()));
    let layer = |l: &eightfold::TensorSimilarity| TensorReport {
        name: l.tensor.clone(),
        op: l.op,
        node: l.node.clone(),
        dtype: l.dtype.to_string(),
        measures: (&l.similarity).into(),
    };
    layers.iter().map(layer).collect()
}

/// Pairs of outputs with the same name. Inputs, and the shapes of outputs, must agree.
fn pairs(reference: &Executable, executable: &Executable) -> Result<Vec<(usize, usize)>, Error> {
    let incomparable = |reason: String| Err(Error::Incomparable { reason });
    if reference.inputs() != executable.inputs() {
        let list = |e: &Executable| {
            let inputs = e.variant().inputs.iter().map(|input| format!("{} {input}", input.name));
            inputs.collect::<Vec<_>>().join(", ")
        };
        return incomparable(format!("one takes {}, the other {}", list(reference), list(executable)));
    }
    let mut pairs = Vec::new();
    for (a, output) in reference.outputs().iter().enumerate() {
        let b = executable.output(Some(&output.name))?;
        if output.dims != executable.outputs()[b].dims {
            return incomparable(format!("output {:?} is {output} and {}", output.name, executable.outputs()[b]));
        }
        pairs.push((a, b));
    }
    Ok(pairs)
}

/// The options and ranges that the artifact was compiled with.
fn remake(model: &Model, artifact: &Artifact) -> Result<(OptimizeOptions, Option<CalibrationTable>), Error> {
    let incomparable = |reason: &str| Error::Incomparable { reason: reason.to_owned() };
    let provenance = Provenance::parse(&artifact.interface().provenance)
        .ok_or_else(|| incomparable("another version of eightfold wrote the artifact's provenance"))?;
    if provenance.model_sha256 != model.sha256 {
        return Err(incomparable("the artifact was compiled from another model file, so layers cannot be compared"));
    }
    let options = OptimizeOptions::from_provenance(&provenance)
        .ok_or_else(|| incomparable("the artifact's provenance has options of another version of eightfold"))?;
    let table = provenance.calibration.map(|calibration| calibration.table.parse());
    let table = table.transpose().map_err(|_| incomparable("the artifact's calibration table cannot be read"))?;
    Ok((options, table))
}

impl Report {
    fn text(&self) -> String {
        let row = |o: &Output| {
            let [db, cosine, max_abs, agreement] = o.measures.cells();
            [o.name.clone(), db, cosine, max_abs, agreement]
        };
        let header = ["output", "SQNR dB", "cosine", "max abs", "same top-1"];
        let mut text = table(header, self.outputs.iter().map(row), &[1, 2, 3, 4]);
        if let Some(layers) = &self.layers {
            let row = |l: &TensorReport| {
                let [db, cosine, max_abs, _] = l.measures.cells();
                [l.name.clone(), l.op.to_owned(), l.dtype.clone(), db, cosine, max_abs]
            };
            let header = ["tensor", "operator", "type", "SQNR dB", "cosine", "max abs"];
            text += "\n\n";
            text += &table(header, layers.iter().map(row), &[3, 4, 5]);
        }
        text + &format!("\n\n {} samples", self.samples)
    }
}

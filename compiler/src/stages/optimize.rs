//! Runs the passes that turn a model's graph into the graph that code is generated from.

use eightfold_codegen::choice::Choices;
use eightfold_codegen::cpu::CpuModel;
use eightfold_codegen::schedule::bands::Bands;
use eightfold_codegen::target::Target;
use eightfold_codegen::tuning::Tuning;
use eightfold_ir::Graph;
use eightfold_ir::Precision;
use eightfold_passes::calibrate::CalibrationTable;
use eightfold_passes::{BF16, F32, INT8, Outcome, PassOptions, PassReport, Pipeline, Remark, WEIGHT_INT8};

use super::load::Model;
use super::progress::{Progress, Stage};
use crate::artifact::provenance::{self, CalibrationRecord, PeaksRecord, Provenance};
use crate::error::Error;
use crate::host::memory_limit::MemoryLimit;
use crate::options::{CONSTANT, OptimizeOptions, PrecisionRequest};
use crate::report::coverage::Coverage;

/// A graph ready for code generation.
#[derive(Clone, Debug)]
pub struct Optimized {
    /// The graph.
    pub graph: Graph,
    /// The model's name.
    pub name: String,
    /// The target.
    pub target: &'static Target,
    /// Threads per inference, at least one.
    pub threads: usize,
    /// Which chains of calls run in bands.
    pub bands: Bands,
    /// The precision that the request resolves to.
    pub precision: Precision,
    /// Remarks of the passes: what they did, and what they did not do and why.
    pub remarks: Vec<Remark>,
    /// One report per pass.
    pub reports: Vec<PassReport>,
    /// The share of integer arithmetic.
    pub coverage: Coverage,
    /// What chooses how calls run.
    pub(crate) choices: Choices,
    pub(super) provenance: Provenance,
    pub(super) memory: MemoryLimit,
}

impl Optimized {
    /// Lets the cost models go by this CPU, and adds it to the provenance.
    pub(crate) fn choose_for(&mut self, cpu: CpuModel, record: PeaksRecord) {
        self.choices = std::mem::take(&mut self.choices).on(Some(cpu));
        self.provenance.peaks = Some(record);
    }

    /// Chooses kernels by these measurements, and adds them to the provenance.
    ///
    /// # Errors
    /// [`Error::TuningTarget`] if they are for another target.
    pub fn tune_by(&mut self, tuning: &Tuning) -> Result<(), Error> {
        if tuning.target != self.target {
            return Err(Error::TuningTarget { expected: self.target.name, got: tuning.target.name });
        }
        self.choices = self.choices.with_measured(tuning.choices());
        self.provenance.tuning = Some(provenance::TuningRecord::of(tuning));
        Ok(())
    }
}

/// Optimizes a model for the requested precision; `calibration` has the ranges of the tensors to be quantized.
///
/// # Errors
/// If int8 is requested without ranges, ranges are given for another precision, or a pass fails.
pub fn optimize(
    model: &Model,
    calibration: Option<CalibrationTable>,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<Optimized, Error> {
    optimize_owned(model.clone(), calibration, options, progress)
}

/// Optimizes a model that is not needed afterwards: the memory of its weights is freed as soon as a pass replaces them.
///
/// # Errors
/// Those of [`optimize`].
pub fn optimize_owned(
    model: Model,
    calibration: Option<CalibrationTable>,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<Optimized, Error> {
    progress.stage(Stage::Optimize);
    let precision = precision(&model, calibration.is_some(), options.precision)?;
    let provenance = Provenance {
        eightfold: env!("CARGO_PKG_VERSION").to_owned(),
        target: options.target.name.to_owned(),
        model_sha256: model.sha256.clone(),
        opset: model.opset,
        options: options.named(precision).chain(constants(&model)).collect(),
        calibration: calibration.as_ref().map(CalibrationRecord::of),
        peaks: None,
        tuning: None,
        coverage: Coverage::default(),
        weight_bytes: 0,
        arena_bound_bytes: 0,
    };
    let passes = match precision {
        Precision::F32 => F32,
        Precision::Bf16 => BF16,
        Precision::Int8 => INT8,
        Precision::WeightInt8 => WEIGHT_INT8,
    };
    let Model { mut graph, name, memory, .. } = model;
    let outcome = run_passes(passes, &mut graph, &options.for_passes(precision, calibration), progress)?;
    let coverage = Coverage::of(&graph, &outcome.remarks);
    let Outcome { remarks, reports, .. } = outcome;
    let (target, threads) = (options.target, options.threads);
    let bands = if options.bands { Bands::WherePaid } else { Bands::Never };
    Ok(Optimized {
        graph,
        name,
        target,
        threads,
        bands,
        precision,
        remarks,
        reports,
        coverage,
        choices: Choices::default().preferring(options.prefer),
        provenance,
        memory,
    })
}

/// The constant inputs of a model, as options for the provenance.
fn constants(model: &Model) -> impl Iterator<Item = (String, String)> {
    model.constants.iter().map(|(name, value)| (format!("{CONSTANT}{name}"), value.to_string()))
}

/// Inserts `quantize_linear` and `dequantize_linear` without lowering them to integers; the graph can be exported.
///
/// # Errors
/// If a pass fails.
pub fn quantize(
    model: &Model,
    calibration: CalibrationTable,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<(Graph, Outcome), Error> {
    progress.stage(Stage::Optimize);
    let quantizing = INT8.iter().copied().take_while(|pass| *pass != "assign_precision");
    let passes: Vec<&str> = quantizing.chain(["eliminate_dead"]).collect();
    let mut graph = model.graph.clone();
    let outcome = run_passes(&passes, &mut graph, &options.for_passes(Precision::Int8, Some(calibration)), progress)?;
    Ok((graph, outcome))
}

/// The precision that a request resolves to.
fn precision(model: &Model, has_ranges: bool, request: PrecisionRequest) -> Result<Precision, Error> {
    let can_int8 = has_ranges || model.is_quantized();
    match request.without_ranges() {
        Some(precision) if has_ranges => Err(Error::UnusedCalibration { precision }),
        Some(precision) => Ok(precision),
        None if can_int8 => Ok(Precision::Int8),
        None if request == PrecisionRequest::Int8 => Err(Error::NoRanges),
        None => Ok(Precision::F32),
    }
}

/// Runs passes by name and verifies the resulting graph.
///
/// # Errors
/// If a name is unknown, a pass fails, or the graph does not verify.
pub fn run_passes(
    passes: &[&str],
    graph: &mut Graph,
    options: &PassOptions,
    progress: &mut dyn Progress,
) -> Result<Outcome, Error> {
    let pipeline = Pipeline::new(passes)?;
    let before = options.limit.map(|_| graph.clone());
    let outcome = pipeline.run(graph, options, &mut |report, graph| progress.pass(report, graph))?;
    let place = || format!("the graph after {}", passes.join(", "));
    eightfold_ir::verify(graph).map_err(|source| Error::Verify { place: place(), ours: true, source })?;
    if let Some(mut whole) = before {
        let rewrites = |outcome: &Outcome| outcome.reports.iter().map(|report| report.rewrites).sum::<usize>();
        let unlimited = PassOptions { limit: None, ..options.clone() };
        let total: usize = rewrites(&pipeline.run(&mut whole, &unlimited, &mut |_, _| {})?);
        let last = outcome.last.as_ref().map_or_else(String::new, |last| format!(", the last is {last}"));
        progress.note(&format!("--pass-limit: {} of {total} rewrites{last}", rewrites(&outcome)));
    }
    Ok(outcome)
}

//! THE pipeline: from a model to an artifact, one visible call a stage.
//!
//! ```text
//! load -> calibrate -> optimize (passes, verify) -> compile (lower, LLVM) -> link
//! ```
//! Invariant: what comes out depends on the model's bytes, the calibration table, the tuning file and the options alone,
//! and all of them are in the artifact's provenance. Nothing here prints; a [`Progress`] hears what goes on.

use std::collections::BTreeSet;
use std::path::Path;

use eightfold_codegen::bands::Bands;
use eightfold_codegen::choice::{Choices, Prefer};
use eightfold_codegen::compile::Listings;
use eightfold_codegen::header::c_header;
use eightfold_codegen::interface::{Interface, Variant};
use eightfold_codegen::lower::lower_with;
use eightfold_codegen::object::{Linker, ObjectFile};
use eightfold_codegen::program::{BufferKind, Program};
use eightfold_codegen::share::Threads;
use eightfold_codegen::target::{TARGETS, Target};
use eightfold_codegen::tuning::Tuning;
use eightfold_ir::{DType, Graph, Precision, Symmetry};
use eightfold_passes::calibrate::CalibrationTable;
use eightfold_passes::{
    BF16, F32, INT8, Outcome, PairSums, PassOptions, PassReport, Pipeline, Remark, WeightScales, WeightType,
};
use object::{Object as _, ObjectSection as _, SectionKind};

use crate::artifact::seal;
use crate::coverage::Coverage;
use crate::error::Error;
use crate::limit::MemoryLimit;
use crate::model::Model;
use crate::output_file::{make_file, write_file};
use crate::provenance::{self, Calibration, Provenance};

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading the model.
    Import,
    /// Running the float build on samples.
    Calibrate,
    /// Passes.
    Optimize,
    /// Timing kernels.
    Tune,
    /// From the graph to machine code.
    Compile,
    /// From the object file to the shared library.
    Link,
    /// Running what was compiled on samples.
    Evaluate,
}

impl Stage {
    /// What goes on, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::Import => "importing",
            Stage::Calibrate => "calibrating",
            Stage::Optimize => "optimizing",
            Stage::Tune => "tuning",
            Stage::Compile => "compiling",
            Stage::Link => "linking",
            Stage::Evaluate => "running",
        }
    }
}

/// Hears what goes on; `()` does not listen.
pub trait Progress {
    /// A stage begins.
    fn stage(&mut self, _stage: Stage) {}

    /// A pass has run and left this graph.
    fn pass(&mut self, _report: &PassReport, _graph: &Graph) {}

    /// Something that the user may want to know.
    fn note(&mut self, _message: &str) {}

    /// Samples are being run or choices timed, and so many are done.
    fn samples(&mut self, _done: usize, _of: usize) {}
}

impl Progress for () {}

/// The precision that the user asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrecisionRequest {
    /// int8 if there are ranges or the model is quantized already, else f32.
    #[default]
    Auto,
    /// Single-precision floats.
    F32,
    /// Products of bf16 numbers, summed in single precision.
    Bf16,
    /// 8-bit integers.
    Int8,
}

/// Whether weights become so small that four of their products fit 16 bits, in which a target without products of four
/// bytes adds them: what does not fit takes extra products there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReduceRange {
    /// For such a target.
    #[default]
    Auto,
    /// For any target.
    Always,
    /// For none.
    Never,
}

/// Whatever decides about the code, the model and its ranges apart.
#[derive(Clone, Debug)]
pub struct OptimizeOptions {
    /// What machine code is made for.
    pub target: &'static Target,
    /// The precision asked for.
    pub precision: PrecisionRequest,
    /// Over which elements of a weight one scale holds.
    pub weight_scales: WeightScales,
    /// The integers that weights become.
    pub weight_type: WeightType,
    /// The integer type of activations, `u8` or `i8`.
    pub activation_storage: DType,
    /// Whether the zero point of an activation is fixed.
    pub activation_symmetry: Symmetry,
    /// Names of ONNX nodes that compute in float, as [`kept_nodes`](crate::kept_nodes) finds them.
    pub keep_float: BTreeSet<String>,
    /// Whether biases take up what rounding the weights shifts.
    pub bias_correction: bool,
    /// Whether weights become small enough for four products to fit 16 bits.
    pub reduce_range: ReduceRange,
    /// Whether channels are put in the order that the target's sums of products want, which changes no result; tensors
    /// inside the graph are in the model's order otherwise.
    pub order_channels: bool,
    /// Threads that one inference runs on, at least one.
    pub threads: usize,
    /// Whether chains of calls run band by band where that saves traffic.
    pub bands: bool,
    /// Whether weights may take more bytes than they have where that saves time.
    pub prefer: Prefer,
    /// The number of rewrites after which all passes stop.
    pub pass_limit: Option<usize>,
}

impl OptimizeOptions {
    /// The defaults: precision by what is there, weights per channel, activations affine u8, biases corrected, one thread.
    #[must_use]
    pub fn new(target: &'static Target) -> Self {
        let defaults = PassOptions::default();
        OptimizeOptions {
            target,
            precision: PrecisionRequest::Auto,
            weight_scales: defaults.weight_scales,
            weight_type: defaults.weight_type,
            activation_storage: defaults.activation_storage,
            activation_symmetry: defaults.activation_symmetry,
            keep_float: defaults.keep_float,
            bias_correction: defaults.bias_correction,
            reduce_range: ReduceRange::default(),
            order_channels: true,
            threads: 1,
            bands: true,
            prefer: Prefer::default(),
            pass_limit: None,
        }
    }

    /// Whether weights become small enough for four products to fit 16 bits, on this target.
    #[must_use]
    pub fn reduces_range(&self) -> bool {
        match self.reduce_range {
            ReduceRange::Auto => pair_sums(self.target).is_some(),
            ReduceRange::Always => true,
            ReduceRange::Never => false,
        }
    }

    /// What the passes are told.
    #[must_use]
    pub fn for_passes(&self, precision: Precision, calibration: Option<CalibrationTable>) -> PassOptions {
        PassOptions {
            precision,
            calibration,
            weight_scales: self.weight_scales,
            weight_type: self.weight_type,
            activation_storage: self.activation_storage,
            activation_symmetry: self.activation_symmetry,
            keep_float: self.keep_float.clone(),
            bias_correction: self.bias_correction,
            reduce_range: self.reduces_range(),
            pair_sums: pair_sums(self.target).filter(|_| self.order_channels),
            target_features: self.target.features.iter().map(|&feature| feature.to_owned()).collect(),
            limit: self.pass_limit,
        }
    }
}

/// How the target adds products in 16 bits, for the pass that orders channels for it; `None` if it does not.
#[must_use]
pub fn pair_sums(target: &Target) -> Option<PairSums> {
    target.dot.pair_limit().map(|limit| PairSums { limit, lanes: target.lanes() })
}

/// The option that lists the nodes kept in float, as a JSON array.
const KEEP_FLOAT: &str = "keep_float";

/// What the options begin with that say which input of the model is a constant.
const CONSTANT: &str = "constant.";

/// Options as the provenance names them, and back.
impl OptimizeOptions {
    /// The options by name, for the provenance; the target stands beside them.
    fn named(&self, precision: Precision) -> impl Iterator<Item = (String, String)> {
        let weights = match self.weight_scales {
            WeightScales::PerChannel => "per-channel",
            WeightScales::PerTensor => "per-tensor",
        };
        let symmetry = match self.activation_symmetry {
            Symmetry::Symmetric => "symmetric",
            Symmetry::Affine => "affine",
        };
        let mut options = vec![("precision", precision.to_string())];
        if precision == Precision::Int8 {
            options.push(("weights", weights.to_owned()));
            if self.weight_type != WeightType::I8 {
                options.push(("weight_type", self.weight_type.name().to_owned()));
            }
            options.push(("activations", format!("{symmetry}-{}", self.activation_storage)));
            options.push(("bias_correction", self.bias_correction.to_string()));
            options.push(("reduce_range", self.reduces_range().to_string()));
        }
        if !self.keep_float.is_empty() {
            options.push((KEEP_FLOAT, serde_json::json!(self.keep_float).to_string()));
        }
        if self.threads != 1 {
            options.push(("threads", self.threads.to_string()));
        }
        if !self.bands {
            options.push(("bands", self.bands.to_string()));
        }
        if self.prefer == Prefer::Size {
            options.push(("prefer", "size".to_owned()));
        }
        options.extend(self.pass_limit.map(|limit| ("pass_limit", limit.to_string())));
        options.into_iter().map(|(name, value)| (name.to_owned(), value))
    }

    /// The options that an artifact was made with; `None` if another version wrote the provenance.
    #[must_use]
    pub fn from_provenance(provenance: &Provenance) -> Option<Self> {
        let mut options = OptimizeOptions::new(Target::find(&provenance.target)?);
        for (name, value) in &provenance.options {
            match (name.as_str(), value.as_str()) {
                ("precision", "f32") => options.precision = PrecisionRequest::F32,
                ("precision", "bf16") => options.precision = PrecisionRequest::Bf16,
                ("precision", "int8") => options.precision = PrecisionRequest::Int8,
                ("weights", "per-channel") => options.weight_scales = WeightScales::PerChannel,
                ("weights", "per-tensor") => options.weight_scales = WeightScales::PerTensor,
                ("weight_type", name) => options.weight_type = WeightType::from_name(name)?,
                ("activations", scheme) => {
                    let (symmetry, storage) = scheme.split_once('-')?;
                    options.activation_symmetry = match symmetry {
                        "symmetric" => Symmetry::Symmetric,
                        "affine" => Symmetry::Affine,
                        _ => return None,
                    };
                    options.activation_storage = DType::from_name(storage)?;
                }
                ("bias_correction", on) => options.bias_correction = on.parse().ok()?,
                (KEEP_FLOAT, names) => options.keep_float = serde_json::from_str(names).ok()?,
                ("reduce_range", "true") => options.reduce_range = ReduceRange::Always,
                ("reduce_range", "false") => options.reduce_range = ReduceRange::Never,
                ("threads", count) => options.threads = count.parse().ok().filter(|count| *count > 0)?,
                ("bands", on) => options.bands = on.parse().ok()?,
                ("prefer", "size") => options.prefer = Prefer::Size,
                ("pass_limit", limit) => options.pass_limit = Some(limit.parse().ok()?),
                // What the import is told is not repeated: who imports the model says it again.
                (name, _) if name.starts_with(CONSTANT) => {}
                _ => return None,
            }
        }
        Some(options)
    }
}

/// The target of this name; `native` is the best that this machine can run.
///
/// # Errors
/// [`Error::UnknownTarget`] and [`Error::NoNativeTarget`] list the names there are.
pub fn target(name: &str) -> Result<&'static Target, Error> {
    let expected = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ");
    match name {
        "native" => Target::native().ok_or_else(|| Error::NoNativeTarget { expected: expected() }),
        _ => Target::find(name).ok_or_else(|| Error::UnknownTarget { got: name.to_owned(), expected: expected() }),
    }
}

/// The target that floats are observed with: the oldest one with a fused multiply-add, which nearly every machine runs,
/// so that the same numbers come out everywhere; what the machine has where it does not.
///
/// # Errors
/// [`Error::NoNativeTarget`].
pub(crate) fn baseline() -> Result<&'static Target, Error> {
    match TARGETS.iter().find(|target| target.fma) {
        Some(oldest) if oldest.runs_here() => Ok(oldest),
        _ => target("native"),
    }
}

/// A graph that is ready for code generation.
#[derive(Clone, Debug)]
pub struct Optimized {
    /// The graph.
    pub graph: Graph,
    /// The model's name.
    pub name: String,
    /// What code is to be made for.
    pub target: &'static Target,
    /// Threads that one inference is to run on, at least one.
    pub threads: usize,
    /// Which chains of calls run band by band.
    pub bands: Bands,
    /// The precision that the request came down to.
    pub precision: Precision,
    /// What the passes did, and what they declined to do and why.
    pub remarks: Vec<Remark>,
    /// One report a pass.
    pub reports: Vec<PassReport>,
    /// What is computed in integers.
    pub coverage: Coverage,
    choices: Choices,
    provenance: Provenance,
    memory: MemoryLimit,
    prefer: Prefer,
}

impl Optimized {
    /// Has the kernels be those that were measured to be the best; the provenance tells.
    ///
    /// # Errors
    /// [`Error::TuningTarget`]: other instructions were measured.
    pub fn tune_by(&mut self, tuning: &Tuning) -> Result<(), Error> {
        if tuning.target != self.target {
            return Err(Error::TuningTarget { expected: self.target.name, got: tuning.target.name });
        }
        self.choices = tuning.choices();
        self.provenance.tuning = Some(provenance::Tuning::of(tuning));
        Ok(())
    }

    /// The program by these choices for one thread without bands, as kernels are chosen for whole calls.
    pub(crate) fn whole_program(&self, choices: &Choices) -> Result<Program, Error> {
        self.lowered(1, choices, Bands::Never)
    }

    /// The program, for `threads` threads.
    pub(crate) fn program(&self, threads: usize) -> Result<Program, Error> {
        self.lowered(threads, &self.choices, self.bands)
    }

    /// A program that takes no more memory than it may.
    fn lowered(&self, threads: usize, choices: &Choices, bands: Bands) -> Result<Program, Error> {
        self.memory.check_tensors(&self.graph)?;
        let choices = choices.clone().preferring(self.prefer);
        let program = lower_with(&self.graph, self.target, Threads::new(threads), &choices, bands)?;
        let shown = program.buffers.iter().filter(|buffer| !matches!(buffer.kind, BufferKind::Arena { .. }));
        let shown: usize = shown.map(|buffer| buffer.byte_size).sum();
        let weights: usize = program.consts.iter().map(|constant| constant.bytes.len()).sum();
        let total = program.arena_size + shown + weights;
        self.memory
            .check(total as u64, || "the compiled model, with its arena, inputs, outputs and weights,".to_owned())?;
        Ok(program)
    }
}

/// Brings a model into the precision asked for; `calibration` holds the ranges of the tensors that it quantizes.
///
/// # Errors
/// int8 was asked for without ranges, ranges were given for f32, or a pass fails.
pub fn optimize(
    model: &Model,
    calibration: Option<CalibrationTable>,
    options: &OptimizeOptions,
    progress: &mut dyn Progress,
) -> Result<Optimized, Error> {
    optimize_owned(model.clone(), calibration, options, progress)
}

/// The same for a model that nobody wants as it was: memory that weights take is free again as soon as a pass has made
/// others of them.
///
/// # Errors
/// As those of [`optimize`].
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
        calibration: calibration.as_ref().map(Calibration::of),
        tuning: None,
        coverage: Coverage::default(),
        weight_bytes: 0,
        arena_bound_bytes: 0,
    };
    let passes = match precision {
        Precision::F32 => F32,
        Precision::Bf16 => BF16,
        Precision::Int8 => INT8,
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
        choices: Choices::default(),
        provenance,
        memory,
        prefer: options.prefer,
    })
}

/// The inputs of a model that the import has made constants, as options: what each of them is.
fn constants(model: &Model) -> impl Iterator<Item = (String, String)> {
    model.constants.iter().map(|(name, value)| (format!("{CONSTANT}{name}"), value.to_string()))
}

/// Puts `quantize_linear` and `dequantize_linear` around what is to be computed in integers, and lowers nothing: a graph
/// that can be exported.
///
/// # Errors
/// A pass fails.
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

/// A graph as an ONNX model.
///
/// # Errors
/// A node has no form in ONNX.
pub fn export(graph: &Graph) -> Result<Vec<u8>, Error> {
    crate::onnx::export(graph).map_err(Error::Export)
}

/// The precision that a request comes down to.
fn precision(model: &Model, has_ranges: bool, request: PrecisionRequest) -> Result<Precision, Error> {
    let can_int8 = has_ranges || model.is_quantized();
    match request {
        PrecisionRequest::Int8 if !can_int8 => Err(Error::NoRanges),
        PrecisionRequest::F32 if has_ranges => Err(Error::UnusedCalibration { precision: Precision::F32 }),
        PrecisionRequest::Bf16 if has_ranges => Err(Error::UnusedCalibration { precision: Precision::Bf16 }),
        PrecisionRequest::Bf16 => Ok(Precision::Bf16),
        PrecisionRequest::Auto if can_int8 => Ok(Precision::Int8),
        PrecisionRequest::Int8 => Ok(Precision::Int8),
        PrecisionRequest::Auto | PrecisionRequest::F32 => Ok(Precision::F32),
    }
}

/// Runs passes by name and checks what they leave.
///
/// # Errors
/// An unknown name, a pass that fails, or a graph that does not verify.
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

/// Machine code, with all that it was made of.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// Which kernels run on which bytes.
    pub program: Program,
    /// What the artifact offers.
    pub interface: Interface,
    /// What the artifact was made from.
    pub provenance: Provenance,
    /// An object file, complete in itself.
    pub object: ObjectFile,
    /// The assembly, if it was asked for.
    pub assembly: Option<String>,
    /// LLVM IR, if it was asked for.
    pub llvm_ir: Option<String>,
}

/// Makes machine code of a graph, in an artifact whose symbol is `<symbol>_query`.
///
/// # Errors
/// An operator has no kernel, or `symbol` is no C identifier.
pub fn compile(optimized: &Optimized, symbol: &str, listings: Listings) -> Result<Compiled, Error> {
    let program = optimized.program(optimized.threads)?;
    let weight_bytes = program.consts.iter().map(|constant| constant.bytes.len() as u64).sum();
    let coverage = optimized.coverage.clone();
    let arena_bound_bytes = program.arena_bound as u64;
    let provenance = Provenance { coverage, weight_bytes, arena_bound_bytes, ..optimized.provenance.clone() };
    let interface = Interface {
        name: optimized.name.clone(),
        symbol_prefix: symbol.to_owned(),
        provenance: provenance.to_string(),
        variants: vec![Variant::of(&optimized.graph, &program)],
    };
    let compiled = eightfold_codegen::compile::compile(std::slice::from_ref(&program), &interface, listings)?;
    let eightfold_codegen::compile::Compiled { object, assembly, llvm_ir } = compiled;
    Ok(Compiled { program, interface, provenance, object, assembly, llvm_ir })
}

impl Compiled {
    /// Links a shared library, which exports the query function alone.
    ///
    /// # Errors
    /// There is no linker, or the file cannot be written.
    pub fn link(&self, linker: &Linker, path: &Path) -> Result<(), Error> {
        let write = |source| Error::Write { path: path.to_owned(), source };
        let linked = make_file(path, |file| -> Result<(), Error> {
            linker.link_shared(&self.object, &self.interface.query_symbol(), file)?;
            seal(file).map_err(write)
        });
        linked.map_err(write)?
    }

    /// Writes the object file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_object(&self, path: &Path) -> Result<(), Error> {
        let written = write_file(path, |file| self.object.write_to(file));
        written.map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The C header of the artifact.
    ///
    /// # Errors
    /// A name that C cannot hold.
    pub fn header(&self) -> Result<String, Error> {
        let provenance = self.provenance.clone().brief().to_string();
        Ok(c_header(&Interface { provenance, ..self.interface.clone() })?)
    }

    /// Bytes of machine code in the object file.
    #[must_use]
    pub fn code_bytes(&self) -> u64 {
        let file =
            object::File::parse(self.object.code()).unwrap_or_else(|error| unreachable!("our object file: {error}"));
        file.sections().filter(|section| section.kind() == SectionKind::Text).map(|section| section.size()).sum()
    }
}

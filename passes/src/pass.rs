//! What a pass is, what it is told and tells, and the pipeline that runs passes in order.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use eightfold_ir::epilogue::StepError;
use eightfold_ir::{
    DType, EvalError, Graph, InferError, NodeId, Origin, Precision, Rewrite, Symmetry, VerifyErrors, verify,
};

use crate::calibrate::CalibrationTable;

/// A change to a graph.
pub trait Pass: Sync {
    /// `snake_case`, equal to the file name and to the folder in `testdata/passes/`.
    fn name(&self) -> &'static str;

    /// What it does, in a line.
    fn summary(&self) -> &'static str;

    /// Rewrites `graph`; tells `cx` what it did, and what it declined to do and why.
    ///
    /// # Errors
    /// When the graph cannot be brought into the form that later passes need.
    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError>;
}

/// Over which elements of a weight one scale holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightScales {
    /// One for each output channel.
    PerChannel,
    /// One for the whole tensor.
    PerTensor,
}

/// The integers that weights become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// i8 from -127 to 127.
    I8,
    /// i8 from -64 to 64: any two products with u8 fit 16 bits together.
    I7,
    /// u8 from 1 to 255, where 128 means zero.
    U8,
}

impl WeightType {
    /// The types there are, by name.
    pub const ALL: [(&'static str, WeightType); 3] =
        [("i8", WeightType::I8), ("i7", WeightType::I7), ("u8", WeightType::U8)];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        WeightType::ALL.iter().find(|(_, weights)| *weights == self).map_or("", |(name, _)| name)
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        WeightType::ALL.iter().find(|(known, _)| *known == name).map(|(_, weights)| *weights)
    }

    /// The type in memory.
    pub(crate) fn storage(self) -> DType {
        if self == WeightType::U8 { DType::U8 } else { DType::I8 }
    }

    /// The integer that means zero.
    pub(crate) fn zero_point(self) -> i32 {
        if self == WeightType::U8 { 128 } else { 0 }
    }

    /// How far from the zero point integers may be.
    pub(crate) fn limit(self) -> i32 {
        if self == WeightType::I7 { 64 } else { 127 }
    }
}

/// Products of bytes that a target adds two by two in 16 bits, where it multiplies a group of inputs once more if 16 bits do
/// not hold them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairSums {
    /// The greatest sum of the magnitudes of two weights of one sign whose products fit.
    pub limit: i32,
    /// Output channels that share a vector, and so its extra groups; a power of two.
    pub lanes: usize,
}

/// What the user asks of the passes.
#[derive(Clone, Debug)]
pub struct PassOptions {
    /// The precision wanted; nodes that cannot have it stay in [`Precision::F32`], with a remark each.
    pub precision: Precision,
    /// The range of each tensor, by name; without one only tensors that carry `quantize_linear` and
    /// `dequantize_linear` become integers.
    pub calibration: Option<CalibrationTable>,
    /// Over which elements of a weight one scale holds.
    pub weight_scales: WeightScales,
    /// The integers that weights become.
    pub weight_type: WeightType,
    /// The integer type of activations, `u8` or `i8`.
    pub activation_storage: DType,
    /// Whether the zero point of an activation is fixed.
    pub activation_symmetry: Symmetry,
    /// Names of ONNX nodes that compute in floats whatever the ranges; what a fusion joins with one of them does too.
    pub keep_float: BTreeSet<String>,
    /// Whether biases take up what rounding the weights shifts, where the table has the means of channels.
    pub bias_correction: bool,
    /// Whether the weights of neighbouring inputs become small enough for four products to fit 16 bits, which saves CPUs
    /// without VNNI the extra products that keep their sums exact. The same on every target.
    pub reduce_range: bool,
    /// For which sums of products channels are ordered, if the target has such sums.
    pub pair_sums: Option<PairSums>,
    /// Names of the target's features, for passes whose result depends on what is cheap there.
    pub target_features: Vec<String>,
    /// The number of rewrites after which all passes stop: bisects a wrong result down to one rewrite.
    pub limit: Option<usize>,
}

impl Default for PassOptions {
    /// f32; once int8 is asked for: weights per channel, activations affine u8, biases corrected.
    fn default() -> Self {
        PassOptions {
            precision: Precision::F32,
            calibration: None,
            weight_scales: WeightScales::PerChannel,
            weight_type: WeightType::I8,
            activation_storage: DType::U8,
            activation_symmetry: Symmetry::Affine,
            keep_float: BTreeSet::new(),
            bias_correction: true,
            reduce_range: false,
            pair_sums: None,
            target_features: Vec::new(),
            limit: None,
        }
    }
}

impl PassOptions {
    /// Whether the user keeps a node of this origin in floats.
    #[must_use]
    pub fn keeps_float(&self, origin: &Origin) -> bool {
        origin.names().any(|name| self.keep_float.contains(name))
    }
}

/// What kind of news a remark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// A rewrite was made.
    Fired,
    /// A rewrite nearly fitted; the message says what was in the way.
    Missed,
    /// A node stays in floating point; the message says why.
    Float,
}

impl fmt::Display for RemarkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RemarkKind::Fired => "fired",
            RemarkKind::Missed => "missed",
            RemarkKind::Float => "float",
        })
    }
}

/// What a pass tells about a node. Holds text, not numbers of nodes, so that it outlives the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The pass that speaks.
    pub pass: &'static str,
    /// What kind of news it is.
    pub kind: RemarkKind,
    /// The ONNX nodes concerned, as [`Origin`] prints them.
    pub origin: String,
    /// What happened, or why it did not.
    pub message: String,
}

impl fmt::Display for Remark {
    /// `fuse: fired at "/conv1", "/relu1": epilogue`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pass, self.kind)?;
        if !self.origin.is_empty() {
            write!(f, " at {}", self.origin)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// A pass that cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The user's fault: no pass has that name.
    #[error("no pass is called `{got}`, expected one of {expected}")]
    UnknownPass {
        /// The name given.
        got: String,
        /// The names there are.
        expected: String,
    },
    /// The user's fault: activations cannot be stored in this type.
    #[error("activations are stored as u8 or i8, got {got}")]
    Storage {
        /// The type asked for.
        got: DType,
    },
    /// Our fault: a rewrite does not fit its operands.
    #[error("{pass}: at {origin}")]
    Infer {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: Box<InferError>,
    },
    /// Our fault: a constant node does not evaluate.
    #[error("{pass}: at {origin}")]
    Eval {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: EvalError,
    },
    /// Our fault: a table's steps do not run.
    #[error("{pass}: at {origin}")]
    Step {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: StepError,
    },
    /// Our fault: a pass left a graph that breaks the rules.
    #[error("{pass} left a graph that is not valid")]
    Invalid {
        /// The pass.
        pass: &'static str,
        /// What is wrong with the graph.
        source: VerifyErrors,
    },
}

/// What passes are told and tell while a pipeline runs: options in, remarks and the count of rewrites out. What one pass
/// has to know of another stands in the graph.
pub struct PassContext<'a> {
    /// What the user asks for.
    pub options: &'a PassOptions,
    remarks: Vec<Remark>,
    seen: BTreeSet<Remark>,
    rewrites: usize,
    /// What the last rewrite was, if there is a limit on them.
    last: Option<String>,
    pass: &'static str,
}

impl<'a> PassContext<'a> {
    /// A context without remarks.
    #[must_use]
    pub fn new(options: &'a PassOptions) -> Self {
        PassContext { options, remarks: Vec::new(), seen: BTreeSet::new(), rewrites: 0, last: None, pass: "" }
    }

    /// The remarks so far.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The number of rewrites so far.
    #[must_use]
    pub fn rewrites(&self) -> usize {
        self.rewrites
    }

    /// Leaves a remark about the ONNX nodes in `origin`; one that has been left already is not repeated.
    pub fn remark(&mut self, kind: RemarkKind, origin: &Origin, message: impl Into<String>) {
        let remark = Remark { pass: self.pass, kind, origin: origin.to_string(), message: message.into() };
        if self.seen.insert(remark.clone()) {
            self.remarks.push(remark);
        }
    }

    /// Whether one more rewrite is allowed, which is counted: a pass that gets `false` must leave the graph alone. Each
    /// rewrite leaves a graph that verifies and compiles; changes that belong together are one. `what` says what it is.
    pub fn spend(&mut self, what: impl FnOnce() -> String) -> bool {
        let allowed = self.options.limit.is_none_or(|limit| self.rewrites < limit);
        self.rewrites += usize::from(allowed);
        if allowed && self.options.limit.is_some() {
            self.last = Some(format!("{}: {}", self.pass, what()));
        }
        allowed
    }

    /// Carries out a rewrite if one more is allowed; the nodes added, or `None`.
    pub fn apply(&mut self, graph: &mut Graph, rewrite: Rewrite) -> Option<Vec<NodeId>> {
        let what = || {
            let label = (rewrite.label != self.pass).then(|| rewrite.label.to_owned());
            let origin = rewrite.origin(graph);
            let place = (!origin.is_empty()).then(|| format!("at {origin}"));
            label.into_iter().chain(place).collect::<Vec<_>>().join(" ")
        };
        let what = self.options.limit.map(|_| what());
        self.spend(|| what.unwrap_or_default()).then(|| graph.apply(rewrite))
    }
}

/// What a pass did and how long it took.
#[derive(Clone, Debug, PartialEq)]
pub struct PassReport {
    /// The pass.
    pub pass: &'static str,
    /// Its position in the pipeline.
    pub index: usize,
    /// Rewrites made.
    pub rewrites: usize,
    /// Nodes in the graph afterwards.
    pub nodes: usize,
    /// Wall-clock time.
    pub elapsed: Duration,
}

/// What a pipeline leaves besides the graph.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// All remarks, in the order in which they were made.
    pub remarks: Vec<Remark>,
    /// One report a pass.
    pub reports: Vec<PassReport>,
    /// What the last rewrite was, if there was a limit on them.
    pub last: Option<String>,
}

/// Passes in the order in which they run.
pub struct Pipeline {
    passes: Vec<&'static dyn Pass>,
}

impl Pipeline {
    /// The passes of these names.
    ///
    /// # Errors
    /// [`PassError::UnknownPass`] lists the names there are.
    pub fn new(names: &[&str]) -> Result<Self, PassError> {
        let find = |name: &&str| {
            crate::PASSES.iter().copied().find(|p| p.name() == *name).ok_or_else(|| PassError::UnknownPass {
                got: (*name).to_owned(),
                expected: crate::PASSES.iter().map(|p| p.name()).collect::<Vec<_>>().join(", "),
            })
        };
        Ok(Pipeline { passes: names.iter().map(find).collect::<Result<_, _>>()? })
    }

    /// Runs the passes; `after` sees the graph after each, for dumps and progress. Builds with debug assertions verify
    /// the graph after each pass; others leave it to the caller to verify the last.
    ///
    /// # Errors
    /// Those of the passes.
    pub fn run(
        &self,
        graph: &mut Graph,
        options: &PassOptions,
        after: &mut dyn FnMut(&PassReport, &Graph),
    ) -> Result<Outcome, PassError> {
        let mut cx = PassContext::new(options);
        let mut reports = Vec::with_capacity(self.passes.len());
        for (index, pass) in self.passes.iter().enumerate() {
            let (started, rewrites) = (Instant::now(), cx.rewrites);
            cx.pass = pass.name();
            pass.run(graph, &mut cx)?;
            if cfg!(debug_assertions)
                && let Err(source) = verify(graph)
            {
                return Err(PassError::Invalid { pass: pass.name(), source });
            }
            let rewrites = cx.rewrites - rewrites;
            let report = PassReport {
                pass: pass.name(),
                index,
                rewrites,
                nodes: graph.node_count(),
                elapsed: started.elapsed(),
            };
            after(&report, graph);
            reports.push(report);
        }
        Ok(Outcome { remarks: cx.remarks, reports, last: cx.last })
    }
}

//! The `Pass` trait, the options and remarks of passes, and the pipeline that runs passes in order.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use eightfold_ir::epilogue::StepError;
use eightfold_ir::{
    DType, EvalError, Graph, InferError, NodeId, Origin, Precision, Rewrite, Symmetry, VerifyErrors, verify,
};

use crate::calibrate::CalibrationTable;

/// A transformation of a graph.
pub trait Pass: Sync {
    /// The name in `snake_case`. The source file and the folder in `testdata/passes/` have the same name.
    fn name(&self) -> &'static str;

    /// One line that says what the pass does.
    fn summary(&self) -> &'static str;

    /// Whether the pass also works on the bodies of operators, each as a graph of its own. If not, a remark says so at each
    /// operator with bodies.
    fn works_in_bodies(&self) -> bool {
        false
    }

    /// Rewrites `graph`. Reports to `cx` each rewrite, and each rewrite that it declined, with the reason.
    ///
    /// # Errors
    /// If the graph cannot be brought into the form that later passes need.
    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError>;
}

/// The granularity of the scales of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightScales {
    /// One scale per output channel.
    PerChannel,
    /// One scale for the whole tensor.
    PerTensor,
}

/// The integer type and range of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightType {
    /// i8 from -127 to 127.
    I8,
    /// i8 from -64 to 64: the sum of any two products with u8 fits 16 bits.
    I7,
    /// u8 from 1 to 255, with the zero point 128.
    U8,
}

impl WeightType {
    /// All types, by name.
    pub const ALL: [(&'static str, WeightType); 3] =
        [("i8", WeightType::I8), ("i7", WeightType::I7), ("u8", WeightType::U8)];

    /// Returns the name of the type.
    #[must_use]
    pub fn name(self) -> &'static str {
        WeightType::ALL.iter().find(|(_, weights)| *weights == self).map_or("", |(name, _)| name)
    }

    /// Returns the type with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        WeightType::ALL.iter().find(|(known, _)| *known == name).map(|(_, weights)| *weights)
    }

    /// Returns the type in memory.
    pub(crate) fn storage(self) -> DType {
        if self == WeightType::U8 { DType::U8 } else { DType::I8 }
    }

    /// Returns the integer that represents zero.
    pub(crate) fn zero_point(self) -> i32 {
        if self == WeightType::U8 { 128 } else { 0 }
    }

    /// Returns the greatest distance of an integer from the zero point.
    pub(crate) fn limit(self) -> i32 {
        if self == WeightType::I7 { 64 } else { 127 }
    }
}

/// Describes a target that adds products of bytes in pairs in 16 bits. If 16 bits cannot hold such a sum, the target
/// multiplies a group of inputs a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairSums {
    /// Two weights of the same sign fit if the sum of their magnitudes is at most this.
    pub limit: i32,
    /// The number of output channels in a vector, which share extra products; a power of two.
    pub lanes: usize,
}

/// The options of the passes.
#[derive(Clone, Debug)]
pub struct PassOptions {
    /// The requested precision. Nodes that cannot have it stay in [`Precision::F32`], with a remark each.
    pub precision: Precision,
    /// The range of each tensor, by name. Without a table, only tensors that the model quantizes itself become
    /// integers.
    pub calibration: Option<CalibrationTable>,
    /// The granularity of the scales of weights.
    pub weight_scales: WeightScales,
    /// The integer type and range of quantized weights.
    pub weight_type: WeightType,
    /// The integer type of activations, `u8` or `i8`.
    pub activation_storage: DType,
    /// Whether the zero point of activations is fixed (symmetric) or computed from the range (affine).
    pub activation_symmetry: Symmetry,
    /// The names of ONNX nodes that stay in float. A node that a fusion joins with one of them stays in float too.
    pub keep_float: BTreeSet<String>,
    /// Whether biases compensate the mean rounding error of the weights. This needs channel means in the calibration
    /// table.
    pub bias_correction: bool,
    /// Whether the range of the weights is reduced, so that the sum of four products fits 16 bits. CPUs without VNNI
    /// then need fewer extra products to stay exact. The option means the same on every target.
    pub reduce_range: bool,
    /// How the target adds pairs of products in 16 bits, if it does; `pair_channels` then orders channels for it.
    pub pair_sums: Option<PairSums>,
    /// The names of the target's CPU features, for passes that choose what is fast on the target.
    pub target_features: Vec<String>,
    /// All passes stop after this number of rewrites, which allows a bisection to find the rewrite that causes a wrong
    /// result.
    pub limit: Option<usize>,
}

impl Default for PassOptions {
    /// f32. If int8 is requested: per-channel weights, affine u8 activations, bias correction.
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
    /// Returns true if the user keeps a node of this origin in float.
    #[must_use]
    pub fn keeps_float(&self, origin: &Origin) -> bool {
        origin.names().any(|name| self.keep_float.contains(name))
    }
}

/// The kind of a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// The pass made a rewrite.
    Fired,
    /// A rewrite nearly applied; the message says what prevented it.
    Missed,
    /// A node stays in float; the message says why.
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

/// A message of a pass about a node. It holds text, not node numbers, so it stays valid after the graph is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// The pass that left the remark.
    pub pass: &'static str,
    /// The kind of the remark.
    pub kind: RemarkKind,
    /// The ONNX nodes concerned, as [`Origin`] prints them; of very many, the first.
    pub origin: String,
    /// What happened, or why it did not happen.
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

/// Why a pass failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// A usage error: no pass has this name.
    #[error("no pass is called `{got}`, expected one of {expected}")]
    UnknownPass {
        /// The name given.
        got: String,
        /// All names of passes.
        expected: String,
    },
    /// Weights of products on floats cannot have this type.
    #[error("weights of {got} have a zero point of 128, and weight-int8 stores symmetric weights: choose i8 or i7")]
    WeightType {
        /// The name of the type.
        got: &'static str,
    },
    /// A usage error: activations cannot be stored in this type.
    #[error("activations are stored as u8 or i8, got {got}")]
    Storage {
        /// The requested type.
        got: DType,
    },
    /// An internal error: a rewrite does not fit its operands.
    #[error("{pass}: at {origin}")]
    Infer {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: Box<InferError>,
    },
    /// An internal error: a constant node cannot be evaluated.
    #[error("{pass}: at {origin}")]
    Eval {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: EvalError,
    },
    /// An internal error: the steps of a table cannot be evaluated.
    #[error("{pass}: at {origin}")]
    Step {
        /// The pass.
        pass: &'static str,
        /// The ONNX nodes concerned.
        origin: String,
        /// What does not fit.
        source: StepError,
    },
    /// An internal error: a pass left a graph that does not verify.
    #[error("{pass} left a graph that is not valid")]
    Invalid {
        /// The pass.
        pass: &'static str,
        /// What is wrong with the graph.
        source: VerifyErrors,
    },
}

/// The state of a run of passes: options for the passes, and their remarks and count of rewrites. It holds no data that
/// one pass hands to another; such data is in the graph.
pub struct PassContext<'a> {
    /// The options.
    pub options: &'a PassOptions,
    remarks: Vec<Remark>,
    seen: BTreeSet<Remark>,
    rewrites: usize,
    /// The last rewrite, if the number of rewrites is limited.
    last: Option<String>,
    pass: &'static str,
}

impl<'a> PassContext<'a> {
    /// Creates a context without remarks.
    #[must_use]
    pub fn new(options: &'a PassOptions) -> Self {
        PassContext { options, remarks: Vec::new(), seen: BTreeSet::new(), rewrites: 0, last: None, pass: "" }
    }

    /// Returns the remarks so far.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// Returns the number of rewrites so far.
    #[must_use]
    pub fn rewrites(&self) -> usize {
        self.rewrites
    }

    /// Adds a remark about the ONNX nodes in `origin`, unless an equal remark exists.
    pub fn remark(&mut self, kind: RemarkKind, origin: &Origin, message: impl Into<String>) {
        /// Names in a remark. A chain of thousands of nodes would fill the memory with all of them, at each step.
        const NAMES: usize = 32;
        let remark = Remark { pass: self.pass, kind, origin: origin.abridged(NAMES), message: message.into() };
        if self.seen.insert(remark.clone()) {
            self.remarks.push(remark);
        }
    }

    /// Counts one more rewrite and returns true, or returns false if the limit is reached. A pass that gets false must
    /// not change the graph. Every rewrite must leave a graph that verifies and compiles, so changes that depend on
    /// each other count as one rewrite. `what` describes it.
    pub fn spend(&mut self, what: impl FnOnce() -> String) -> bool {
        let allowed = self.options.limit.is_none_or(|limit| self.rewrites < limit);
        self.rewrites += usize::from(allowed);
        if allowed && self.options.limit.is_some() {
            self.last = Some(format!("{}: {}", self.pass, what()));
        }
        allowed
    }

    /// Applies a rewrite and returns the nodes added, or `None` if the limit of rewrites is reached.
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

/// The work of one pass and its duration.
#[derive(Clone, Debug, PartialEq)]
pub struct PassReport {
    /// The pass.
    pub pass: &'static str,
    /// Its position in the pipeline.
    pub index: usize,
    /// The number of rewrites.
    pub rewrites: usize,
    /// The number of nodes in the graph after the pass.
    pub nodes: usize,
    /// Wall-clock time.
    pub elapsed: Duration,
}

/// The result of a pipeline, apart from the graph.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// All remarks, in the order in which they were made.
    pub remarks: Vec<Remark>,
    /// One report per pass.
    pub reports: Vec<PassReport>,
    /// The last rewrite, if the number of rewrites was limited.
    pub last: Option<String>,
}

/// A list of passes in the order in which they run.
pub struct Pipeline {
    passes: Vec<&'static dyn Pass>,
}

impl Pipeline {
    /// Creates a pipeline of the passes with these names.
    ///
    /// # Errors
    /// [`PassError::UnknownPass`], which lists all names.
    pub fn new(names: &[&str]) -> Result<Self, PassError> {
        let find = |name: &&str| {
            crate::PASSES.iter().copied().find(|p| p.name() == *name).ok_or_else(|| PassError::UnknownPass {
                got: (*name).to_owned(),
                expected: crate::PASSES.iter().map(|p| p.name()).collect::<Vec<_>>().join(", "),
            })
        };
        Ok(Pipeline { passes: names.iter().map(find).collect::<Result<_, _>>()? })
    }

    /// Runs the passes and calls `after` with the graph after each pass, for dumps and progress reports.
    ///
    /// Builds with debug assertions verify the graph after each pass. In other builds, the caller verifies the final
    /// graph.
    ///
    /// # Errors
    /// The errors of the passes.
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
            run_in_bodies(*pass, graph, &mut cx)?;
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

/// Runs a pass on the bodies of all nodes, and on those inside them, or says that it does not work there.
fn run_in_bodies(pass: &dyn Pass, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
    for id in graph.topo() {
        let node = graph.node(id);
        if !pass.works_in_bodies() {
            let (op, origin) = (node.op.name(), node.origin.clone());
            let names: Vec<&str> = node.op.bodies().into_iter().map(|(name, _)| name).collect();
            for name in names {
                cx.remark(RemarkKind::Missed, &origin, format!("does not work inside `{name}` of {op}"));
            }
        } else if !node.op.bodies().is_empty() {
            for (_, body) in graph.bodies_mut(id) {
                pass.run(body, cx)?;
                run_in_bodies(pass, body, cx)?;
            }
        }
    }
    Ok(())
}

//! Joins nodes: each fusion looks at one node, its root, and at the nodes around it.
//!
//! [`FUSIONS`] lists the fusions, one file each. The pass tries them in order at every node, producers first, until
//! none applies. To fuse a pointwise operator, a fusion moves its steps into the epilogue of its producer, which
//! changes no bit. A fusion that changes bits says `Exact? No` in its documentation.
//!
//! Invariant: each fusion removes a node, a step or an operand, so the loop ends.

mod activation;
mod bias;
mod channel_shuffle;
mod clip;
mod epilogue;
mod one_hot;
mod pad;
mod prologue;
mod residual;
mod scale;
mod softmax;
mod transpose;

use eightfold_ir::{Graph, InferError, Node, Precision, QuantId, Rewrite, Step};

pub(crate) use clip::float_bounds;
pub(crate) use prologue::LARGE;
pub(crate) use residual::exchanged;

use crate::pass::{Pass, PassContext, PassError, RemarkKind};

/// Why a fusion did not apply at a node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Miss {
    /// The node does not match the fusion's pattern.
    Unrelated,
    /// The node nearly matches; a remark tells the user what prevented the fusion.
    Near(String),
}

impl From<InferError> for Miss {
    fn from(error: InferError) -> Self {
        Miss::Near(error.to_string())
    }
}

/// Returns `Miss::Unrelated` if a condition of a fusion's pattern does not hold.
fn require(condition: bool) -> Result<(), Miss> {
    if condition { Ok(()) } else { Err(Miss::Unrelated) }
}

/// Returns true if the steps end in a quantization with other parameters than `quant`.
///
/// The integers of one quantization can be reinterpreted with other parameters when a chain of operators reduces to a
/// clip or to no step. A single node cannot express both quantizations.
fn contradicts(graph: &Graph, steps: &[Step], quant: Option<QuantId>) -> bool {
    let (Some(Step::Quantize { scale, zero_point, .. }), Some(quant)) = (steps.last(), quant) else { return false };
    !graph.qparams(quant).fits_step(*scale, *zero_point)
}

/// A row of [`FUSIONS`].
pub struct Fusion {
    /// The name in remarks. The folder in `testdata/passes/` has the same name.
    pub name: &'static str,
    /// One line that says what the fusion does.
    pub summary: &'static str,
    /// The requested precisions for which the fusion is not done.
    pub not_with: &'static [Precision],
    /// Returns the rewrite that joins `root` with its neighbours.
    pub try_at: fn(&Graph, &Node) -> Result<Rewrite, Miss>,
}

impl Fusion {
    /// Returns the rewrite at `root`, unless the fusion is not done for the requested precision.
    fn attempt(&self, graph: &Graph, root: &Node, precision: Precision) -> Result<Rewrite, Miss> {
        let rewrite = (self.try_at)(graph, root)?;
        if self.not_with.contains(&precision) {
            return Err(Miss::Near(format!("it is not done for {precision}")));
        }
        Ok(rewrite)
    }
}

/// All fusions, in the order in which they are tried at a node.
pub const FUSIONS: &[Fusion] = &[
    transpose::COMPOSE_TRANSPOSES,
    transpose::COMPOSE_RESHAPES,
    transpose::SINK_TRANSPOSE,
    channel_shuffle::CHANNEL_SHUFFLE,
    pad::PAD_WINDOW,
    clip::CLIP,
    activation::ACTIVATION,
    softmax::SOFTMAX,
    one_hot::ONE_HOT,
    residual::RESIDUAL,
    epilogue::EPILOGUE,
    bias::BIAS,
    scale::SCALE,
    prologue::PROLOGUE,
];

/// See the module's documentation.
pub struct Fuse;

impl Pass for Fuse {
    fn name(&self) -> &'static str {
        "fuse"
    }

    fn summary(&self) -> &'static str {
        "join nodes: batch norm, activations, residual adds, padding, transposes"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        fuse_with(FUSIONS, graph, cx);
        Ok(())
    }
}

/// Runs these fusions until none applies, then leaves remarks about those that nearly applied.
pub fn fuse_with(fusions: &[Fusion], graph: &mut Graph, cx: &mut PassContext<'_>) {
    let precision = cx.options.precision;
    loop {
        let mut fired = false;
        for id in graph.topo() {
            // Skips a node that this sweep removed. Tries the fusions again at a node that replaced it; other new nodes
            // wait for the next sweep.
            let mut at = id;
            let fit = |graph: &Graph, at| graph.get(at).and_then(|root| first_fit(fusions, graph, root, precision));
            while let Some((fusion, rewrite)) = fit(graph, at) {
                let origin = graph.node(at).origin.clone();
                let Some(added) = cx.apply(graph, rewrite) else { return };
                fired = true;
                let last = added.last().map(|last| graph.node(*last));
                cx.remark(RemarkKind::Fired, last.map_or(&origin, |node| &node.origin), fusion.name);
                let Some(last) = last else { break };
                at = last.id;
            }
        }
        if !fired {
            break;
        }
    }
    for id in graph.topo() {
        let root = graph.node(id);
        for fusion in fusions {
            if let Err(Miss::Near(reason)) = fusion.attempt(graph, root, precision) {
                cx.remark(RemarkKind::Missed, &root.origin, format!("{}: {reason}", fusion.name));
            }
        }
    }
}

/// The first fusion that applies at `root`, and its rewrite.
fn first_fit<'f>(
    fusions: &'f [Fusion],
    graph: &Graph,
    root: &Node,
    precision: Precision,
) -> Option<(&'f Fusion, Rewrite)> {
    fusions.iter().find_map(|fusion| fusion.attempt(graph, root, precision).ok().map(|rewrite| (fusion, rewrite)))
}

//! Turns `dequantize_linear`, operator, `quantize_linear` into operators on integers.
//!
//! Before: `quantize_linear(conv(dequantize_linear(%xq), dequantize_linear(%wq), dequantize_linear(%bq)) |> relu)`.
//! After: `conv(%xq, %wq, %b) |> cast f32 |> mul %m |> quantize u8 {zero_point, min}`, where
//! `m[c] = (s_x * s_w[c]) / s_y` in f32 in that order, and ReLU is the least integer stored.
//!
//! Each node on floats whose precision is int8 is rewritten on its own, producers first, by the file of its [`QuantRule`];
//! where integers turn out not to hold what it computes, its precision becomes f32. Every rounding of the graph stays, so an
//! imported graph keeps its meaning. What is then left of `quantize_linear` and `dequantize_linear`, at the borders to
//! floats, becomes steps of a `map`, which computes in f32.
//!
//! Exact: within one step of the stored integers. The factors are multiplied beforehand, so a number within rounding of
//! a tie may fall to its other side. Movement, tables and requantization are exact.

mod accumulator;
mod affine;
mod average;
mod bias;
mod border;
mod fixed;
mod pointwise;
mod same_scale;
mod sum;
mod units;

use std::collections::VecDeque;

use eightfold_ir::quant::quantize;
use eightfold_ir::{
    DType, Graph, InferError, Node, NodeId, Op, Precision, QuantId, QuantParams, QuantRule, Rewrite, ValueId,
};

use crate::fold_constants::{fold, is_constant};
use crate::pass::{Pass, PassContext, PassError, RemarkKind};
use crate::quant::dequantized;

/// See the module's documentation.
pub(crate) struct LowerQdq;

const NAME: &str = "lower_qdq";

/// Why a node stays on floats.
type Obstacle = String;

impl Pass for LowerQdq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "turn operators between dequantize_linear and quantize_linear into operators on integers"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        lower_nodes(graph, cx);
        fold_float_constants(graph)?;
        lower_borders(graph, cx)
    }
}

/// Makes floats of dequantized constants that nodes read which stay on floats: their kernels have no other weights. Numbers
/// that are only moved stay integers of a quarter of the bytes, unless each channel has a scale. This is no rewrite of its
/// own, as the graph has no code without it.
fn fold_float_constants(graph: &mut Graph) -> Result<(), PassError> {
    for id in graph.topo() {
        let Some(node) = graph.get(id) else { continue };
        if !matches!(node.op, Op::DequantizeLinear(_)) || !is_constant(graph, node) {
            continue;
        }
        let moves = |user: &NodeId| graph.node(*user).op.quant_rule() == QuantRule::SameScale;
        let one_scale = node.operand(0).and_then(|x| graph.quant(x)).is_some_and(QuantParams::is_per_tensor);
        if !one_scale || !graph.users(node.output()).iter().all(moves) {
            let rewrite = fold(graph, node).map_err(|source| PassError::Eval {
                pass: NAME,
                origin: node.origin.to_string(),
                source,
            })?;
            graph.apply(rewrite);
        }
    }
    Ok(())
}

/// Lowers the nodes that are to be computed in int8 and are still on floats.
fn lower_nodes(graph: &mut Graph, cx: &mut PassContext<'_>) {
    let float = |id: &ValueId| graph.ty(*id).dtype.is_float();
    let waits = |node: &&Node| node.precision == Some(Precision::Int8) && node.operands.iter().flatten().any(float);
    let mut work: VecDeque<NodeId> = graph.nodes().filter(waits).map(|node| node.id).collect();
    while let Some(id) = work.pop_front() {
        let Some(node) = graph.get(id) else { continue };
        let origin = node.origin.clone();
        match lower(graph, node) {
            Ok(Lowered { rewrite, rest }) => {
                let Some(added) = cx.apply(graph, rewrite) else { return };
                // The second half of a node that was cut in two is next: its users wait for it.
                added.iter().rev().filter(|_| rest).take(1).for_each(|id| work.push_front(*id));
            }
            Err(reason) => {
                graph.set_precision(id, Some(Precision::F32));
                cx.remark(RemarkKind::Float, &origin, reason);
            }
        }
    }
}

/// Makes steps of the quantization that is left.
fn lower_borders(graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
    for id in graph.topo() {
        let Some(node) = graph.get(id) else { continue };
        let origin = node.origin.to_string();
        let lowered = border::lower(graph, node).map_err(|source| PassError::Infer {
            pass: NAME,
            origin,
            source: source.into(),
        })?;
        let Some(rewrite) = lowered else { continue };
        let Some(added) = cx.apply(graph, rewrite) else { break };
        added.into_iter().for_each(|id| graph.set_precision(id, Some(Precision::F32)));
    }
    Ok(())
}

/// A node on integers.
struct Lowered {
    rewrite: Rewrite,
    /// Whether the last node added is a `map` on floats that is yet to be lowered.
    rest: bool,
}

impl From<Rewrite> for Lowered {
    fn from(rewrite: Rewrite) -> Self {
        Lowered { rewrite, rest: false }
    }
}

fn lower(graph: &Graph, node: &Node) -> Result<Lowered, Obstacle> {
    match node.op.quant_rule() {
        QuantRule::Affine { weight, axis: _, bias } => affine::lower(graph, node, weight, bias).map(Lowered::from),
        QuantRule::SameScale => same_scale::lower(graph, node),
        QuantRule::AnyScale => sum::lower(graph, node).map(Lowered::from),
        QuantRule::Pointwise => pointwise::lower(graph, node).map(Lowered::from),
        QuantRule::Fixed { .. } => fixed::lower(graph, node).map(Lowered::from),
        QuantRule::FloatOnly => Err(format!("{} has no integer form", node.op.name())),
    }
}

/// Scale and zero point of a whole tensor in an 8-bit type.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scalar {
    storage: DType,
    scale: f32,
    zero_point: i32,
}

impl Scalar {
    fn of(params: &QuantParams) -> Option<Self> {
        let (scale, zero_point) = params.as_per_tensor()?;
        let storage = params.storage;
        matches!(storage, DType::I8 | DType::U8).then_some(Scalar { storage, scale, zero_point })
    }

    /// The least and greatest integer stored.
    fn range(self) -> (i32, i32) {
        self.storage.storage_range().unwrap_or_else(|| unreachable!("{} has 8 bits", self.storage))
    }

    /// Whether a stored integer means exactly this number.
    fn holds(self, number: f32) -> bool {
        let (min, max) = self.range();
        let stored = quantize(number, self.scale, self.zero_point, min, max);
        (stored - self.zero_point) as f32 * self.scale == number
    }
}

/// The 8-bit integers behind a value that `dequantize_linear` yields, one scale for all of them.
fn stored(graph: &Graph, value: ValueId) -> Option<(ValueId, Scalar)> {
    let (stored, params) = dequantized(graph, value)?;
    Some((stored, Scalar::of(params)?))
}

/// [`stored`] of an operand that must be there.
fn stored_operand(graph: &Graph, node: &Node, index: usize) -> Result<(ValueId, Scalar), Obstacle> {
    let id = node.operand(index).ok_or_else(|| format!("operand {index} is left out"))?;
    stored(graph, id).ok_or_else(|| format!("operand {index} is not dequantized from 8 bits per tensor"))
}

/// Where the result of a node goes.
enum Target {
    /// Into 8-bit integers alone: the quantized value, its parameters.
    Stored(ValueId, QuantId, Scalar),
    /// Into whatever reads the float.
    Float(ValueId),
}

impl Target {
    /// Where the result of `node` goes.
    fn of(graph: &Graph, node: &Node) -> Self {
        let y = node.output();
        let quantized = graph.single_user(y).filter(|u| matches!(u.op, Op::QuantizeLinear(_)) && u.epilogue.is_empty());
        let found = quantized.and_then(|user| {
            let id = graph.ty(user.output()).quant?;
            Some(Target::Stored(user.output(), id, Scalar::of(graph.qparams(id))?))
        });
        found.unwrap_or(Target::Float(y))
    }

    /// The value that the lowered node stands in for.
    fn value(&self) -> ValueId {
        match self {
            Target::Stored(value, ..) | Target::Float(value) => *value,
        }
    }

    /// The parameters of the integers stored.
    fn scalar(&self) -> Option<Scalar> {
        match self {
            Target::Stored(_, _, scalar) => Some(*scalar),
            Target::Float(_) => None,
        }
    }

    /// The quantization in the type of the lowered node's result.
    fn quant(&self) -> Option<QuantId> {
        match self {
            Target::Stored(_, id, _) => Some(*id),
            Target::Float(_) => None,
        }
    }
}

/// A rewrite that puts one node on integers in the place of `node` and of the quantization of its result.
fn replace(
    graph: &Graph,
    mut rewrite: Rewrite,
    node: &Node,
    target: &Target,
    op: impl Into<Op>,
    operands: &[Option<ValueId>],
    steps: Vec<eightfold_ir::Step>,
) -> Result<Rewrite, Obstacle> {
    let epilogue = eightfold_ir::Epilogue::new(steps);
    let y = rewrite.node(graph, &[node.id], op, operands, epilogue, target.quant()).map_err(text)?;
    rewrite.replace(target.value(), y);
    Ok(rewrite)
}

/// What does not fit, for a remark.
fn text(error: InferError) -> Obstacle {
    error.to_string()
}

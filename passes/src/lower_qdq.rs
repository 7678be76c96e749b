//! Replaces `dequantize_linear`, operator, `quantize_linear` by operators on integers.
//!
//! Before: `quantize_linear(conv(dequantize_linear(%xq), dequantize_linear(%wq), dequantize_linear(%bq)) |> relu)`.
//! After: `conv(%xq, %wq, %b) |> cast f32 |> mul %m |> quantize u8 {zero_point, min}`, where `m[c] = (s_x * s_w[c]) /
//! s_y` in f32 in this order. ReLU becomes the lower bound `min` of the stored integers.
//!
//! Each float node with the precision int8 is rewritten on its own, producers first, by the module of its
//! [`QuantRule`]. If integers cannot hold the computation, the node's precision becomes f32. Every rounding in the
//! graph is kept, so an imported graph keeps its meaning. The remaining `quantize_linear` and `dequantize_linear`, next
//! to float nodes, become steps of a `map` in f32.
//!
//! Exact: within one step of the stored integers. The factors are multiplied at compile time, so a number close to a
//! tie may round to the other side. Movements, tables and requantization are exact.

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

/// Why a node stays in float.
type Obstacle = String;

impl Pass for LowerQdq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "turn operators between dequantize_linear and quantize_linear into operators on integers"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        lower_nodes(graph, cx);
        fold_float_constants(graph)?;
        lower_borders(graph, cx)
    }
}

/// Dequantizes constants that float nodes read, because float kernels have only float weights. Constants with one scale
/// that are only moved stay integers, which need a quarter of the bytes. These changes do not count as rewrites,
/// because the graph does not compile without them.
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

/// Lowers the float nodes with the precision int8.
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
                // The second half of a split node is next, because its users depend on it.
                added.iter().rev().filter(|_| rest).take(1).for_each(|id| work.push_front(*id));
            }
            Err(reason) => {
                graph.set_precision(id, Some(Precision::F32));
                cx.remark(RemarkKind::Float, &origin, reason);
            }
        }
    }
}

/// Replaces the remaining `quantize_linear` and `dequantize_linear` by steps.
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

/// The result of lowering one node.
struct Lowered {
    rewrite: Rewrite,
    /// Whether the last new node is a float `map` that must be lowered too.
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

/// The per-tensor scale and zero point of an 8-bit tensor.
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

    /// Returns the least and the greatest stored integer.
    fn range(self) -> (i32, i32) {
        self.storage.storage_range().unwrap_or_else(|| unreachable!("{} has 8 bits", self.storage))
    }

    /// Returns true if a stored integer represents this number exactly.
    fn holds(self, number: f32) -> bool {
        let (min, max) = self.range();
        let stored = quantize(number, self.scale, self.zero_point, min, max);
        (stored - self.zero_point) as f32 * self.scale == number
    }
}

/// Returns the 8-bit integers that `dequantize_linear` reads to produce `value`, if they have one scale.
fn stored(graph: &Graph, value: ValueId) -> Option<(ValueId, Scalar)> {
    let (stored, params) = dequantized(graph, value)?;
    Some((stored, Scalar::of(params)?))
}

/// Like [`stored`], for an operand that must exist.
fn stored_operand(graph: &Graph, node: &Node, index: usize) -> Result<(ValueId, Scalar), Obstacle> {
    let id = node.operand(index).ok_or_else(|| format!("operand {index} is missing"))?;
    stored(graph, id).ok_or_else(|| format!("operand {index} is not dequantized from 8 bits per tensor"))
}

/// The destination of a node's result.
enum Target {
    /// Only 8-bit integers: the quantized value and its parameters.
    Stored(ValueId, QuantId, Scalar),
    /// At least one reader of the float value.
    Float(ValueId),
}

impl Target {
    /// Returns the destination of the result of `node`.
    fn of(graph: &Graph, node: &Node) -> Self {
        let y = node.output();
        let quantized = graph.single_user(y).filter(|u| matches!(u.op, Op::QuantizeLinear(_)) && u.epilogue.is_empty());
        let found = quantized.and_then(|user| {
            let id = graph.ty(user.output()).quant?;
            Some(Target::Stored(user.output(), id, Scalar::of(graph.qparams(id))?))
        });
        found.unwrap_or(Target::Float(y))
    }

    /// Returns the value that the lowered node replaces.
    fn value(&self) -> ValueId {
        match self {
            Target::Stored(value, ..) | Target::Float(value) => *value,
        }
    }

    /// Returns the parameters of the stored integers, if the result is stored as integers.
    fn scalar(&self) -> Option<Scalar> {
        match self {
            Target::Stored(_, _, scalar) => Some(*scalar),
            Target::Float(_) => None,
        }
    }

    /// Returns the quantization in the type of the lowered node's result.
    fn quant(&self) -> Option<QuantId> {
        match self {
            Target::Stored(_, id, _) => Some(*id),
            Target::Float(_) => None,
        }
    }
}

/// Returns a rewrite that replaces `node`, and the quantization of its result, by one node on integers.
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

/// Converts an error to the text of a remark.
fn text(error: InferError) -> Obstacle {
    error.to_string()
}

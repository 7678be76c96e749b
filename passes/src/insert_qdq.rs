//! Quantizes a float graph from a calibration table: inserts `quantize_linear` and `dequantize_linear`.
//!
//! Before: `%y = conv(%x, %w, %b) |> relu`, and users of `%y`.
//! After: `%q = quantize_linear(%x)`, `%d = dequantize_linear(%q)`, `%y' = conv(%d, dequantize_linear(%wq),
//! dequantize_linear(%bq)) |> relu`, and users of `dequantize_linear(quantize_linear(%y'))`.
//!
//! [`plan`] decides which nodes compute on integers, and with which parameters. This module applies the plan to the
//! graph. It asks for the [`QuantRule`] of an operator and names no operator.
//!
//! - Weights become symmetric i8 without -128, or the type in the options, with one scale per channel or per tensor.
//! - Activations get the type and symmetry in the options.
//! - Biases become i32 with the scale `s_x * s_w`. If the table has the mean of each input channel, the bias also
//!   compensates the rounding error of the weights ([`bias_correction`]).
//! - Tensors that are already quantized stay as they are.
//!
//! Nodes that stay in float get the precision `f32` and a remark with the reason; all nodes of one normalization share
//! a remark. Two kinds of nodes stay undecided: nodes whose operands are all quantized now, because a later pass may
//! still compute them on integers, and lookups in large tables, because [`quantize_tables`](crate::quantize_tables)
//! decides about them.
//!
//! Exact: no. This pass introduces the rounding to 8 bits. Later passes differ from its output by at most one step.

mod bias_correction;
mod effective_range;
mod noise_gain;
mod normalization;
mod plan;
mod sensitive;
pub(crate) mod weight_scales;

use std::collections::BTreeMap;

use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::quantize_linear::QuantizeLinear;
use eightfold_ir::quant::quantize;
use eightfold_ir::{
    DType, Epilogue, Graph, InferError, Node, NodeId, Origin, Precision, QuantId, QuantParams, QuantRule, Rewrite,
    Shape, Tensor, ValueId,
};

use crate::channel::{f32_constant, summed_axis, weight_axis};
use crate::pass::{Pass, PassContext, PassError, PassOptions, RemarkKind, WeightScales, WeightType};
use crate::quant::{KEPT, dequantized, obstacles};
use crate::quantize_tables::large_table;
pub use bias_correction::channel_axes;
use normalization::Normalization;
use plan::Plan;
pub(crate) use plan::quantized_nodes;
pub use plan::quantized_tensors;
use weight_scales::{entries, weight_params};

/// See the module's documentation.
pub(crate) struct InsertQdq;

const NAME: &str = "insert_qdq";

impl Pass for InsertQdq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "quantize tensors with the ranges of a calibration table"
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let options = cx.options;
        let Some(table) = &options.calibration else { return Ok(()) };
        if options.precision != Precision::Int8 {
            return Ok(());
        }
        if !matches!(options.activation_storage, DType::I8 | DType::U8) {
            return Err(PassError::Storage { got: options.activation_storage });
        }
        let plan = Plan::of_table(graph, options, table);
        let params: BTreeMap<ValueId, QuantId> =
            plan.params.iter().map(|(value, params)| (*value, graph.add_qparams(params.clone()))).collect();
        let means = match options.bias_correction {
            true => bias_correction::means(graph, table),
            false => BTreeMap::new(),
        };
        // The channel means have been read. No later pass looks up channels by their position in the model.
        let ordered = graph.values().filter(|(_, value)| value.channel_order.is_some());
        let ordered: Vec<ValueId> = ordered.map(|(id, _)| id).collect();
        ordered.into_iter().for_each(|id| graph.set_channel_order(id, None));
        let PassOptions { weight_scales, weight_type, reduce_range, .. } = *options;
        let done = BTreeMap::new();
        let mut insertion = Insertion { params, weight_scales, weight_type, reduce_range, means, done };
        for id in plan.int8 {
            let origin = graph.node(id).origin.to_string();
            if !cx.spend(|| format!("around {origin}")) {
                break;
            }
            insertion.rewrite(graph, id).map_err(|source| PassError::Infer {
                pass: NAME,
                origin,
                source: source.into(),
            })?;
        }
        keep_in_float(graph, cx, &plan.float, &plan.normalizations);
        Ok(())
    }
}

/// Sets the precision of the nodes that stay in float to f32, and leaves a remark with the reason.
fn keep_in_float(
    graph: &mut Graph,
    cx: &mut PassContext<'_>,
    reasons: &BTreeMap<NodeId, String>,
    normalizations: &[Normalization],
) {
    let members =
        |(index, n): (usize, &Normalization)| n.members.iter().map(move |id| (*id, index)).collect::<Vec<_>>();
    let members: BTreeMap<NodeId, usize> = normalizations.iter().enumerate().flat_map(members).collect();
    // The origin of all nodes of a normalization, for its one remark.
    let mut origins: BTreeMap<usize, Origin> = BTreeMap::new();
    for (id, obstacle) in obstacles(graph, cx.options) {
        let (Some(_), Some(reason)) = (obstacle, reasons.get(&id)) else { continue };
        let node = graph.node(id);
        if reason != KEPT && large_table(graph, node).is_some() {
            continue;
        }
        match members.get(&id).filter(|_| reason != KEPT) {
            Some(index) => origins.entry(*index).or_default().unite(&node.origin),
            None => cx.remark(RemarkKind::Float, &node.origin, reason.as_str()),
        }
        graph.set_precision(id, Some(Precision::F32));
    }
    for (index, origin) in origins {
        cx.remark(RemarkKind::Float, &origin, normalizations[index].reason.as_str());
    }
}

/// Applies a plan to the graph, producers first.
struct Insertion {
    params: BTreeMap<ValueId, QuantId>,
    weight_scales: WeightScales,
    weight_type: WeightType,
    reduce_range: bool,
    /// For each node whose bias is corrected, the mean of each input channel.
    means: BTreeMap<NodeId, Vec<f32>>,
    /// For tensors that float nodes still read directly, the dequantized form.
    done: BTreeMap<ValueId, ValueId>,
}

impl Insertion {
    /// Makes one node read dequantized operands, and makes all users of its result read the dequantized result.
    fn rewrite(&mut self, graph: &mut Graph, id: NodeId) -> Result<(), InferError> {
        let node = graph.node(id).clone();
        for value in node.uses() {
            self.operand(graph, &node, value)?;
        }
        let read = |value: ValueId| self.done.get(&value).copied().unwrap_or(value);
        let mut operands: Slots = node.operands.iter().map(|o| o.map(read)).collect();
        if let QuantRule::Affine { weight, bias, .. } = node.op.quant_rule() {
            let weights = self.weights(graph, &node, operands[0], &mut operands, (weight, bias))?;
            Self::bias(graph, &node, &weights, &mut operands, bias)?;
        }
        let mut epilogue = node.epilogue.clone();
        epilogue.steps.iter_mut().for_each(|step| step.map_values(read));
        let mut rewrite = Rewrite::new(graph, NAME);
        let result = rewrite.node(graph, &[id], node.op.clone(), &operands, epilogue, None)?;
        let Some(&params) = self.params.get(&node.output()) else {
            rewrite.replace(node.output(), result);
            graph.apply(rewrite);
            return Ok(());
        };
        let (quantized, dequantized) = pair(graph, &mut rewrite, &[id], result, params)?;
        rewrite.replace(node.output(), dequantized);
        graph.apply(rewrite);
        // The float tensor will disappear, so the quantized tensor takes its name.
        graph.move_name(dequantized, quantized);
        Ok(())
    }

    /// Quantizes an activation that a float node or the caller provides, unless it is already quantized.
    fn operand(&mut self, graph: &mut Graph, node: &Node, value: ValueId) -> Result<(), InferError> {
        let Some(&params) = self.params.get(&value) else { return Ok(()) };
        if self.done.contains_key(&value) {
            return Ok(());
        }
        if let Some(tensor) = f32_constant(graph, value).cloned() {
            let params = graph.qparams(params).clone();
            let (min, max) = params.storage.integer_range().expect("an 8-bit type");
            let name = quantized_name(graph, value);
            let stored = integers(&tensor, &params, (min as i32, max as i32));
            let dequantized = constant(graph, node, &name, tensor.shape(), &stored, params)?;
            self.done.insert(value, dequantized);
            return Ok(());
        }
        let mut rewrite = Rewrite::new(graph, NAME);
        let from: Vec<NodeId> = graph.producer(value).map(|p| p.id).into_iter().collect();
        let from = if from.is_empty() { vec![node.id] } else { from };
        let (quantized, dequantized) = pair(graph, &mut rewrite, &from, value, params)?;
        graph.apply(rewrite);
        if let Some(name) = graph.value(value).name.clone() {
            graph.set_name(quantized, &format!("{name}_quantized"));
        }
        self.done.insert(value, dequantized);
        Ok(())
    }

    /// Quantizes constant weights, unless they are already quantized.
    fn weights(
        &self,
        graph: &mut Graph,
        node: &Node,
        x: Option<ValueId>,
        operands: &mut Slots,
        (weight, bias): (usize, usize),
    ) -> Result<Weights, InferError> {
        let x_scale = x.and_then(|x| dequantized(graph, x)).map_or(1.0, |(_, q)| q.scale[0]);
        let w = operands[weight].expect("an operand that inference requires");
        let Some(tensor) = f32_constant(graph, w).cloned() else {
            let scales = dequantized(graph, w).map_or(vec![], |(_, q)| q.scale.iter().map(|s| x_scale * s).collect());
            return Ok(Weights { scales, shift: None });
        };
        let axis = match self.weight_scales {
            WeightScales::PerChannel => weight_axis(node.op.quant_rule(), tensor.shape()),
            WeightScales::PerTensor => None,
        };
        let biases = operands.get(bias).copied().flatten().and_then(|b| f32_constant(graph, b)?.to_f32s());
        let QuantRule::Affine { axis: outputs, .. } = node.op.quant_rule() else {
            unreachable!("only sums of products have weights")
        };
        let inputs = self.reduce_range.then(|| summed_axis(outputs));
        let params = weight_params(&tensor, self.weight_type, axis, inputs, &biases.unwrap_or_default(), x_scale);
        let scales = params.scale.iter().map(|s| x_scale * s).collect();
        let (zero_point, limit) = (self.weight_type.zero_point(), self.weight_type.limit());
        let stored = integers(&tensor, &params, (zero_point - limit, zero_point + limit));
        let shift = self.means.get(&node.id).and_then(|means| {
            bias_correction::shift(&rounding(&tensor, &params, &stored), tensor.shape(), outputs, means)
        });
        let name = quantized_name(graph, w);
        operands[weight] = Some(constant(graph, node, &name, tensor.shape(), &stored, params)?);
        Ok(Weights { scales, shift })
    }

    /// Corrects a constant bias by the weights' mean rounding error, or adds a bias if there is none, and quantizes it
    /// to i32 with the scale `s_x * s_w`. The bias stays as it is if it is already quantized, or if it does not fit i32
    /// at this scale.
    fn bias(
        graph: &mut Graph,
        node: &Node,
        weights: &Weights,
        operands: &mut Slots,
        bias: usize,
    ) -> Result<(), InferError> {
        let (name, numbers) = match (operands.get(bias).copied().flatten(), &weights.shift) {
            (None, None) => return Ok(()),
            (None, Some(shift)) => {
                let name = graph.value(node.output()).name.as_ref().map(|n| format!("{n}_bias")).unwrap_or_default();
                (name, shift.iter().map(|x| -x).collect())
            }
            (Some(b), shift) => {
                let Some(numbers) = f32_constant(graph, b).and_then(Tensor::to_f32s) else { return Ok(()) };
                let shift = shift.iter().flatten().copied().chain(std::iter::repeat(0.0));
                (quantized_name(graph, b), numbers.iter().zip(shift).map(|(b, shift)| b - shift).collect())
            }
        };
        let numbers: Vec<f32> = numbers;
        // The scale of weights that the model quantized may be too small for the bias.
        let scale = |channel: usize| weights.scales[channel % weights.scales.len()];
        let fits = |(channel, b): (usize, &f32)| (b / scale(channel)).abs() < i32::MAX as f32;
        if !numbers.iter().enumerate().all(fits) {
            return Ok(());
        }
        let params = match weights.scales.as_slice() {
            [scale] => QuantParams::per_tensor(DType::I32, *scale, 0),
            scales => QuantParams::per_channel_symmetric(DType::I32, 0, scales.to_vec()),
        };
        let tensor = Tensor::f32(&[numbers.len()], &numbers);
        let stored = integers(&tensor, &params, (i32::MIN, i32::MAX));
        operands.resize(operands.len().max(bias + 1), None);
        operands[bias] = Some(constant(graph, node, &name, tensor.shape(), &stored, params)?);
        Ok(())
    }
}

/// Properties of the weights that the bias depends on.
struct Weights {
    /// The scale `s_x * s_w` of each output channel's accumulator, or one scale for all.
    scales: Vec<f32>,
    /// The mean error that the rounded weights add to each output channel.
    shift: Option<Vec<f32>>,
}

type Slots = smallvec::SmallVec<[Option<ValueId>; 4]>;

/// Adds `quantize_linear` and `dequantize_linear` after a value. Returns both results.
fn pair(
    graph: &Graph,
    rewrite: &mut Rewrite,
    from: &[NodeId],
    value: ValueId,
    params: QuantId,
) -> Result<(ValueId, ValueId), InferError> {
    let to = graph.qparams(params).storage;
    let q = rewrite.node(graph, from, QuantizeLinear { to }, &[Some(value)], Epilogue::none(), Some(params))?;
    let d = rewrite.node(graph, from, DequantizeLinear {}, &[Some(q)], Epilogue::none(), None)?;
    Ok((q, d))
}

/// Returns the name for the quantized form of a constant.
pub(crate) fn quantized_name(graph: &Graph, id: ValueId) -> String {
    graph.value(id).name.as_ref().map(|n| format!("{n}_quantized")).unwrap_or_default()
}

/// Quantizes a constant with these parameters and clamps the integers to this range.
pub(crate) fn integers(tensor: &Tensor, params: &QuantParams, (min, max): (i32, i32)) -> Vec<i32> {
    let (numbers, entry) = (tensor.elements(), entries(tensor.shape(), params));
    let stored = |i| quantize(numbers.float(i), params.scale[entry(i)], params.zero_point[entry(i)], min, max);
    (0..tensor.shape().elements()).map(stored).collect()
}

/// Returns the rounding error of each element: dequantized integer minus original number.
fn rounding<'a>(tensor: &'a Tensor, params: &'a QuantParams, integers: &'a [i32]) -> impl Fn(usize) -> f32 + 'a {
    let (numbers, entry) = (tensor.elements(), entries(tensor.shape(), params));
    let real = move |i: usize| (integers[i] - params.zero_point[entry(i)]) as f32 * params.scale[entry(i)];
    move |i| real(i) - numbers.float(i)
}

/// Adds a constant with these integers and a `dequantize_linear` that reads it. Returns the dequantized value.
fn constant(
    graph: &mut Graph,
    node: &Node,
    name: &str,
    shape: &Shape,
    integers: &[i32],
    params: QuantParams,
) -> Result<ValueId, InferError> {
    let size = params.storage.byte_size();
    let bytes: Vec<u8> = match size {
        1 => integers.iter().map(|stored| *stored as u8).collect(),
        _ => integers.iter().flat_map(|stored| i64::from(*stored).to_le_bytes().into_iter().take(size)).collect(),
    };
    let integers = Tensor::new(params.storage, shape.clone(), bytes).expect("one for each element");
    let params = graph.add_qparams(params);
    let mut rewrite = Rewrite::new(graph, NAME);
    let q = rewrite.constant(name, integers, Some(params));
    let d = rewrite.node(graph, &[node.id], DequantizeLinear {}, &[Some(q)], Epilogue::none(), None)?;
    graph.apply(rewrite);
    Ok(d)
}

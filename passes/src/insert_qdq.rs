//! Quantizes a float graph from a calibration table: puts `quantize_linear` and `dequantize_linear` on tensors.
//!
//! Before: `%y = conv(%x, %w, %b) |> relu`, and users of `%y`.
//! After: `%q = quantize_linear(%x)`, `%d = dequantize_linear(%q)`, `%y' = conv(%d, dequantize_linear(%wq),
//! dequantize_linear(%bq)) |> relu`, and users of `dequantize_linear(quantize_linear(%y'))`.
//!
//! [`plan`] decides which nodes compute on integers and with which parameters; this module writes it into the graph. It
//! goes by [`QuantRule`] and names no operator. Weights become symmetric i8 without -128, or what the options ask for, per
//! channel or per tensor; activations what the options ask for; biases i32 at the product of the scales of operand and
//! weights. Where the table
//! knows the mean of each input channel, the bias takes up what rounding the weights shifts ([`bias_correction`]).
//! Tensors that carry quantization already are left as they are.
//!
//! What stays in floats gets the precision `f32` and a remark that says why, one for all nodes of a normalization. Two kinds of
//! nodes that the plan leaves in floats stay undecided: those all of whose operands are quantized now, which may read the
//! integers and compute on what they mean, and rows of large tables, about which
//! [`quantize_tables`](crate::quantize_tables) decides.
//!
//! Exact: no. This is where rounding to 8 bits comes in; all later passes keep to it within one step.

mod bias_correction;
mod noise_gain;
mod normalization;
mod plan;
mod sensitive;
mod told_apart;
pub(crate) mod weight_scales;

use std::collections::BTreeMap;

use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::quantize_linear::QuantizeLinear;
use eightfold_ir::quant::quantize;
use eightfold_ir::{
    DType, Epilogue, Granularity, Graph, InferError, Node, NodeId, Origin, Precision, QuantId, QuantParams, QuantRule,
    Rewrite, Shape, Tensor, ValueId,
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
pub(crate) use sensitive::is_wide;
use weight_scales::weight_params;

/// See the module's documentation.
pub(crate) struct InsertQdq;

const NAME: &str = "insert_qdq";

/// The greatest magnitude of a quantized bias, so that the sum of products still has half the range of an i32.
const BIAS_LIMIT: f32 = (1 << 30) as f32;

impl Pass for InsertQdq {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "quantize tensors by the ranges of a calibration table"
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
        // Nothing is looked up by channel any more.
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

/// Gives f32 to the nodes that stay in floats, and tells why.
fn keep_in_float(
    graph: &mut Graph,
    cx: &mut PassContext<'_>,
    reasons: &BTreeMap<NodeId, String>,
    normalizations: &[Normalization],
) {
    let members =
        |(index, n): (usize, &Normalization)| n.members.iter().map(move |id| (*id, index)).collect::<Vec<_>>();
    let members: BTreeMap<NodeId, usize> = normalizations.iter().enumerate().flat_map(members).collect();
    // Where the nodes of each normalization came from: one remark tells about all.
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

/// The writing of a plan into the graph, producers first.
struct Insertion {
    params: BTreeMap<ValueId, QuantId>,
    weight_scales: WeightScales,
    weight_type: WeightType,
    reduce_range: bool,
    /// The mean of each input channel of nodes whose bias is to be corrected.
    means: BTreeMap<NodeId, Vec<f32>>,
    /// The dequantized form of tensors that float nodes go on reading as they are.
    done: BTreeMap<ValueId, ValueId>,
}

impl Insertion {
    /// Makes one node read dequantized operands, and all users of its result the dequantized result.
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
        // The integers are what remains of the tensor once its float form is gone.
        graph.move_name(dequantized, quantized);
        Ok(())
    }

    /// Quantizes an activation that a float node or the caller provides, unless that is done.
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

    /// Quantizes constant weights, unless they are quantized already.
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

    /// Takes the weights' shift from a constant bias, or makes one that does, and quantizes it to i32 at the scales of
    /// the sums; one that is quantized already stays, and so does one that is no i32 at these scales.
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
        // Weights that the model quantized itself may leave no room for the bias.
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

/// What the bias of a node has to know about its weights.
struct Weights {
    /// The scale of each output channel's sums, or the one of all.
    scales: Vec<f32>,
    /// What rounding them adds to each output channel on average.
    shift: Option<Vec<f32>>,
}

type Slots = smallvec::SmallVec<[Option<ValueId>; 4]>;

/// `quantize_linear` and `dequantize_linear` behind a value.
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

/// The name of a constant's quantized form.
fn quantized_name(graph: &Graph, id: ValueId) -> String {
    graph.value(id).name.as_ref().map(|n| format!("{n}_quantized")).unwrap_or_default()
}

/// The integers that a constant becomes with these parameters, clamped to this range.
fn integers(tensor: &Tensor, params: &QuantParams, (min, max): (i32, i32)) -> Vec<i32> {
    let (numbers, entry) = (tensor.elements(), entries(tensor.shape(), params));
    let stored = |i| quantize(numbers.float(i), params.scale[entry(i)], params.zero_point[entry(i)], min, max);
    (0..tensor.shape().elements()).map(stored).collect()
}

/// What has been added to each number of a constant that became these integers.
fn rounding<'a>(tensor: &'a Tensor, params: &'a QuantParams, integers: &'a [i32]) -> impl Fn(usize) -> f32 + 'a {
    let (numbers, entry) = (tensor.elements(), entries(tensor.shape(), params));
    let real = move |i: usize| (integers[i] - params.zero_point[entry(i)]) as f32 * params.scale[entry(i)];
    move |i| real(i) - numbers.float(i)
}

/// The dequantized form of a constant of these integers.
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

/// The entry of per-tensor or per-channel parameters that holds for each row-major position.
fn entries(shape: &Shape, params: &QuantParams) -> impl Fn(usize) -> usize + use<> {
    let (stride, extent) = match params.granularity {
        Granularity::PerChannel { axis } => (shape.strides()[axis], shape[axis]),
        _ => (1, 1),
    };
    move |i| i / stride % extent
}

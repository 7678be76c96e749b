//! Stores the weights of convolutions and matrix products on floats as 8-bit integers (weight-only quantization).
//!
//! Before: `%y = conv(%x, %w, %b) in weight-int8 |> relu`, with constant weights `%w` of type f32.
//! After: `%y = conv(%x, %wq, %b) in weight-int8 |> relu`, with `%wq` of type i8, symmetric, with one scale per output
//! channel or one for the tensor. The input, the products and the steps stay in f32.
//!
//! Weights that the model stores as symmetric integers of 8 or 4 bits, `%w = dequantize_linear(%wq)`, keep their integers
//! and scales; u8 around 128 and u4 around 8 become i8 and i4. A `dequantize_linear` of constants that remains for other
//! readers is computed here.
//!
//! Kernels multiply a finished sum by the scale of its channel. So a sum of integers times inputs, which is greater than the
//! result by the reciprocal of the scale, must not exceed the range of f32.
//!
//! The artifact has a quarter of the bytes of the weights, and a product whose weights come from memory, such as that of
//! one token, takes less time. Products of many rows take about as long: a converted weight serves several rows.
//!
//! Exact: no. Weights are rounded to 8 bits.

use std::collections::BTreeMap;

use eightfold_ir::{
    DType, Granularity, Graph, InferError, Node, NodeId, Op, Precision, QuantParams, QuantRule, Rewrite, Tensor,
    ValueId,
};

use crate::channel::f32_constant;
use crate::fold_constants::{fold, is_constant};
use crate::insert_qdq::weight_scales::weight_params;
use crate::insert_qdq::{integers, quantized_name};
use crate::pass::{Pass, PassContext, PassError, PassOptions, WeightScales, WeightType};
use crate::quant::dequantized;

/// See the module's documentation.
pub(crate) struct QuantizeWeights;

const NAME: &str = "quantize_weights";

impl Pass for QuantizeWeights {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "store weights of products on floats as 8-bit integers"
    }

    fn works_in_bodies(&self) -> bool {
        true
    }

    fn run(&self, graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
        let wanted: Vec<NodeId> =
            graph.nodes().filter(|node| node.precision == Some(Precision::WeightInt8)).map(|node| node.id).collect();
        if !wanted.is_empty() && cx.options.weight_type == WeightType::U8 {
            return Err(PassError::WeightType { got: cx.options.weight_type.name() });
        }
        // For each float tensor, its quantized form. Readers with different axes of channels are rare and quantize again.
        let mut quantized: BTreeMap<(ValueId, Option<usize>), ValueId> = BTreeMap::new();
        for id in wanted {
            let node = graph.node(id).clone();
            let rewrite = rewrite(graph, &node, cx.options, &mut quantized);
            let rewrite = rewrite.map_err(|source| PassError::Infer {
                pass: NAME,
                origin: node.origin.to_string(),
                source: source.into(),
            })?;
            if let Some(rewrite) = rewrite
                && cx.apply(graph, rewrite).is_none()
            {
                return Ok(());
            }
        }
        fold_the_rest(graph, cx)
    }
}

/// Returns a rewrite that makes the node read quantized weights; `None` if it already does.
fn rewrite(
    graph: &mut Graph,
    node: &Node,
    options: &PassOptions,
    quantized: &mut BTreeMap<(ValueId, Option<usize>), ValueId>,
) -> Result<Option<Rewrite>, InferError> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else {
        unreachable!("a valid graph gives {} no weights of 8 bits", node.op.name())
    };
    let w = node.operand(weight).unwrap_or_else(|| unreachable!("a sum has factors"));
    let stored = dequantized(graph, w).map(|(stored, params)| (stored, params.clone()));
    let float = f32_constant(graph, w).map(|tensor| {
        let axis = scale_axis(node, tensor.shape().len());
        (tensor, (options.weight_scales == WeightScales::PerChannel).then_some(axis))
    });
    // A text can give the precision to a node whose stored weights have another form: these become floats.
    if stored.as_ref().is_some_and(|(_, params)| unfit(params, scale_axis(node, graph.ty(w).shape.len())).is_some()) {
        return Ok(None);
    }
    // The constant is added to the graph by the rewrite of its first reader.
    let mut rewrite = Rewrite::new(graph, NAME);
    let weights = match (stored, float) {
        (Some((stored, params)), _) if matches!(params.storage, DType::I8 | DType::I4) => stored,
        (Some((stored, params)), _) => match quantized.get(&(stored, None)) {
            Some(weights) => *weights,
            None => {
                let (tensor, params) = centered(graph, stored, params);
                let (name, params) = (quantized_name(graph, w), graph.add_qparams(params));
                let weights = rewrite.constant(&name, tensor, Some(params));
                quantized.insert((stored, None), weights);
                weights
            }
        },
        (None, None) => return Ok(None),
        (None, Some((tensor, axis))) => match quantized.get(&(w, axis)) {
            Some(weights) => *weights,
            None => {
                let params = weight_params(tensor, options.weight_type, axis, None, &[], 1.0);
                let limit = options.weight_type.limit();
                let stored = integers(tensor, &params, (-limit, limit));
                let bytes: Vec<u8> = stored.into_iter().map(|stored| stored as i8 as u8).collect();
                let tensor = Tensor::new(DType::I8, tensor.shape().clone(), bytes).expect("a byte for each element");
                let (name, params) = (quantized_name(graph, w), graph.add_qparams(params));
                let weights = rewrite.constant(&name, tensor, Some(params));
                quantized.insert((w, axis), weights);
                weights
            }
        },
    };
    let mut operands = node.operands.clone();
    operands[weight] = Some(weights);
    let quant = graph.ty(node.output()).quant;
    let y = rewrite.node(graph, &[node.id], node.op.clone(), &operands, node.epilogue.clone(), quant)?;
    rewrite.replace(node.output(), y);
    Ok(Some(rewrite))
}

/// Returns the axis of the output channels in weights of this rank.
pub(crate) fn scale_axis(node: &Node, rank: usize) -> usize {
    match node.op.quant_rule() {
        QuantRule::Affine { axis: 0, .. } => 0,
        _ => rank - 1,
    }
}

/// Returns why products of floats cannot read integers of these parameters. `axis` is that of the output channels.
pub(crate) fn unfit(quant: &QuantParams, axis: usize) -> Option<&'static str> {
    let Some(zero) = middle(quant.storage) else { return Some("are stored in more than 8 bits") };
    match quant.granularity {
        Granularity::Blocked { .. } => Some("have a scale for each block"),
        Granularity::PerChannel { axis: other } if other != axis => Some("have scales along another axis"),
        _ => quant.zero_point.iter().any(|zero_point| *zero_point != zero).then_some("are not symmetric"),
    }
}

/// Returns the integer in the middle of a type of at most 8 bits, which symmetric weights represent zero by.
fn middle(storage: DType) -> Option<i32> {
    match storage {
        DType::I8 | DType::I4 => Some(0),
        DType::U8 => Some(128),
        DType::U4 => Some(8),
        _ => None,
    }
}

/// Returns unsigned weights, whose zero point is the middle of their type, as signed ones of the same scales.
fn centered(graph: &Graph, stored: ValueId, params: QuantParams) -> (Tensor, QuantParams) {
    let storage = if params.storage == DType::U4 { DType::I4 } else { DType::I8 };
    let (tensor, zero) =
        (graph.constant(stored).expect("checked when the precision was assigned"), middle(params.storage));
    let (elements, zero) = (tensor.elements(), i64::from(zero.unwrap_or(0)));
    let numbers: Vec<i64> = (0..tensor.shape().elements()).map(|index| elements.int(index) - zero).collect();
    let zero_point = vec![0; params.scale.len()].into();
    (Tensor::int(storage, tensor.shape(), &numbers), QuantParams { storage, zero_point, ..params })
}

/// Computes each `dequantize_linear` of constants that a float node still reads.
fn fold_the_rest(graph: &mut Graph, cx: &mut PassContext<'_>) -> Result<(), PassError> {
    for id in graph.topo() {
        let Some(node) = graph.get(id) else { continue };
        let is_read = graph.use_count(node.output()) > 0;
        if !is_read || !matches!(node.op, Op::DequantizeLinear(_)) || !is_constant(graph, node) {
            continue;
        }
        let origin = node.origin.to_string();
        let rewrite = fold(graph, node).map_err(|source| PassError::Eval { pass: NAME, origin, source })?;
        if cx.apply(graph, rewrite).is_none() {
            break;
        }
    }
    Ok(())
}

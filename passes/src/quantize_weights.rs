//! Stores the weights of convolutions and matrix products on floats as 8-bit integers (weight-only quantization).
//!
//! Before: `%y = conv(%x, %w, %b) in weight-int8 |> relu`, with constant weights `%w` of type f32.
//! After: `%y = conv(%x, %wq, %b) in weight-int8 |> relu`, with `%wq` of type i8, symmetric, with one scale per output
//! channel or one for the tensor. The input, the products and the steps stay in f32.
//!
//! Weights that the model stores as i8 or i4, `%w = dequantize_linear(%wq)`, keep its integers and scales. A
//! `dequantize_linear` of constants that remains for other readers is computed here.
//!
//! The artifact has a quarter of the bytes of the weights, and a product whose weights come from memory, such as that of
//! one token, takes less time. Products of many rows take about as long: a converted weight serves several rows.
//!
//! Exact: no. Weights are rounded to 8 bits.

use std::collections::BTreeMap;

use eightfold_ir::{DType, Graph, InferError, Node, NodeId, Op, Precision, QuantRule, Rewrite, Tensor, ValueId};

use crate::channel::{f32_constant, weight_axis};
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
    let stored = dequantized(graph, w).map(|(stored, _)| stored);
    let float = f32_constant(graph, w).map(|tensor| (tensor, scale_axis(node, tensor, options)));
    // The constant is added to the graph by the rewrite of its first reader.
    let mut rewrite = Rewrite::new(graph, NAME);
    let weights = match (stored, float) {
        (Some(stored), _) => stored,
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

/// Returns the axis of the weights along which each index has a scale.
fn scale_axis(node: &Node, weights: &Tensor, options: &PassOptions) -> Option<usize> {
    match options.weight_scales {
        WeightScales::PerChannel => weight_axis(node.op.quant_rule(), weights.shape()),
        WeightScales::PerTensor => None,
    }
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

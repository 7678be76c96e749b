//! The rules about quantization.

use super::{Rule, Verifier};
use crate::epilogue::Step;
use crate::graph::Node;
use crate::id::{QuantId, ValueId};
use crate::op::{Op, QuantRule, Types};
use crate::quant::Granularity;
use crate::types::{DType, TensorType};

impl Verifier<'_> {
    /// Checks that the parameters of a value fit its type.
    pub(super) fn quantization(&mut self, id: ValueId) {
        let (graph, ty) = (self.graph, self.graph.ty(id));
        let Some(q) = graph.quant(id) else { return };
        let Some((low, high)) = q.storage.storage_range() else {
            return self.value_error(id, Rule::Storage, "an integer type of at most 32 bits", q.storage.to_string());
        };
        if q.storage != ty.dtype {
            self.value_error(id, Rule::Storage, format!("{} of its qparams", q.storage), ty.dtype.to_string());
        }
        match entries(ty, q.granularity) {
            Ok(expected) => {
                for (of, got) in [("scales", q.scale.len()), ("zero points", q.zero_point.len())] {
                    if got != expected {
                        self.value_error(id, Rule::Entries, format!("{expected} {of}"), got.to_string());
                    }
                }
            }
            Err((expected, got)) => self.value_error(id, Rule::Entries, expected, got),
        }
        if let Some(scale) = q.scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            self.value_error(id, Rule::Scale, "positive, finite scales", format!("{scale:?}"));
        }
        let (low, high) = if q.storage == DType::I32 { (0, 0) } else { (low, high) };
        if let Some(zero_point) = q.zero_point.iter().find(|z| !(low..=high).contains(*z)) {
            let expected = if low == high { low.to_string() } else { format!("{low} to {high}") };
            self.value_error(id, Rule::ZeroPoint, expected, zero_point.to_string());
        }
    }

    /// Checks that the quantization of operands and results fits the operator and its steps.
    pub(super) fn operator_quantization(&mut self, node: &Node, inferred: &Types) {
        let graph = self.graph;
        let output = graph.ty(node.output());
        if matches!(node.op, Op::QuantizeLinear(_)) && output.quant.is_none() {
            self.node_error(node, Rule::Quantized, "a quantized result", output.to_string());
        }
        if node.op.quant_rule() == QuantRule::SameScale
            && let Some(first) = node.operand(0).map(|id| graph.ty(id))
        {
            for operand in node.operands.iter().skip(1).flatten() {
                let ty = graph.ty(*operand);
                if ty.dtype == first.dtype && ty.quant != first.quant {
                    let got = format!("{} for {}", self.quant(ty.quant), self.numbering.value(*operand));
                    self.node_error(node, Rule::SameScale, self.quant(first.quant), got);
                }
            }
            if node.epilogue.is_empty() && inferred[0].quant.is_some() && output.quant != inferred[0].quant {
                self.node_error(node, Rule::SameScale, self.quant(inferred[0].quant), self.quant(output.quant));
            }
        }
        if let (Some(Step::Quantize { scale, zero_point, .. }), Some(q)) =
            (node.epilogue.steps.last(), graph.quant(node.output()))
            && !q.fits_step(*scale, *zero_point)
        {
            let expected = match q.as_per_tensor() {
                Some((scale, zero_point)) => format!("scale={scale:?} zero_point={zero_point}"),
                None => "scale=1.0, and zero_point=0 or the zero point of all channels".to_owned(),
            };
            let got = format!("scale={scale:?} zero_point={zero_point}");
            self.node_error(node, Rule::Requantize, expected, got);
        }
        if let QuantRule::Affine { weight, bias, .. } = node.op.quant_rule() {
            self.bias(node, weight, bias);
            self.stored_weights(node);
        }
    }

    /// Checks that the scale of the bias is `scale of x * scale of w`, up to three roundings.
    fn bias(&mut self, node: &Node, weight: usize, bias: usize) {
        let params = |index: usize| node.operand(index).and_then(|id| self.graph.quant(id));
        let (Some(x), Some(w), Some(b)) = (params(0), params(weight), params(bias)) else { return };
        let at = |scales: &[f32], channel: usize| scales.get(channel).or(scales.first()).copied().unwrap_or(f32::NAN);
        for channel in 0..w.scale.len().max(b.scale.len()) {
            let (expected, got) = (at(&x.scale, 0) * at(&w.scale, channel), at(&b.scale, channel));
            if (expected - got).abs() > 1e-5 * expected.abs() {
                let expected = format!("scale={expected:?} for channel {channel}");
                return self.node_error(node, Rule::Bias, expected, format!("{got:?}"));
            }
        }
    }

    /// Checks that quantized weights of a product with floats are constant: kernels dequantize them where they are multiplied.
    fn stored_weights(&mut self, node: &Node) {
        if let Some(w) = self.graph.stored_weights(node).filter(|w| self.graph.constant(*w).is_none()) {
            let got = format!("{}, which is not constant", self.numbering.value(w));
            self.node_error(node, Rule::Quantized, "constant weights for a product of floats and integers", got);
        }
    }

    fn quant(&self, id: Option<QuantId>) -> String {
        let number = id.and_then(|id| self.numbering.quant(id));
        number.map_or_else(|| "no qparams".to_owned(), |number| format!("#{number}"))
    }
}

/// Returns the number of scales of a tensor of this type, or the requirement of the granularity that the type violates.
fn entries(ty: &TensorType, granularity: Granularity) -> Result<usize, (String, String)> {
    let below = |axis: usize| (format!("an axis below rank {}", ty.shape.rank()), format!("axis {axis}"));
    match granularity {
        Granularity::PerTensor => Ok(1),
        Granularity::PerChannel { axis } => ty.shape.get(axis).copied().ok_or_else(|| below(axis)),
        Granularity::Blocked { axis, .. } if axis >= ty.shape.rank() => Err(below(axis)),
        Granularity::Blocked { block: 0, .. } => Err(("a block of at least 1".to_owned(), "0".to_owned())),
        Granularity::Blocked { axis, block } => {
            let mut blocks = ty.shape.clone();
            blocks[axis] = blocks[axis].div_ceil(block);
            Ok(blocks.elements())
        }
    }
}

//! Which exported sums of products ONNX Runtime gets wrong on x86 CPUs without VNNI.
//!
//! There it multiplies unsigned activations by signed weights with `vpmaddubsw`, which adds two neighbouring products in 16
//! bits and saturates: `2 * 255 * 64` fits, `2 * 255 * 65` does not. Signed activations do not help, for it makes them
//! unsigned first. Unsigned weights do: its kernel for these widens both factors, and its sums are exact.

use eightfold_ir::{DType, Graph, Node, Op, QuantRule};

/// The greatest magnitude of signed weights of which any two can meet.
const SAFE_WEIGHT: i64 = 64;

/// The sums of products with constant weights on integers in a graph that is to be exported, and how many of them may
/// saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saturation {
    /// Sums of products on integers.
    pub products: usize,
    /// Those that may saturate.
    pub saturating: usize,
}

impl Saturation {
    /// What is found in a graph with `quantize_linear` and `dequantize_linear` around what is to be computed in integers.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let weights = graph.nodes().filter_map(|node| greatest_weight(graph, node));
        weights.fold(Saturation::default(), |found, greatest| Saturation {
            products: found.products + 1,
            saturating: found.saturating + usize::from(greatest.is_some_and(|greatest| greatest > SAFE_WEIGHT)),
        })
    }
}

/// For a sum of products with quantized constant weights: their greatest magnitude if they are signed, else `None`.
fn greatest_weight(graph: &Graph, node: &Node) -> Option<Option<i64>> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else { return None };
    let producer = graph.producer(node.operand(weight)?)?;
    let stored = producer.operand(0).filter(|_| matches!(producer.op, Op::DequantizeLinear(_)))?;
    let integers = graph.constant(stored)?.to_ints()?;
    let signed = graph.ty(stored).dtype == DType::I8;
    Some(signed.then(|| integers.iter().map(|weight| weight.abs()).max().unwrap_or(0)))
}

//! Finds products in an exported model that saturate in ONNX Runtime on x86 CPUs without VNNI.
//!
//! There, ONNX Runtime multiplies unsigned activations by signed weights with `vpmaddubsw`, which adds two neighbouring
//! products in 16 bits and saturates: `2 * 255 * 64` fits, `2 * 255 * 65` does not. Signed activations have the same
//! problem, because ONNX Runtime converts them to unsigned first. Unsigned weights do not: their kernel widens both
//! factors and is exact.

use eightfold_ir::{DType, Graph, Node, Op, QuantRule};

/// The largest magnitude of signed weights for which no pair of products saturates.
const SAFE_WEIGHT: i64 = 64;

/// The integer convolutions and matrix products with constant weights in a graph to be exported, and how many of them
/// may saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Saturation {
    /// Integer convolutions and matrix products.
    pub products: usize,
    /// Those that may saturate.
    pub saturating: usize,
}

impl Saturation {
    /// Counts the products of a graph with `quantize_linear` and `dequantize_linear`.
    #[must_use]
    pub fn of(graph: &Graph) -> Self {
        let weights = graph.nodes().filter_map(|node| greatest_weight(graph, node));
        weights.fold(Saturation::default(), |found, greatest| Saturation {
            products: found.products + 1,
            saturating: found.saturating + usize::from(greatest.is_some_and(|greatest| greatest > SAFE_WEIGHT)),
        })
    }
}

/// For a product with quantized constant weights: `Some` with their largest magnitude if they are signed, otherwise
/// `Some(None)`.
fn greatest_weight(graph: &Graph, node: &Node) -> Option<Option<i64>> {
    let QuantRule::Affine { weight, .. } = node.op.quant_rule() else { return None };
    let producer = graph.producer(node.operand(weight)?)?;
    let stored = producer.operand(0).filter(|_| matches!(producer.op, Op::DequantizeLinear(_)))?;
    let integers = graph.constant(stored)?.to_ints()?;
    let signed = graph.ty(stored).dtype == DType::I8;
    Some(signed.then(|| integers.iter().map(|weight| weight.abs()).max().unwrap_or(0)))
}

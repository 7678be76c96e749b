//! Average pools: `pool(%xq) {kind=average} |> … |> div s_y |> add z_y |> quantize`.
//!
//! The numbers of a window are dequantized and added in f32, and the zero point is added before rounding, as in ONNX
//! Runtime. The order matters: if input and output have the same scale, as in models from TensorFlow, one in four
//! averages of four numbers is a tie. A pool over the whole image is already a `reduce`, which is summed exactly, also
//! in ONNX Runtime.

use eightfold_ir::{Arg, Function, Graph, Node, Rewrite, Step};

use super::{Obstacle, Scalar, Target, replace, stored_operand, units};

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    let (x, _) = stored_operand(graph, node, 0)?;
    let target = Target::of(graph, node);
    let steps = match target.scalar() {
        Some(to) => quantized(graph, &node.epilogue.steps, to),
        None => units::in_real_units(graph, &node.epilogue.steps, None),
    };
    replace(graph, Rewrite::new(graph, super::NAME), node, &target, node.op.clone(), &[Some(x)], steps)
}

/// Returns the steps on real numbers and their quantization. The zero point is added before rounding.
fn quantized(graph: &Graph, steps: &[Step], to: Scalar) -> Vec<Step> {
    let Scalar { storage: dtype, scale, zero_point } = to;
    let (kept, min, max) = units::bounded(graph, steps, to);
    let mut steps = units::in_real_units(graph, kept, None);
    steps.push(Step::binary(Function::Div, Arg::Float(scale)));
    if zero_point != 0 {
        steps.push(Step::binary(Function::Add, Arg::Float(zero_point as f32)));
    }
    steps.push(Step::Quantize { dtype, scale: 1.0, zero_point: 0, min, max });
    steps
}

//! Operators whose result has a fixed range, such as softmax: `op(%xq) |> … |> quantize`.

use eightfold_ir::{Graph, Node, Rewrite};

use super::{Obstacle, Target, replace, stored_operand};

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    let (x, _) = stored_operand(graph, node, 0)?;
    let rewrite = Rewrite::new(graph, super::NAME);
    let target = Target::of(graph, node);
    // The operator yields real numbers. The quantization divides them by the scale, as `quantize_linear` does.
    let steps = super::units::in_real_units(graph, &node.epilogue.steps, target.scalar());
    let mut operands = node.operands.clone();
    operands[0] = Some(x);
    replace(graph, rewrite, node, &target, node.op.clone(), &operands, steps)
}

//! Operators whose integer form yields floats of a range known beforehand: `op(%xq) |> … |> quantize`.

use eightfold_ir::{Graph, Node, Rewrite};

use super::{Obstacle, Target, replace, stored_operand};

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    let (x, _) = stored_operand(graph, node, 0)?;
    let rewrite = Rewrite::new(graph, super::NAME);
    let target = Target::of(graph, node);
    // The result is in real units; it is divided by the scale, as `quantize_linear` says.
    let steps = super::units::in_real_units(graph, &node.epilogue.steps, target.scalar());
    let mut operands = node.operands.clone();
    operands[0] = Some(x);
    replace(graph, rewrite, node, &target, node.op.clone(), &operands, steps)
}

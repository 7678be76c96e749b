//! Sums and means of whole axes: `op(%xq) |> cast f32 |> mul (s_x / (s_y * count)) |> … |> quantize`.
//!
//! The operator adds stored integers minus the zero point, exactly. The divisor of a mean is part of the factor.

use eightfold_ir::op::pool::PoolKind;
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Arg, DType, Function, Graph, Node, Op, Rewrite, Shape, Step};

use super::{Obstacle, Scalar, Target, replace, stored_operand};

/// The greatest number of 8-bit integers whose sum always fits i32.
const COUNT_LIMIT: usize = (i32::MAX / 255) as usize;

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    if matches!(&node.op, Op::Pool(pool) if pool.kind == PoolKind::Average) {
        return super::average::lower(graph, node);
    }
    let (x, Scalar { scale: x_scale, .. }) = stored_operand(graph, node, 0)?;
    let (sum, divisor) = summed(&node.op, &graph.ty(x).shape)?;
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let target = Target::of(graph, node);
    let (unit, rest) = super::units::finished(graph, &mut rewrite, &node.epilogue.steps, target.scalar());
    let factor = Arg::Float(x_scale / (unit * divisor as f32));
    let mut steps = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, factor)];
    steps.extend(rest);
    replace(graph, rewrite, node, &target, sum, &[Some(x)], steps)
}

/// Returns an operator that computes the sum, and the divisor of the mean (1 for a sum).
fn summed(op: &Op, x: &Shape) -> Result<(Op, usize), Obstacle> {
    let (sum, count, mean): (Op, usize, bool) = match op {
        Op::Pool(pool) if pool.kind == PoolKind::Sum => (pool.clone().into(), pool.kernel.iter().product(), false),
        Op::Reduce(reduce) => {
            let sum = Reduce { kind: ReduceKind::Sum, ..reduce.clone() };
            (sum.into(), reduce.axes.iter().map(|a| x[*a]).product(), reduce.kind == ReduceKind::Mean)
        }
        _ => return Err(format!("{} is not a sum", op.name())),
    };
    if count > COUNT_LIMIT {
        return Err(format!("it sums {count} numbers, expected at most {COUNT_LIMIT}"));
    }
    Ok((sum, if mean { count.max(1) } else { 1 }))
}

//! Sums and means: `op(%xq) |> cast f32 |> mul (s_x / (s_y * count)) |> … |> quantize`.
//!
//! The operator sums stored integers less the zero point exactly; the mean's divisor goes into the factor. Where windows
//! at the border hold fewer elements than others, the factor is a constant image.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Arg, DType, Function, Graph, Node, Op, Rewrite, Shape, Step, Tensor};

use super::{Obstacle, Scalar, Target, replace, stored_operand};
use crate::channel::uniform;

/// How many 8-bit numbers may be summed in an i32.
const COUNT_LIMIT: usize = (i32::MAX / 255) as usize;

pub(super) fn lower(graph: &Graph, node: &Node) -> Result<Rewrite, Obstacle> {
    let (x, Scalar { scale: x_scale, .. }) = stored_operand(graph, node, 0)?;
    let sum = summed(&node.op, &graph.ty(x).shape)?;
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let target = Target::of(graph, node);
    let (unit, rest) = super::units::finished(graph, &mut rewrite, &node.epilogue.steps, target.scalar());
    let factors: Vec<f32> = sum.counts.iter().map(|count| x_scale / (unit * *count as f32)).collect();
    let factor = match uniform(&factors) {
        Some(factor) => Arg::Float(factor),
        None => Arg::Value(rewrite.constant("", Tensor::f32(&sum.positions, &factors), None)),
    };
    let mut steps = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, factor)];
    steps.extend(rest);
    replace(graph, rewrite, node, &target, sum.op, &[Some(x)], steps)
}

/// The sum in an operator that is a sum or mean.
struct Summed {
    op: Op,
    /// The shape of the output positions that differ in their divisors.
    positions: Shape,
    /// The divisor at each of them.
    counts: Vec<usize>,
}

fn summed(op: &Op, x: &Shape) -> Result<Summed, Obstacle> {
    let (summed, widest) = match op {
        Op::Pool(pool) => {
            let spatial = &x[2..];
            let positions: Option<Sizes> = (0..spatial.len()).map(|a| pool.output_extent(a, spatial[a])).collect();
            let positions = Shape::new(&positions.ok_or("a window does not fit")?);
            let divisor = |at: usize| match pool.kind {
                PoolKind::Average => pool.positions(at, spatial, &positions).1.max(1),
                PoolKind::Max | PoolKind::Sum => 1,
            };
            let counts = (0..positions.elements()).map(divisor).collect();
            let sum = Pool { kind: PoolKind::Sum, count_include_pad: false, ..pool.clone() };
            (Summed { op: sum.into(), positions, counts }, pool.kernel.iter().product())
        }
        Op::Reduce(reduce) => {
            let count = reduce.axes.iter().map(|a| x[*a]).product::<usize>();
            let divisor = if reduce.kind == ReduceKind::Mean { count.max(1) } else { 1 };
            let sum = Reduce { kind: ReduceKind::Sum, ..reduce.clone() };
            (Summed { op: sum.into(), positions: Shape::scalar(), counts: vec![divisor] }, count)
        }
        _ => return Err(format!("{} is no sum", op.name())),
    };
    if widest > COUNT_LIMIT {
        return Err(format!("it sums {widest} numbers, expected at most {COUNT_LIMIT}"));
    }
    Ok(summed)
}

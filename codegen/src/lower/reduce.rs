//! Pools and reductions.

use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{DType, Node, QuantParams};

use super::{LowerError, Lowering, origin};
use crate::kernel;
use crate::kernel::{Fold, Producer};
use crate::step::Step;
use crate::view::{Grid, View};

impl Lowering<'_> {
    pub(super) fn pool(&mut self, node: &Node, op: &Pool) -> Result<(), LowerError> {
        let (x, y) = (node.operands[0].expect("verified"), node.output());
        let spatial = op.kernel.len();
        if spatial > 2 {
            return Err(self.unsupported(node, format!("{spatial} spatial axes; 1 and 2 have kernels")));
        }
        let params = self.graph.quant(x).and_then(QuantParams::as_per_tensor);
        let fold = match op.kind {
            PoolKind::Max => Fold::Max,
            PoolKind::Average => {
                params.map_or(Fold::Mean, |(scale, zero_point)| Fold::DequantizedMean { scale, zero_point })
            }
            PoolKind::Sum => Fold::Sum { zero_point: params.map_or(0, |(_, zero_point)| zero_point) },
        };
        // One spatial axis becomes two, with one row.
        let two = |f: &dyn Fn(usize) -> usize, row: usize| if spatial == 1 { [row, f(0)] } else { [f(0), f(1)] };
        let after = two(&|a| op.pad(a).1, 0);
        let producer = Producer::Pool(kernel::Pool {
            fold,
            kernel: two(&|a| op.kernel[a], 1),
            strides: two(&|a| op.stride(a), 1),
            dilations: two(&|a| op.dilation(a), 1),
            pads: two(&|a| op.pad(a).0, 0),
            include_pad: op.count_include_pad.then_some(after),
        });
        let input = self.view(x);
        let output = self.place(y);
        let mut operands = vec![View { grid: planar(&input.grid), ..input }];
        let steps = self.steps(node, &output.grid.dims.clone(), self.graph.ty(y).layout, &mut operands);
        for operand in &mut operands[1..] {
            if operand.grid.dims == output.grid.dims {
                operand.grid = planar(&operand.grid);
            }
        }
        let output = View { grid: planar(&output.grid), ..output };
        self.call(producer, operands, steps, output, &origin(&node.origin));
        Ok(())
    }

    pub(super) fn reduce(&mut self, node: &Node, op: &Reduce) -> Result<(), LowerError> {
        let (x, y) = (node.operands[0].expect("verified"), node.output());
        let dtype = self.graph.ty(x).dtype;
        if matches!(dtype, DType::F64 | DType::I4 | DType::U4) {
            return Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype });
        }
        let fold = match op.kind {
            ReduceKind::Sum => Fold::Sum { zero_point: self.stored_zero(x) as i32 },
            ReduceKind::Mean => Fold::Mean,
            ReduceKind::Max => Fold::Max,
            ReduceKind::Min => Fold::Min,
            ReduceKind::Prod => Fold::Prod,
            ReduceKind::SumSquare => Fold::SumSquare,
            ReduceKind::SumAbs => Fold::SumAbs,
        };
        let input = self.view(x);
        let output = self.place(y);
        let mut operands = vec![input];
        let mut steps = self.steps(node, &output.grid.dims.clone(), self.graph.ty(y).layout, &mut operands);
        // Kernels sum narrow integers in 32 bits, as quantized sums require. Other sums wrap to the operand's type.
        let wraps = op.kind == ReduceKind::Sum && dtype.is_integer() && self.graph.quant(x).is_none();
        if wraps && !steps.is_empty() {
            steps.insert(0, Step::Cast(dtype));
        }
        // Without `keepdims`, folded axes get extent 1 again: kernels need operand and result to have equal rank.
        let kept = |grid: &Grid| match op.keepdims {
            true => grid.clone(),
            false => with_axes(grid, &op.axes),
        };
        let result = output.grid.dims.clone();
        for operand in &mut operands[1..] {
            if operand.grid.dims == result {
                operand.grid = kept(&operand.grid);
            }
        }
        let output = View { grid: kept(&output.grid), ..output };
        self.call(Producer::Reduce(kernel::Reduce { fold }), operands, steps, output, &origin(&node.origin));
        Ok(())
    }
}

/// Rank 3 becomes rank 4 with one row.
fn planar(grid: &Grid) -> Grid {
    if grid.dims.len() == 3 { with_axes(grid, &[2]) } else { grid.clone() }
}

/// Inserts axes of extent 1 at these positions of the result.
fn with_axes(grid: &Grid, axes: &[usize]) -> Grid {
    let mut grid = grid.clone();
    for axis in axes {
        grid.dims.insert(*axis, 1);
        grid.strides.insert(*axis, 0);
    }
    grid
}

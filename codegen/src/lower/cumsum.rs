//! Running sums.

use eightfold_ir::Node;
use eightfold_ir::op::cumsum::CumSum;

use super::{LowerError, Lowering, origin};
use crate::kernel;
use crate::kernel::Producer;

impl Lowering<'_> {
    pub(super) fn cumsum(&mut self, node: &Node, op: &CumSum) -> Result<(), LowerError> {
        let (x, y) = (node.operands[0].expect("verified"), node.output());
        let mut operands = vec![self.view(x)];
        let output = self.place(y);
        let steps = self.steps(node, &output.grid.dims.clone(), self.graph.ty(y).layout, &mut operands);
        let CumSum { axis, exclusive, reverse } = *op;
        let producer = Producer::CumSum(kernel::CumSum { axis, exclusive, reverse });
        self.call(producer, operands, steps, output, &origin(&node.origin));
        Ok(())
    }
}

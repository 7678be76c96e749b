//! Softmax; for integers with a table of exponentials.

use eightfold_ir::op::softmax::{Softmax, exponentials};
use eightfold_ir::{DType, Node};

use super::{LowerError, Lowering, origin};
use crate::kernel;
use crate::kernel::Producer;

impl Lowering<'_> {
    pub(super) fn softmax(&mut self, node: &Node, op: &Softmax) -> Result<(), LowerError> {
        let (x, y) = (node.operands[0].expect("verified"), node.output());
        let dtype = self.graph.ty(x).dtype;
        let mut operands = vec![self.view(x)];
        match (dtype, self.graph.quant(x)) {
            (DType::F32, _) => {}
            (DType::U8 | DType::I8, Some(params)) => {
                let table = exponentials(params.scale[0]).map(i64::from);
                operands.push(self.int_list("exponentials", DType::I32, &table));
            }
            _ => return Err(LowerError::DType { op: node.op.name(), origin: origin(&node.origin), dtype }),
        }
        let output = self.place(y);
        let steps = self.steps(node, &output.grid.dims.clone(), self.graph.ty(y).layout, &mut operands);
        self.call(Producer::Softmax(kernel::Softmax { axis: op.axis }), operands, steps, output, &origin(&node.origin));
        Ok(())
    }
}

//! `relayout`: changes the memory layout of a tensor.

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::attr_enum;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Layout, Shape, TensorType};

attr_enum! {
    /// The memory layouts, as attribute words.
    pub enum Order {
        /// [`Layout::Nchw`]
        Nchw = "nchw",
        /// [`Layout::Nhwc`]
        Nhwc = "nhwc",
    }
}

op! {
    /// Returns its operand. Only the layout in the type differs.
    pub struct Relayout = "relayout" {
        /// The layout of the result.
        to: Order,
    }
}

impl From<Order> for Layout {
    fn from(order: Order) -> Self {
        match order {
            Order::Nchw => Layout::Nchw,
            Order::Nhwc => Layout::Nhwc,
        }
    }
}

impl OpDef for Relayout {
    const NAME: &'static str = "relayout";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?.ty;
        if x.shape.rank() < 3 {
            return Err(operands.shape_error(0, "rank 3 or more", &x.shape));
        }
        Ok(smallvec![TensorType { layout: self.to.into(), ..x.clone() }])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn keeps_axis(&self, _x: &Shape, _axis: usize) -> bool {
        true
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        smallvec![operands[0].expect("inferred").array.clone()]
    }
}

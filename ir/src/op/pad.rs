//! `pad`: adds a border to a tensor (ONNX Pad; the importer turns negative pads into a slice).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::{Sizes, attr_enum};
use crate::op::{EvalOperand, InferError, InferOperand, OpDef, Operands, QuantRule, Types};
use crate::quant::quantize;
use crate::tensor::Data;
use crate::types::{Shape, TensorType};

attr_enum! {
    /// The contents of the border.
    pub enum PadMode {
        /// A constant.
        Constant = "constant",
        /// The nearest element.
        Edge = "edge",
        /// The elements mirrored at the edge. The edge itself is not repeated.
        Reflect = "reflect",
    }
}

op! {
    /// A border of `before` and `after` elements along each axis.
    pub struct Pad = "pad" {
        /// The contents of the border.
        mode: PadMode = PadMode::Constant,
        /// The number of elements added before each axis.
        before: Sizes,
        /// The number of elements added after each axis.
        after: Sizes,
        /// The constant in `constant` mode: a real number, also for quantized tensors.
        value: f32 = 0.0,
    }
}

impl OpDef for Pad {
    const NAME: &'static str = "pad";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let InferOperand { ty: x, quant } = operands.get(0)?;
        if self.mode == PadMode::Constant && quant.is_some_and(|q| !q.is_per_tensor()) {
            return Err(operands.quant_error(0, "must be quantized per tensor: the border holds one number"));
        }
        let rank = x.shape.rank();
        if self.before.len() != rank || self.after.len() != rank {
            return Err(operands.attr_error("before", format!("before and after expect {rank} entries")));
        }
        for axis in 0..rank {
            let widest = self.before[axis].max(self.after[axis]);
            let most = match self.mode {
                PadMode::Constant => usize::MAX,
                PadMode::Edge => {
                    if x.shape[axis] == 0 {
                        0
                    } else {
                        usize::MAX
                    }
                }
                PadMode::Reflect => x.shape[axis].saturating_sub(1),
            };
            if widest > most {
                return Err(operands.attr_error("before", format!("at most {most} elements fit on axis {axis}")));
            }
        }
        let shape: Shape =
            (0..rank).map(|a| x.shape[a].saturating_add(self.before[a]).saturating_add(self.after[a])).collect();
        Ok(smallvec![TensorType::moved(x, shape)])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::SameScale
    }

    fn fill_value(&self, _x: &Shape) -> Option<f32> {
        let has_border = self.before.iter().chain(&self.after).any(|width| *width > 0);
        (self.mode == PadMode::Constant && has_border).then_some(self.value)
    }

    fn keeps_axis(&self, _x: &Shape, axis: usize) -> bool {
        self.before[axis] == 0 && self.after[axis] == 0
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred");
        let (xs, strides) = (&x.array.shape, x.array.shape.strides());
        let shape: Shape = (0..xs.rank()).map(|a| xs[a] + self.before[a] + self.after[a]).collect();
        let out = shape.strides();
        let source = |at: usize| {
            (0..shape.rank()).try_fold(0, |from, axis| {
                let i = (at / out[axis] % shape[axis]) as isize - self.before[axis] as isize;
                let last = xs[axis] as isize - 1;
                let i = match self.mode {
                    PadMode::Constant if i < 0 || i > last => return None,
                    PadMode::Constant => i,
                    PadMode::Edge => i.clamp(0, last),
                    PadMode::Reflect if i < 0 => -i,
                    PadMode::Reflect if i > last => 2 * last - i,
                    PadMode::Reflect => i,
                };
                Some(from + i as usize * strides[axis])
            })
        };
        let sources = (0..shape.elements()).map(source);
        let data = match &x.array.data {
            Data::Float(v) => Data::Float(sources.map(|s| s.map_or(self.value, |i| v[i])).collect()),
            Data::Int(v) => {
                let fill = self.stored_value(&x);
                Data::Int(sources.map(|s| s.map_or(fill, |i| v[i])).collect())
            }
        };
        smallvec![Array { dtype: x.array.dtype, shape, data }.rounded()]
    }
}

impl Pad {
    /// Returns the constant as the tensor stores it, that is, quantized for integer tensors.
    fn stored_value(&self, x: &EvalOperand<'_>) -> i64 {
        match (x.quant.and_then(crate::quant::QuantParams::as_per_tensor), x.array.dtype.storage_range()) {
            (Some((scale, zero_point)), Some((min, max))) => {
                i64::from(quantize(self.value, scale, zero_point, min, max))
            }
            _ => self.value as i64,
        }
    }
}

//! `reduce`: reduces the elements along some axes to one (ONNX ReduceSum, ReduceMean, ReduceMax, GlobalAveragePool, …).

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, strided};
use crate::attr::{Sizes, attr_enum};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

attr_enum! {
    /// The kind of reduction.
    pub enum ReduceKind {
        /// The sum. For quantized 8-bit integers: of the numbers minus their zero point, in i32.
        Sum = "sum",
        /// The mean, for floats only.
        Mean = "mean",
        /// The maximum.
        Max = "max",
        /// The minimum.
        Min = "min",
        /// The product.
        Prod = "prod",
        /// The sum of squares.
        SumSquare = "sum_square",
        /// The sum of magnitudes.
        SumAbs = "sum_abs",
    }
}

op! {
    /// Reduces the elements along `axes` to one.
    ///
    /// Operand: `x` of any shape. `sum` of quantized integers is an exact i32 of the numbers minus the zero point.
    /// Every other result has the operand's type. `max` and `min` also keep its quantization.
    pub struct Reduce = "reduce" {
        /// The kind of reduction.
        kind: ReduceKind,
        /// The reduced axes, ascending.
        axes: Sizes,
        /// Whether reduced axes stay, with extent 1.
        keepdims: bool = true,
    }
}

impl Reduce {
    /// Returns the shape of the result for an operand of shape `x`.
    #[must_use]
    pub fn output_shape(&self, x: &Shape) -> Shape {
        let kept = |(axis, dim): (usize, &usize)| match self.axes.contains(&axis) {
            false => Some(*dim),
            true => self.keepdims.then_some(1),
        };
        x.iter().enumerate().filter_map(kept).collect()
    }
}

impl OpDef for Reduce {
    const NAME: &'static str = "reduce";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let x = operands.get(0)?;
        let sorted = self.axes.windows(2).all(|w| w[0] < w[1]);
        if !sorted || self.axes.iter().any(|a| *a >= x.ty.shape.rank()) {
            return Err(operands.attr_error("axes", format!("must ascend below rank {}", x.ty.shape.rank())));
        }
        let shape = self.output_shape(&x.ty.shape);
        match self.kind {
            _ if x.ty.dtype == DType::Bool => Err(operands.dtype_error(0, "a number", x.ty.dtype)),
            ReduceKind::Max | ReduceKind::Min => Ok(smallvec![TensorType::moved(x.ty, shape)]),
            ReduceKind::Sum if x.quant.is_some_and(|q| !q.is_per_tensor()) => {
                Err(operands.quant_error(0, "must be quantized per tensor"))
            }
            ReduceKind::Sum if x.quant.is_some() => Ok(smallvec![TensorType::new(DType::I32, shape)]),
            _ if x.quant.is_some() || self.kind == ReduceKind::Mean && !x.ty.dtype.is_float() => {
                Err(operands.dtype_error(0, "a float", x.ty.dtype))
            }
            _ => Ok(smallvec![TensorType::new(x.ty.dtype, shape)]),
        }
    }

    fn quant_rule(&self) -> QuantRule {
        match self.kind {
            ReduceKind::Max | ReduceKind::Min => QuantRule::SameScale,
            ReduceKind::Sum | ReduceKind::Mean => QuantRule::AnyScale,
            _ => QuantRule::FloatOnly,
        }
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred");
        let xs = &x.array.shape;
        let strides = xs.strides();
        let (mut outer, mut outer_strides, mut inner, mut inner_strides) = (vec![], vec![], vec![], vec![]);
        for axis in 0..xs.rank() {
            let (dims, steps) = if self.axes.contains(&axis) {
                (&mut inner, &mut inner_strides)
            } else {
                (&mut outer, &mut outer_strides)
            };
            dims.push(xs[axis]);
            steps.push(strides[axis]);
        }
        let (outer, inner) = (Shape::new(&outer), Shape::new(&inner));
        let offsets: Vec<usize> = strided(&inner, 0, inner_strides).collect();
        let starts: Vec<usize> = strided(&outer, 0, outer_strides).collect();
        let shape = self.output_shape(xs);
        let dtype = x.array.dtype;
        let array = match &x.array.data {
            Data::Float(v) => {
                let fold = |start: &usize| {
                    let numbers = offsets.iter().map(|o| f64::from(v[start + o]));
                    let keep_nan = |a: f64, b: f64, take: bool| if take || b.is_nan() { b } else { a };
                    (match self.kind {
                        ReduceKind::Sum => numbers.sum::<f64>(),
                        ReduceKind::Mean => numbers.sum::<f64>() / offsets.len() as f64,
                        ReduceKind::Max => numbers.fold(f64::NEG_INFINITY, |a, b| keep_nan(a, b, b > a)),
                        ReduceKind::Min => numbers.fold(f64::INFINITY, |a, b| keep_nan(a, b, b < a)),
                        ReduceKind::Prod => numbers.product(),
                        ReduceKind::SumSquare => numbers.map(|x| x * x).sum(),
                        ReduceKind::SumAbs => numbers.map(f64::abs).sum(),
                    }) as f32
                };
                Array { dtype, shape, data: Data::Float(starts.iter().map(fold).collect()) }.rounded()
            }
            Data::Int(v) => {
                let zero = match (self.kind, x.quant) {
                    (ReduceKind::Sum, Some(q)) => i64::from(q.zero_point[0]),
                    _ => 0,
                };
                let (least, greatest) = dtype.integer_range().unwrap_or((i64::MIN, i64::MAX));
                let fold = |start: &usize| {
                    let numbers = offsets.iter().map(|o| v[start + o] - zero);
                    match self.kind {
                        ReduceKind::Sum | ReduceKind::Mean => numbers.fold(0_i64, i64::wrapping_add),
                        ReduceKind::Max => numbers.max().unwrap_or(least),
                        ReduceKind::Min => numbers.min().unwrap_or(greatest),
                        ReduceKind::Prod => numbers.fold(1_i64, i64::wrapping_mul),
                        ReduceKind::SumSquare => numbers.fold(0_i64, |a, b| a.wrapping_add(b.wrapping_mul(b))),
                        ReduceKind::SumAbs => numbers.fold(0_i64, |a, b| a.wrapping_add(b.wrapping_abs())),
                    }
                };
                let dtype = if self.kind == ReduceKind::Sum && x.quant.is_some() { DType::I32 } else { dtype };
                Array { dtype, shape, data: Data::Int(starts.iter().map(fold).collect()) }.rounded()
            }
        };
        smallvec![array]
    }
}

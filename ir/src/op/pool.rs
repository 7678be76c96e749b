//! `pool`: reduces the numbers in a window that slides over the spatial axes (ONNX MaxPool, AveragePool).

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::{Sizes, attr_enum};
use crate::op::{EvalOperand, InferError, InferOperand, OpDef, Operands, QuantRule, Types};
use crate::quant::QuantParams;
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

attr_enum! {
    /// The reduction of a window.
    pub enum PoolKind {
        /// The maximum. Padding is never the maximum.
        Max = "max",
        /// The mean, a float. Quantized integers are dequantized and added in f32.
        Average = "average",
        /// The sum. For integers: of the numbers minus their zero point, in i32.
        Sum = "sum",
    }
}

op! {
    /// One number for each position of a window over the axes after the second.
    ///
    /// Operand: `x` of shape N x C x D.... `max` keeps type and quantization. `average` and `sum` of floats keep the
    /// type. `sum` of 8-bit integers is an exact i32. `average` of quantized 8-bit integers is `((0 + r[0]) + r[1]) +
    /// ...` divided by the count in f32, where `r = f32(x - zero_point) * scale`, row by row. Each addition is rounded
    /// to f32. The order is part of the definition because ties are common, and it decides how they round.
    pub struct Pool = "pool" {
        /// The reduction of a window.
        kind: PoolKind,
        /// Extents of the window.
        kernel: Sizes,
        /// Padding before each spatial axis, then after each. Empty means 0.
        pads: Sizes = Sizes::new(),
        /// The stride along each spatial axis. Empty means 1.
        strides: Sizes = Sizes::new(),
        /// The dilation along each spatial axis. Empty means 1.
        dilations: Sizes = Sizes::new(),
        /// Whether a last window that exceeds the padded input counts.
        ceil: bool = false,
        /// Whether the divisor of a mean counts padding.
        count_include_pad: bool = false,
    }
}

impl Pool {
    /// Returns the stride along the spatial axis `axis`.
    #[must_use]
    pub fn stride(&self, axis: usize) -> usize {
        self.strides.get(axis).copied().unwrap_or(1)
    }

    /// Returns the dilation along the spatial axis `axis`.
    #[must_use]
    pub fn dilation(&self, axis: usize) -> usize {
        self.dilations.get(axis).copied().unwrap_or(1)
    }

    /// Returns the padding before and after the spatial axis `axis`.
    #[must_use]
    pub fn pad(&self, axis: usize) -> (usize, usize) {
        match self.pads.len() {
            0 => (0, 0),
            n => (self.pads[axis], self.pads[axis + n / 2]),
        }
    }

    /// Returns the output extent along the spatial axis `axis` for the input extent `length`; `None` if no window fits.
    #[must_use]
    pub fn output_extent(&self, axis: usize, length: usize) -> Option<usize> {
        let (before, after) = self.pad(axis);
        let stride = self.stride(axis);
        let window = self.kernel[axis].checked_sub(1)?.saturating_mul(self.dilation(axis)).saturating_add(1);
        let room = length.saturating_add(before).saturating_add(after).checked_sub(window)?;
        if !self.ceil {
            return Some((room / stride).saturating_add(1));
        }
        // A window that would start in the padding after the input does not count (PyTorch, ONNX from opset 19).
        let count = room.div_ceil(stride).saturating_add(1);
        Some(if (count - 1).saturating_mul(stride) >= length.saturating_add(before) { count - 1 } else { count })
    }

    /// For the output position `at` of the spatial axis `axis`, returns the coordinates inside the input and the number
    /// of elements that the divisor of a mean counts along this axis.
    #[must_use]
    pub fn window(&self, axis: usize, at: usize, length: usize) -> (Vec<usize>, usize) {
        let (before, after) = self.pad(axis);
        let start = at * self.stride(axis);
        let padded = (0..self.kernel[axis]).map(|k| start + k * self.dilation(axis));
        let inside: Vec<usize> = padded.clone().filter_map(|p| p.checked_sub(before)).filter(|p| *p < length).collect();
        let count =
            if self.count_include_pad { padded.filter(|p| *p < length + before + after).count() } else { inside.len() };
        (inside, count)
    }
}

impl OpDef for Pool {
    const NAME: &'static str = "pool";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(1, 1)?;
        let InferOperand { ty: x, quant } = operands.get(0)?;
        let spatial = self.kernel.len();
        if spatial == 0 || x.shape.rank() != spatial + 2 {
            let expected = format!("rank {} for a window of rank {spatial}", spatial + 2);
            return Err(operands.shape_error(0, expected, &x.shape));
        }
        if self.kind != PoolKind::Max && quant.is_some_and(|q| !q.is_per_tensor()) {
            return Err(operands.quant_error(0, "must be quantized per tensor"));
        }
        for (attr, list, expected) in [
            ("pads", &self.pads, 2 * spatial),
            ("strides", &self.strides, spatial),
            ("dilations", &self.dilations, spatial),
        ] {
            if !list.is_empty() && list.len() != expected {
                return Err(operands.attr_error(attr, format!("expects {expected} entries, got {}", list.len())));
            }
        }
        if self.strides.contains(&0) || self.dilations.contains(&0) {
            return Err(operands.attr_error("strides", "strides and dilations must be at least 1"));
        }
        let mut shape = vec![x.shape[0], x.shape[1]];
        for axis in 0..spatial {
            let (before, after) = self.pad(axis);
            let reach = self.kernel[axis].saturating_sub(1).saturating_mul(self.dilation(axis));
            if before.max(after) > reach {
                let reason = format!("must be less than the window ({}) on axis {}", self.kernel[axis], axis + 2);
                return Err(operands.attr_error("pads", reason));
            }
            let Some(extent) = self.output_extent(axis, x.shape[axis + 2]) else {
                let reason = format!("window {} exceeds the padded axis {}", self.kernel[axis], axis + 2);
                return Err(operands.attr_error("kernel", reason));
            };
            shape.push(extent);
        }
        let shape = Shape::new(&shape);
        let quantized = x.dtype.is_integer() && x.dtype.bits() == 8;
        match self.kind {
            PoolKind::Max if x.dtype != DType::Bool => Ok(smallvec![TensorType::moved(x, shape)]),
            PoolKind::Sum if quantized => Ok(smallvec![TensorType::new(DType::I32, shape)]),
            PoolKind::Average if quantized && quant.is_some() => Ok(smallvec![TensorType::new(DType::F32, shape)]),
            PoolKind::Sum | PoolKind::Average if x.dtype.is_float() => Ok(smallvec![TensorType::new(x.dtype, shape)]),
            _ => Err(operands.dtype_error(0, "a float (or 8-bit integers, for average quantized)", x.dtype)),
        }
    }

    fn quant_rule(&self) -> QuantRule {
        if self.kind == PoolKind::Max { QuantRule::SameScale } else { QuantRule::AnyScale }
    }

    /// The maximum of no elements is -inf: all elements of a dilated window can lie in the padding.
    fn fill_value(&self, x: &Shape) -> Option<f32> {
        let is_empty = |axis: usize, at: usize| self.window(axis, at, x[axis + 2]).0.is_empty();
        let has_empty = |axis: usize| {
            let extent = self.output_extent(axis, x[axis + 2]).unwrap_or(0);
            (0..extent).any(|at| is_empty(axis, at))
        };
        (self.kind == PoolKind::Max && (0..self.kernel.len()).any(has_empty)).then_some(f32::NEG_INFINITY)
    }

    fn reads(&self, _operands: Operands<'_>, output: &Shape) -> u64 {
        self.kernel.iter().fold(output.elements() as u64, |reads, extent| reads.saturating_mul(*extent as u64))
    }

    fn keeps_axis(&self, _x: &Shape, axis: usize) -> bool {
        axis < 2
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let x = operands[0].expect("inferred");
        let xs = &x.array.shape;
        let spatial = &xs[2..];
        let out: Vec<usize> =
            (0..spatial.len()).map(|a| self.output_extent(a, spatial[a]).expect("inferred")).collect();
        // The input positions and the divisor for each output position, which all planes share.
        let windows: Vec<(Vec<usize>, usize)> =
            (0..out.iter().product()).map(|at| self.positions(at, spatial, &out)).collect();
        let plane: usize = spatial.iter().product();
        let planes = 0..xs[0] * xs[1];
        let shape: Shape = xs[..2].iter().chain(&out).copied().collect();
        let dtype = x.array.dtype;
        let array = match (&x.array.data, self.kind) {
            (Data::Int(v), PoolKind::Max) => {
                let max = |p: usize, w: &[usize]| w.iter().map(|i| v[p * plane + i]).max();
                let least = dtype.integer_range().map_or(i64::MIN, |r| r.0);
                let data = planes.flat_map(|p| windows.iter().map(move |w| max(p, &w.0).unwrap_or(least))).collect();
                Array { dtype, shape, data: Data::Int(data) }
            }
            (Data::Int(v), PoolKind::Average) => {
                let (scale, zero) = x.quant.and_then(QuantParams::as_per_tensor).expect("inferred");
                let real = |i: usize| (v[i] - i64::from(zero)) as f32 * scale;
                let mean = |p: usize, w: &(Vec<usize>, usize)| {
                    w.0.iter().fold(0.0_f32, |sum, i| sum + real(p * plane + i)) / w.1.max(1) as f32
                };
                let data = planes.flat_map(|p| windows.iter().map(move |w| mean(p, w))).collect();
                Array { dtype: DType::F32, shape, data: Data::Float(data) }
            }
            (Data::Int(v), PoolKind::Sum) => {
                let zero = x.quant.map_or(0, |q| i64::from(q.zero_point[0]));
                let sum = |p: usize, w: &[usize]| w.iter().map(|i| v[p * plane + i] - zero).sum();
                let data = planes.flat_map(|p| windows.iter().map(move |w| sum(p, &w.0))).collect();
                Array { dtype: DType::I32, shape, data: Data::Int(data) }
            }
            (Data::Float(v), PoolKind::Max) => {
                let max = |p: usize, w: &[usize]| {
                    w.iter()
                        .map(|i| v[p * plane + i])
                        .fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
                };
                let data = planes.flat_map(|p| windows.iter().map(move |w| max(p, &w.0))).collect();
                Array { dtype, shape, data: Data::Float(data) }
            }
            (Data::Float(v), kind) => {
                let number = |p: usize, w: &(Vec<usize>, usize)| {
                    let sum: f64 = w.0.iter().map(|i| f64::from(v[p * plane + i])).sum();
                    (if kind == PoolKind::Average { sum / w.1.max(1) as f64 } else { sum }) as f32
                };
                let data = planes.flat_map(|p| windows.iter().map(move |w| number(p, w))).collect();
                Array { dtype, shape, data: Data::Float(data) }.rounded()
            }
        };
        smallvec![array]
    }
}

impl Pool {
    /// Returns the input positions under the window at the output position `at` (row-major in `out`), and the divisor
    /// of a mean.
    #[must_use]
    pub fn positions(&self, at: usize, spatial: &[usize], out: &[usize]) -> (Vec<usize>, usize) {
        let (mut rest, mut scale) = (at, 1);
        let (mut positions, mut divisor) = (vec![0], 1);
        for axis in (0..out.len()).rev() {
            let (inside, count) = self.window(axis, rest % out[axis], spatial[axis]);
            rest /= out[axis];
            positions = inside.iter().flat_map(|i| positions.iter().map(move |p| p + i * scale)).collect();
            divisor *= count;
            scale *= spatial[axis];
        }
        (positions, divisor)
    }
}

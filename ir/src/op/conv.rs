//! `conv`: convolution (ONNX Conv, ConvInteger), with any number of spatial axes and groups.

use smallvec::{SmallVec, smallvec};

use super::dequantize_linear::dequantized;
use crate::array::Array;
use crate::attr::Sizes;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::quant::Granularity;
use crate::tensor::Data;
use crate::types::{DType, Shape, TensorType};

op! {
    /// `y[n, o, p] = b[o] + sum over i, k of x[n, i, p * stride + k * dilation - pad] * w[o, i, k]`.
    ///
    /// Operands: `x` of shape N x C x D..., weights `w` of shape O x C/group x K..., and optionally a bias of shape O.
    /// There are three forms. All are floats of one type, except that the bias and the result of bf16 are f32. Or `x` and
    /// `w` are quantized 8-bit integers: their zero points are subtracted, padding represents the real number zero, the
    /// bias and the result are i32, and the result is exact. Or `x`, the bias and the result are f32 and `w` is i8 or
    /// i4, quantized symmetrically (weight-only quantization): the weights are `w * scale`.
    pub struct Conv = "conv" {
        /// Padding before each spatial axis, then after each. Empty means 0.
        pads: Sizes = Sizes::new(),
        /// The stride along each spatial axis. Empty means 1.
        strides: Sizes = Sizes::new(),
        /// The dilation along each spatial axis. Empty means 1.
        dilations: Sizes = Sizes::new(),
        /// The number of groups of channels. Groups are independent of each other.
        group: usize = 1,
    }
}

/// Returns the canonical form of a window attribute: empty if all entries equal the default.
#[must_use]
pub fn canonical(list: &[usize], default: usize) -> Sizes {
    if list.iter().all(|x| *x == default) { Sizes::new() } else { Sizes::from_slice(list) }
}

impl Conv {
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

    /// Returns the output extent along the spatial axis `axis`, for the input extent `length` and the weights' extent
    /// `kernel`; `None` if the window does not fit.
    #[must_use]
    pub fn output_extent(&self, axis: usize, length: usize, kernel: usize) -> Option<usize> {
        let (before, after) = self.pad(axis);
        let window = kernel.checked_sub(1)?.saturating_mul(self.dilation(axis)).saturating_add(1);
        let room = length.saturating_add(before).saturating_add(after).checked_sub(window)?;
        Some((room / self.stride(axis)).saturating_add(1))
    }
}

impl OpDef for Conv {
    const NAME: &'static str = "conv";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        let lists = [("pads", &self.pads, 2), ("strides", &self.strides, 1), ("dilations", &self.dilations, 1)];
        let result = check(operands, &lists, self.group)?;
        let (xs, ws) = (&operands.get(0)?.ty.shape, &operands.get(1)?.ty.shape);
        let spatial = xs.rank() - 2;
        let mut shape = Shape::new(&[xs[0], ws[0]]).to_vec();
        for axis in 0..spatial {
            let Some(extent) = self.output_extent(axis, xs[axis + 2], ws[axis + 2]) else {
                let expected = format!("a window that fits into the padded axis {} of {xs}", axis + 2);
                return Err(operands.shape_error(1, expected, ws));
            };
            shape.push(extent);
        }
        Ok(smallvec![TensorType::new(result, Shape::new(&shape))])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::Affine { weight: 1, axis: 0, bias: 2 }
    }

    fn macs(&self, operands: Operands<'_>, output: &Shape) -> u64 {
        operands
            .optional(1)
            .map_or(0, |w| Shape::new(&w.ty.shape[1..]).elements().saturating_mul(output.elements()) as u64)
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let [xs, ws] = [0, 1].map(|at: usize| &operands[at].expect("inferred").array.shape);
        let extent = |a: usize| self.output_extent(a, xs[a + 2], ws[a + 2]).expect("inferred");
        let out: Vec<usize> = (0..xs.rank() - 2).map(extent).collect();
        sums(operands, &out, self.group, &|tap| self.runs(tap, &xs[2..], &ws[2..], &out), &|run, w, x, y| {
            let y = &mut y[run.to..][..run.count];
            if run.step == 1 {
                y.iter_mut().zip(&x[run.from..]).for_each(|(y, x)| *y += w * x);
            } else {
                y.iter_mut().zip(x[run.from..].iter().step_by(run.step)).for_each(|(y, x)| *y += w * x);
            }
        })
    }
}

/// Adds the products of one tap for a run of outputs. Arguments: the run, the tap's weight, the input plane, the output
/// plane.
type AddRun<'a> = dyn Fn(&Run, f64, &[f64], &mut [f64]) + 'a;

/// Computes a convolution or a transposed convolution: output planes of extents `out`, each with its bias plus what
/// `add` adds for each tap. All channels share the runs of a tap.
pub(super) fn sums(
    operands: &[Option<EvalOperand<'_>>],
    out: &[usize],
    group: usize,
    runs: &dyn Fn(usize) -> Vec<Run>,
    add: &AddRun<'_>,
) -> SmallVec<[Array; 1]> {
    let (x, w) = (operands[0].expect("inferred"), operands[1].expect("inferred"));
    let (xs, ws) = (&x.array.shape, &w.array.shape);
    let (batch, channels, filters) = (xs[0], xs[1], ws[0]);
    let (x_plane, w_plane, y_plane): (usize, usize, usize) =
        (xs[2..].iter().product(), ws[2..].iter().product(), out.iter().product());
    let [xv, wv] = factors(&x, &w);
    let bias = operands.get(2).copied().flatten().map(|b| widened(b.array));
    let mut y = vec![0.0_f64; batch * filters * y_plane];
    let taps: Vec<Vec<Run>> = (0..w_plane).map(runs).collect();
    for (plane, y) in y.chunks_exact_mut(y_plane.max(1)).enumerate() {
        let (n, o) = (plane / filters, plane % filters);
        y.fill(bias.as_ref().map_or(0.0, |b| b[o]));
        let first = o / (filters / group) * ws[1];
        for i in 0..ws[1] {
            let x = &xv[(n * channels + first + i) * x_plane..][..x_plane];
            for (tap, runs) in taps.iter().enumerate() {
                let w = wv[(o * ws[1] + i) * w_plane + tap];
                runs.iter().for_each(|run| add(run, w, x, y));
            }
        }
    }
    let shape = [&[batch, filters], out].concat();
    smallvec![narrowed(y, Shape::new(&shape), x.array.dtype)]
}

/// Consecutive outputs in one row for which a tap reads inside the input.
pub(super) struct Run {
    pub(super) to: usize,
    pub(super) from: usize,
    pub(super) step: usize,
    pub(super) count: usize,
}

impl Conv {
    /// Returns the runs of outputs, in a plane of extents `out`, for which the tap `tap` of a window `kernel` reads
    /// inside an input plane of extents `input`.
    pub(super) fn runs(&self, tap: usize, input: &[usize], kernel: &[usize], out: &[usize]) -> Vec<Run> {
        let last = out.len() - 1;
        let mut index = vec![0; out.len()];
        let mut rest = tap;
        for axis in (0..kernel.len()).rev() {
            index[axis] = rest % kernel[axis];
            rest /= kernel[axis];
        }
        // Input coordinate = output coordinate * stride + shift.
        let shift = |axis: usize| (index[axis] * self.dilation(axis)) as isize - self.pad(axis).0 as isize;
        let rows: usize = out[..last].iter().product();
        (0..rows)
            .filter_map(|row| {
                let (mut from, mut stride, mut rest) = (0, input[last], row);
                for axis in (0..last).rev() {
                    let at = (rest % out[axis] * self.stride(axis)) as isize + shift(axis);
                    rest /= out[axis];
                    let at = usize::try_from(at).ok().filter(|at| *at < input[axis])?;
                    from += at * stride;
                    stride *= input[axis];
                }
                let (step, shift) = (self.stride(last), shift(last));
                let first = if shift < 0 { (-shift as usize).div_ceil(step) } else { 0 };
                // The outputs x with x * step + shift < input.
                let end = (input[last] as isize - shift).max(0) as usize;
                let end = end.div_ceil(step).min(out[last]);
                let count = end.checked_sub(first).filter(|c| *c > 0)?;
                let from = from + ((first * step) as isize + shift) as usize;
                Some(Run { to: row * out[last] + first, from, step, count })
            })
            .collect()
    }
}

/// Checks the common properties of a convolution and its transpose, and returns the result type. Operands: `x`, `w` of
/// shape O x C/group x K..., optionally a bias of shape O. `lists` are the window's attributes with their number of
/// entries per spatial axis.
pub(super) fn check(
    operands: Operands<'_>,
    lists: &[(&'static str, &Sizes, usize)],
    group: usize,
) -> Result<DType, InferError> {
    operands.expect_count(2, 3)?;
    let (x, w) = (operands.get(0)?, operands.get(1)?);
    let rank = x.ty.shape.rank();
    if rank < 3 {
        return Err(operands.shape_error(0, "rank 3 or more", &x.ty.shape));
    }
    for (attr, list, entries) in lists {
        let expected = entries * (rank - 2);
        if !list.is_empty() && list.len() != expected {
            return Err(operands.attr_error(attr, format!("expects {expected} entries, got {}", list.len())));
        }
    }
    let zero = |(attr, list, _): &(&str, &Sizes, usize)| matches!(*attr, "strides" | "dilations") && list.contains(&0);
    if lists.iter().any(zero) || group == 0 {
        return Err(operands.attr_error("strides", "strides, dilations and group must be at least 1"));
    }
    let (xs, ws) = (&x.ty.shape, &w.ty.shape);
    if ws.rank() != rank || ws[0] % group != 0 || ws[1].saturating_mul(group) != xs[1] {
        let expected = format!("shape O x {}/{group} x kernel for {xs}, O divisible by the groups", xs[1]);
        return Err(operands.shape_error(1, expected, ws));
    }
    let result = accumulator(operands, 0)?;
    if let Some(b) = operands.optional(2) {
        if b.ty.dtype != result {
            return Err(operands.dtype_error(2, result, b.ty.dtype));
        }
        if *b.ty.shape != [ws[0]] {
            return Err(operands.shape_error(2, format!("shape {}", ws[0]), &b.ty.shape));
        }
    }
    Ok(result)
}

/// Returns the result type of a convolution or matrix product of operands 0 and 1: the float type, which is f32 for
/// bf16, or i32 for 8-bit integers.
///
/// An integer operand 0 must be quantized per tensor. Integer weights must be quantized per tensor or per output channel,
/// which is their axis `channel`. Otherwise the zero points and scales cannot be moved out of the sum. Integer weights of a
/// product with f32 must be symmetric.
pub(super) fn accumulator(operands: Operands<'_>, channel: usize) -> Result<DType, InferError> {
    let (x, w) = (operands.get(0)?, operands.get(1)?);
    match (x.ty.dtype, w.ty.dtype) {
        (DType::U8 | DType::I8, DType::U8 | DType::I8) => {
            if x.quant.is_some_and(|q| !q.is_per_tensor()) {
                return Err(operands.quant_error(0, "must be quantized per tensor"));
            }
            along_channels(operands, channel)?;
            Ok(DType::I32)
        }
        (DType::F32, DType::I8 | DType::I4) => {
            along_channels(operands, channel)?;
            match w.quant {
                None => Err(operands.quant_error(1, "must be quantized, for a product with f32")),
                Some(q) if q.zero_point.iter().any(|zero_point| *zero_point != 0) => {
                    Err(operands.quant_error(1, "must be quantized symmetrically, for a product with f32"))
                }
                Some(_) => Ok(DType::F32),
            }
        }
        (DType::Bf16, DType::Bf16) => Ok(DType::F32),
        (x, w) if x == w && x.is_float() => Ok(x),
        (x, w) if x.is_float() => Err(operands.dtype_error(1, x, w)),
        (x, _) if x.bits() != 8 => Err(operands.dtype_error(0, "a float, i8 or u8", x)),
        (_, w) => Err(operands.dtype_error(1, "i8 or u8", w)),
    }
}

/// Checks that quantized weights, operand 1, have one scale for the tensor, or one for each output channel.
fn along_channels(operands: Operands<'_>, channel: usize) -> Result<(), InferError> {
    let outside = |g| !matches!(g, Granularity::PerTensor) && g != Granularity::PerChannel { axis: channel };
    match operands.get(1)?.quant {
        Some(q) if outside(q.granularity) => {
            Err(operands.quant_error(1, format!("must be quantized per tensor or along axis {channel}")))
        }
        _ => Ok(()),
    }
}

/// Returns the factors of all products as f64, those of `x` and those of `w`: floats and dequantized weights, or integers
/// less their zero points.
pub(super) fn factors(x: &EvalOperand<'_>, w: &EvalOperand<'_>) -> [Vec<f64>; 2] {
    match w.quant.filter(|_| x.array.dtype.is_float()) {
        Some(quant) => [widened(x.array), widened(&dequantized(w.array, quant))],
        None => [centered(x), centered(w)],
    }
}

/// Returns the numbers as f64. Zero points are subtracted from integers.
///
/// An f64 accumulates products of 8-bit integers exactly up to 2^53, that is, 2^37 products.
fn centered(operand: &EvalOperand<'_>) -> Vec<f64> {
    let numbers = widened(operand.array);
    let Some(q) = operand.quant.filter(|q| q.zero_point.iter().any(|z| *z != 0)) else { return numbers };
    let entry = super::quantize_linear::entries(&operand.array.shape, q);
    numbers.iter().enumerate().map(|(i, x)| x - f64::from(q.zero_point[entry(i)])).collect()
}

/// Returns the numbers as f64.
pub(super) fn widened(array: &Array) -> Vec<f64> {
    match &array.data {
        Data::Float(v) => v.iter().map(|x| f64::from(*x)).collect(),
        Data::Int(v) => v.iter().map(|x| *x as f64).collect(),
    }
}

/// Converts accumulators to the result type for operands of type `dtype`: floats are rounded once, integers become
/// exact i32.
pub(super) fn narrowed(sums: Vec<f64>, shape: Shape, dtype: DType) -> Array {
    if dtype.is_float() {
        let dtype = if dtype == DType::Bf16 { DType::F32 } else { dtype };
        let data = Data::Float(sums.into_iter().map(|x| x as f32).collect());
        return Array { dtype, shape, data }.rounded();
    }
    Array { dtype: DType::I32, shape, data: Data::Int(sums.into_iter().map(|x| x as i64).collect()) }
}

//! `conv_transpose`: the transpose of a convolution (ONNX ConvTranspose), with any number of spatial axes and groups.

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::Sizes;
use crate::op::conv::{Conv, centered, check, narrowed, widened};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// `y[n, o, q] = b[o] + sum of x[n, i, p] * w[o, i, k]` over all i, p, k with `p * stride + k * dilation - pad = q`.
    ///
    /// Operands as those of [`Conv`]: `x` of shape N x C x D..., weights `w` of shape O x C/group x K..., whatever order
    /// a model has them in, and optionally a bias of shape O. So whoever knows the weights of the one knows those of
    /// the other.
    pub struct ConvTranspose = "conv_transpose" {
        /// What is cut off before each spatial axis, then after each; nothing if empty.
        pads: Sizes = Sizes::new(),
        /// Distance of what neighbouring inputs yield along each spatial axis; all 1 if empty.
        strides: Sizes = Sizes::new(),
        /// Distance of neighbouring taps along each spatial axis; all 1 if empty.
        dilations: Sizes = Sizes::new(),
        /// What is added after each spatial axis; nothing if empty.
        output_padding: Sizes = Sizes::new(),
        /// The channels are cut into this many groups that do not meet.
        group: usize = 1,
    }
}

impl ConvTranspose {
    /// The convolution of which this is the transpose: from our output to our input.
    #[must_use]
    pub fn transposed(&self) -> Conv {
        let ConvTranspose { pads, strides, dilations, group, .. } = self.clone();
        Conv { pads, strides, dilations, group }
    }

    /// The extent of the output along spatial axis `axis` for an input of extent `length` and weights of extent
    /// `kernel`, if there is an output.
    #[must_use]
    pub fn output_extent(&self, axis: usize, length: usize, kernel: usize) -> Option<usize> {
        let conv = self.transposed();
        let (before, after) = conv.pad(axis);
        let reach = length.checked_sub(1)?.saturating_mul(conv.stride(axis));
        let window = kernel.checked_sub(1)?.saturating_mul(conv.dilation(axis)).saturating_add(1);
        let more = self.output_padding.get(axis).copied().unwrap_or(0);
        let whole = reach.saturating_add(window).saturating_add(more);
        whole.checked_sub(before.saturating_add(after)).filter(|extent| *extent > 0)
    }
}

impl OpDef for ConvTranspose {
    const NAME: &'static str = "conv_transpose";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        let result = check(
            operands,
            &[
                ("pads", &self.pads, 2),
                ("strides", &self.strides, 1),
                ("dilations", &self.dilations, 1),
                ("output_padding", &self.output_padding, 1),
            ],
            self.group,
        )?;
        let (xs, ws) = (&operands.get(0)?.ty.shape, &operands.get(1)?.ty.shape);
        let mut shape = vec![xs[0], ws[0]];
        for axis in 0..xs.rank() - 2 {
            let Some(extent) = self.output_extent(axis, xs[axis + 2], ws[axis + 2]) else {
                let expected = format!("a window that leaves an output along axis {} of {xs}", axis + 2);
                return Err(operands.shape_error(1, expected, ws));
            };
            shape.push(extent);
        }
        Ok(smallvec![TensorType::new(result, Shape::new(&shape))])
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::Affine { weight: 1, axis: 0, bias: 2 }
    }

    fn macs(&self, operands: Operands<'_>, _output: &Shape) -> u64 {
        let (Some(x), Some(w)) = (operands.optional(0), operands.optional(1)) else { return 0 };
        let products = w.ty.shape.elements() / w.ty.shape[1].max(1) / self.group;
        products.saturating_mul(x.ty.shape.elements()) as u64
    }

    fn eval(&self, operands: &[Option<EvalOperand<'_>>]) -> SmallVec<[Array; 1]> {
        let (x, w) = (operands[0].expect("inferred"), operands[1].expect("inferred"));
        let (xs, ws) = (&x.array.shape, &w.array.shape);
        let extent = |a: usize| self.output_extent(a, xs[a + 2], ws[a + 2]).expect("inferred");
        let out: Vec<usize> = (0..xs.rank() - 2).map(extent).collect();
        let (batch, channels, filters) = (xs[0], xs[1], ws[0]);
        let (x_plane, w_plane, y_plane): (usize, usize, usize) =
            (xs[2..].iter().product(), ws[2..].iter().product(), out.iter().product());
        let (xv, wv) = (centered(&x), centered(&w));
        let bias = operands.get(2).copied().flatten().map(|b| widened(b.array));
        let mut y = vec![0.0_f64; batch * filters * y_plane];
        // What the convolution reads from our output for each of its results is where that input of ours is added.
        let conv = self.transposed();
        let taps: Vec<_> = (0..w_plane).map(|tap| conv.runs(tap, &out, &ws[2..], &xs[2..])).collect();
        for (plane, y) in y.chunks_exact_mut(y_plane.max(1)).enumerate() {
            let (n, o) = (plane / filters, plane % filters);
            y.fill(bias.as_ref().map_or(0.0, |b| b[o]));
            let first = o / (filters / self.group) * ws[1];
            for i in 0..ws[1] {
                let x = &xv[(n * channels + first + i) * x_plane..][..x_plane];
                for (tap, runs) in taps.iter().enumerate() {
                    let w = wv[(o * ws[1] + i) * w_plane + tap];
                    for run in runs {
                        let y = y[run.from..].iter_mut().step_by(run.step);
                        y.zip(&x[run.to..][..run.count]).for_each(|(y, x)| *y += w * x);
                    }
                }
            }
        }
        let shape = [&[batch, filters], out.as_slice()].concat();
        smallvec![narrowed(y, Shape::new(&shape), x.array.dtype)]
    }
}

//! `conv_transpose`: the transpose of a convolution (ONNX ConvTranspose), with any number of spatial axes and groups.

use smallvec::{SmallVec, smallvec};

use crate::array::Array;
use crate::attr::Sizes;
use crate::op::conv::{Conv, check, sums};
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// `y[n, o, q] = b[o] + sum of x[n, i, p] * w[o, i, k]` over all i, p, k with `p * stride + k * dilation - pad =
    /// q`.
    ///
    /// Operands as for [`Conv`]: `x` of shape N x C x D..., weights `w` of shape O x C/group x K..., and optionally a
    /// bias of shape O. The importer brings the model's weights into this order, so both operators have the same weight
    /// layout.
    pub struct ConvTranspose = "conv_transpose" {
        /// The elements cropped before each spatial axis, then after each. Empty means 0.
        pads: Sizes = Sizes::new(),
        /// The distance between the outputs of neighbouring inputs, along each spatial axis. Empty means 1.
        strides: Sizes = Sizes::new(),
        /// The dilation along each spatial axis. Empty means 1.
        dilations: Sizes = Sizes::new(),
        /// The elements added after each spatial axis. Empty means 0.
        output_padding: Sizes = Sizes::new(),
        /// The number of groups of channels. Groups are independent of each other.
        group: usize = 1,
    }
}

impl ConvTranspose {
    /// Returns the convolution whose transpose this is. It maps our output to our input.
    #[must_use]
    pub fn transposed(&self) -> Conv {
        let ConvTranspose { pads, strides, dilations, group, .. } = self.clone();
        Conv { pads, strides, dilations, group }
    }

    /// Returns the output extent along the spatial axis `axis`, for the input extent `length` and the weights' extent
    /// `kernel`; `None` if it would be empty.
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
        let [xs, ws] = [0, 1].map(|at: usize| &operands[at].expect("inferred").array.shape);
        let extent = |a: usize| self.output_extent(a, xs[a + 2], ws[a + 2]).expect("inferred");
        let out: Vec<usize> = (0..xs.rank() - 2).map(extent).collect();
        // The convolution reads an element of our output for its result; the transpose adds our input to that element.
        let conv = self.transposed();
        sums(operands, &out, self.group, &|tap| conv.runs(tap, &out, &ws[2..], &xs[2..]), &|run, w, x, y| {
            let y = y[run.from..].iter_mut().step_by(run.step);
            y.zip(&x[run.to..][..run.count]).for_each(|(y, x)| *y += w * x);
        })
    }
}

//! The range of the i32 accumulator of a convolution or matrix product.
//!
//! Compiled code adds modulo 2^32. The result is exact if the final sum, bias included, fits i32. Partial sums may
//! overflow.

use eightfold_ir::{DType, Granularity, Graph, QuantParams, ValueId};

use super::Scalar;

/// The least and the greatest accumulator value for any stored input, per output channel or for all channels.
pub(super) struct Accumulator {
    sums: Vec<(i64, i64)>,
}

impl Accumulator {
    /// Computes the bounds for the input `x` and the weights `w`, whose output channels lie on the axis `channels`.
    pub(super) fn of(graph: &Graph, x: Scalar, w: ValueId, weights: &QuantParams, channels: Option<usize>) -> Self {
        let (low, high) = x.range();
        let inputs = (i64::from(low - x.zero_point), i64::from(high - x.zero_point));
        // The least and the greatest product of one weight. The input range includes zero.
        let reach = |weight: i64| {
            let (a, b) = (weight * inputs.0, weight * inputs.1);
            (a.min(b), a.max(b))
        };
        let shape = &graph.ty(w).shape;
        let constant = graph.constant(w).and_then(|tensor| tensor.to_ints());
        if let (Some(integers), Some(axis)) = (&constant, channels) {
            let (stride, extent) = (shape.strides()[axis], shape[axis]);
            let zero_point = |channel: usize| match weights.granularity {
                Granularity::PerChannel { .. } => weights.zero_point[channel],
                _ => weights.zero_point[0],
            };
            let mut sums = vec![(0, 0); extent];
            for (index, weight) in integers.iter().enumerate() {
                let channel = index / stride % extent;
                let (low, high) = reach(weight - i64::from(zero_point(channel)));
                sums[channel] = (sums[channel].0 + low, sums[channel].1 + high);
            }
            return Accumulator { sums };
        }
        // Without constant weights per channel: the bound is the number of products times the bound of one product.
        let count = match channels {
            Some(axis) => shape.elements() / shape[axis].max(1),
            None => shape[shape.rank() - 2],
        };
        let (least, greatest) = match constant {
            Some(integers) => {
                let fold = |f: fn(i64, i64) -> i64| integers.iter().copied().reduce(f).unwrap_or(0);
                (fold(i64::min), fold(i64::max))
            }
            None => weights.storage.integer_range().unwrap_or((i32::MIN.into(), i32::MAX.into())),
        };
        let ends = weights.zero_point.iter().flat_map(|z| [least - i64::from(*z), greatest - i64::from(*z)]);
        let (low, high) = ends.map(reach).fold((0, 0), |a, b| (a.0.min(b.0), a.1.max(b.1)));
        let times = |end: i64| end.saturating_mul(count as i64);
        Accumulator { sums: vec![(times(low), times(high))] }
    }

    /// Returns true if every accumulator that starts with `bias` fits i32. `bias` has one entry per output channel, or
    /// none.
    pub(super) fn holds(&self, bias: &[i64]) -> bool {
        let is_i32 = |sum: i64| DType::I32.wrap(sum) == sum;
        let fits = |bias: i64, (low, high): (i64, i64)| {
            is_i32(bias.saturating_add(low)) && is_i32(bias.saturating_add(high)) && is_i32(bias)
        };
        let sums = self.sums.iter().cycle().take(self.sums.len().max(bias.len()));
        sums.enumerate().all(|(channel, sum)| fits(bias.get(channel).copied().unwrap_or(0), *sum))
    }
}

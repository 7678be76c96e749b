//! The bias of a convolution or matrix product: an integer in the accumulator if that is accurate enough, otherwise a
//! float that is added after scaling.

use eightfold_ir::op::quantize_linear::entries;
use eightfold_ir::{DType, Graph, ValueId};

use super::accumulator::Accumulator;
use super::{Obstacle, dequantized};
use crate::channel::f32_constant;

/// The greatest allowed error of a rounded bias if the result is quantized, in quantization steps of the result.
const SHIFT: f64 = 1.0 / 64.0;
/// The greatest allowed relative error of a rounded bias if the result is float.
const RELATIVE_SHIFT: f64 = 1e-6;

/// The form of the bias in the lowered operator.
pub(super) enum Bias {
    /// The stored integers, unchanged.
    Same(ValueId),
    /// Integers at the scale `s_x * s_w` of the products.
    Integers(Vec<i64>),
    /// Floats, which are added after the accumulator has been scaled.
    Reals(Vec<f32>),
}

impl Bias {
    /// Chooses the form of `bias`. `products` are the scales of the products, one per output channel or one for all.
    /// `step` is the scale of the result, if it is quantized.
    pub(super) fn of(
        graph: &Graph,
        bias: ValueId,
        products: &[f32],
        accumulator: &Accumulator,
        step: Option<f32>,
    ) -> Result<Self, Obstacle> {
        let product = |channel: usize| products[channel % products.len()];
        let reals: Vec<f32> = match (dequantized(graph, bias), f32_constant(graph, bias)) {
            (Some((stored, params)), _) => {
                let tensor = graph.constant(stored).ok_or("its bias is not constant")?;
                let integers = tensor.to_ints().ok_or("its bias is not dequantized from integers")?;
                let entry = entries(tensor.shape(), params);
                let scale = |i: usize| (params.scale[entry(i)], params.zero_point[entry(i)]);
                let at_products = (0..integers.len()).all(|i| scale(i) == (product(i), 0));
                if tensor.dtype() == DType::I32 && at_products && accumulator.holds(&integers) {
                    return Ok(Bias::Same(stored));
                }
                let real = |(i, b): (usize, i64)| (b - i64::from(scale(i).1)) as f32 * scale(i).0;
                integers.into_iter().enumerate().map(real).collect()
            }
            (None, Some(tensor)) => tensor.to_f32s().ok_or("its bias is not a float constant")?,
            (None, None) => return Err("its bias is not constant".to_owned()),
        };
        if reals.iter().any(|b| b.is_nan()) {
            return Err("its bias contains NaN".to_owned());
        }
        let rounded = |(channel, real): (usize, &f32)| {
            let (real, product) = (f64::from(*real), f64::from(product(channel)));
            let integer = (real / product).round_ties_even();
            let allowed = step.map_or(RELATIVE_SHIFT * real.abs(), |step| SHIFT * f64::from(step));
            // False for infinity and NaN.
            ((integer * product - real).abs() <= allowed).then_some(integer as i64)
        };
        let integers: Option<Vec<i64>> = reals.iter().enumerate().map(rounded).collect();
        Ok(match integers.filter(|integers| accumulator.holds(integers)) {
            Some(integers) => Bias::Integers(integers),
            None => Bias::Reals(reals),
        })
    }
}

//! The bias of a sum of products: an integer in the accumulator where that changes nothing, else a float added later.

use eightfold_ir::op::quantize_linear::entries;
use eightfold_ir::{DType, Graph, ValueId};

use super::accumulator::Accumulator;
use super::{Obstacle, dequantized};
use crate::channel::f32_constant;

/// What rounding a bias may shift a quantized result by, in steps of the result.
const SHIFT: f64 = 1.0 / 64.0;
/// What rounding a bias may shift a float result by, over the bias.
const RELATIVE_SHIFT: f64 = 1e-6;

/// A bias in the form in which the lowered operator has it.
pub(super) enum Bias {
    /// The stored integers as they stand in the graph.
    Same(ValueId),
    /// Integers at the scales of the products.
    Integers(Vec<i64>),
    /// Real numbers, to be added after the accumulator has been scaled.
    Reals(Vec<f32>),
}

impl Bias {
    /// The form of `bias`, a value of the graph, beside products of these scales (one for each output channel, or one);
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
            return Err("its bias holds what is no number".to_owned());
        }
        let rounded = |(channel, real): (usize, &f32)| {
            let (real, product) = (f64::from(*real), f64::from(product(channel)));
            let integer = (real / product).round_ties_even();
            let allowed = step.map_or(RELATIVE_SHIFT * real.abs(), |step| SHIFT * f64::from(step));
            // False where the quotient is infinite or no number.
            ((integer * product - real).abs() <= allowed).then_some(integer as i64)
        };
        let integers: Option<Vec<i64>> = reals.iter().enumerate().map(rounded).collect();
        Ok(match integers.filter(|integers| accumulator.holds(integers)) {
            Some(integers) => Bias::Integers(integers),
            None => Bias::Reals(reals),
        })
    }
}

//! Steps in units of the output's scale.
//!
//! Between an operator and the quantization of its result, numbers can be real numbers or multiples of the output's
//! scale. In multiples, requantization takes one multiplication by a constant. This is possible only if all steps
//! commute with a change of scale: ReLU, add and mul do, a sigmoid does not.

use eightfold_ir::quant::quantize;
use eightfold_ir::{Arg, Function, Graph, Rewrite, Step, Tensor};

use super::{Scalar, stored};
use crate::channel::f32_constant;
use crate::fuse::float_bounds;

/// How the result of a function changes if its current number is divided by a unit.
enum Law {
    /// The result is divided by the unit, if all other arguments are too.
    Linear,
    /// The result is divided by the unit, with the other arguments unchanged.
    Factor,
    /// The function does not commute with a change of unit.
    None,
}

fn law(function: Function, args: &[Arg]) -> Law {
    match function {
        Function::Add | Function::Clip | Function::Max | Function::Min | Function::Sub => Law::Linear,
        Function::Abs | Function::Neg | Function::Relu => Law::Linear,
        // The slope or divisor has no unit. A quotient with the current number as divisor is not linear.
        Function::Div | Function::LeakyRelu | Function::Mul | Function::Prelu => {
            let commutes = function == Function::Mul || args.first() == Some(&Arg::Current);
            let once = args.iter().filter(|a| **a == Arg::Current).count() == 1;
            if commutes && once { Law::Factor } else { Law::None }
        }
        _ => Law::None,
    }
}

/// Returns the step on numbers divided by `unit`; it reads integers instead of dequantized tensors. `None` if the step
/// does not commute with the change of scale, or if one of its constants would become infinite.
pub(super) fn rescaled(graph: &Graph, rewrite: &mut Rewrite, step: &Step, unit: f32) -> Option<Step> {
    let Step::Apply(function, args) = step else { return None };
    let linear = match law(*function, args) {
        Law::Linear => true,
        Law::Factor => false,
        Law::None => return None,
    };
    let mut args = args.clone();
    for arg in &mut args {
        *arg = match (*arg, linear) {
            (Arg::Float(x), true) => Arg::Float(divided(x, unit)?),
            (Arg::Value(value), _) if stored(graph, value).is_some() => {
                let (value, Scalar { scale, zero_point, .. }) = stored(graph, value)?;
                Arg::Dequantized { value, scale: if linear { scale / unit } else { scale }, zero_point }
            }
            (Arg::Value(value), true) => {
                let tensor = f32_constant(graph, value)?;
                let numbers = tensor.to_f32s()?.into_iter().map(|x| divided(x, unit)).collect::<Option<Vec<_>>>()?;
                Arg::Value(rewrite.constant("", Tensor::f32(tensor.shape(), &numbers), None))
            }
            (Arg::Value(value), false) if f32_constant(graph, value).is_none() => return None,
            (arg, _) => arg,
        };
    }
    Some(Step::Apply(*function, args))
}

/// Returns `x / unit`; `None` if only the quotient is infinite.
pub(super) fn divided(x: f32, unit: f32) -> Option<f32> {
    let quotient = x / unit;
    (quotient.is_finite() || !x.is_finite()).then_some(quotient)
}

/// Returns the step with integers instead of the dequantized tensors that it reads.
pub(super) fn on_integers(graph: &Graph, step: &Step) -> Step {
    let mut step = step.clone();
    if let Step::Apply(_, args) = &mut step {
        for arg in args {
            if let Arg::Value(value) = *arg
                && let Some((value, Scalar { scale, zero_point, .. })) = stored(graph, value)
            {
                *arg = Arg::Dequantized { value, scale, zero_point };
            }
        }
    }
    step
}

/// Removes the clips at the end of the steps. Returns the other steps and the range of integers that the clips allow.
///
/// Quantization is monotonic, so `quantize(clip(x, a, b)) = clip(quantize(x), quantize(a), quantize(b))`.
pub(super) fn bounded<'s>(graph: &Graph, mut steps: &'s [Step], to: Scalar) -> (&'s [Step], i32, i32) {
    let (type_min, type_max) = to.range();
    let (mut min, mut max) = (type_min, type_max);
    while let Some((last, before)) = steps.split_last() {
        let Some((low, high)) = float_bounds(graph, last) else { break };
        let q = |x: f32| quantize(x, to.scale, to.zero_point, type_min, type_max);
        // The removed clips run in reverse: an earlier clip is bounded by the later ones.
        (min, max) = (q(low).clamp(min, max), q(high).clamp(min, max));
        steps = before;
    }
    (steps, min, max)
}

/// Returns the steps and the quantization for an operator's numbers divided by a unit, and that unit. The unit is the
/// output's scale if all steps commute with the change of scale, otherwise 1.
pub(super) fn finished(graph: &Graph, rewrite: &mut Rewrite, steps: &[Step], to: Option<Scalar>) -> (f32, Vec<Step>) {
    let in_steps = to.and_then(|to| {
        let (kept, min, max) = bounded(graph, steps, to);
        let mut steps: Vec<Step> =
            kept.iter().map(|step| rescaled(graph, rewrite, step, to.scale)).collect::<Option<_>>()?;
        steps.push(Step::Quantize { dtype: to.storage, scale: 1.0, zero_point: to.zero_point, min, max });
        Some((to.scale, steps))
    });
    in_steps.unwrap_or_else(|| (1.0, in_real_units(graph, steps, to)))
}

/// Returns the steps and the quantization for an operator's real numbers.
pub(super) fn in_real_units(graph: &Graph, steps: &[Step], to: Option<Scalar>) -> Vec<Step> {
    let on_integers = |step: &Step| on_integers(graph, step);
    let Some(to) = to else { return steps.iter().map(on_integers).collect() };
    let (kept, min, max) = bounded(graph, steps, to);
    let quantize = Step::Quantize { dtype: to.storage, scale: to.scale, zero_point: to.zero_point, min, max };
    kept.iter().map(on_integers).chain([quantize]).collect()
}

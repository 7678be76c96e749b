//! Activations with attributes: Celu, Clip, Elu, Gelu, HardSigmoid, LeakyRelu, Mish, Selu, Swish, ThresholdedRelu.

use eightfold_ir::{Arg, Function, Step};
use smallvec::smallvec;

use super::{Adapt, AdaptError, Outputs, broken, unsupported};
use crate::onnx::importer::Operand;

/// A `map` of operand 0 with the steps that `steps` returns. The second argument of `steps` is that operand, for steps
/// that use it again.
fn on_operand(
    a: &mut Adapt<'_, '_>,
    steps: impl FnOnce(&Adapt<'_, '_>, Arg) -> Result<Vec<Step>, AdaptError>,
) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let again = Arg::Value(a.place(&x));
    let steps = steps(a, again)?;
    Ok(vec![a.map(&x, steps)?])
}

fn with(function: Function, numbers: &[f32]) -> Step {
    let numbers = numbers.iter().map(|x| Arg::Float(*x));
    Step::Apply(function, std::iter::once(Arg::Current).chain(numbers).collect())
}

pub(super) fn celu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, _| {
        let alpha = a.float("alpha")?.unwrap_or(1.0);
        Ok(vec![with(Function::Div, &[alpha]), with(Function::Elu, &[1.0]), with(Function::Mul, &[alpha])])
    })
}

pub(super) fn elu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, _| Ok(vec![with(Function::Elu, &[a.float("alpha")?.unwrap_or(1.0)])]))
}

pub(super) fn selu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, _| {
        let alpha = a.float("alpha")?.unwrap_or(1.673_263_2);
        let gamma = a.float("gamma")?.unwrap_or(1.050_701);
        Ok(vec![with(Function::Elu, &[alpha]), with(Function::Mul, &[gamma])])
    })
}

pub(super) fn leaky_relu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, _| Ok(vec![with(Function::LeakyRelu, &[a.float("alpha")?.unwrap_or(0.01)])]))
}

pub(super) fn hard_sigmoid(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, _| {
        let (alpha, beta) = (a.float("alpha")?.unwrap_or(0.2), a.float("beta")?.unwrap_or(0.5));
        Ok(vec![with(Function::HardSigmoid, &[alpha, beta])])
    })
}

pub(super) fn thresholded_relu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, x| {
        let alpha = a.float("alpha")?.unwrap_or(1.0);
        let select = Step::Apply(Function::Select, smallvec![Arg::Current, x, Arg::Float(0.0)]);
        Ok(vec![with(Function::Greater, &[alpha]), select])
    })
}

pub(super) fn mish(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |_, x| {
        Ok(vec![Step::unary(Function::Softplus), Step::unary(Function::Tanh), Step::binary(Function::Mul, x)])
    })
}

/// `x sigmoid(alpha x)`
pub(super) fn swish(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, x| {
        Ok(match a.float("alpha")?.unwrap_or(1.0) {
            1.0 => vec![Step::unary(Function::Silu)],
            alpha => {
                vec![with(Function::Mul, &[alpha]), Step::unary(Function::Sigmoid), Step::binary(Function::Mul, x)]
            }
        })
    })
}

pub(super) fn gelu(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    on_operand(a, |a, x| match a.string("approximate")?.as_deref() {
        None | Some("none") => Ok(vec![Step::unary(Function::Gelu)]),
        // 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
        Some("tanh") => Ok(vec![
            Step::binary(Function::Mul, Arg::Current),
            with(Function::Mul, &[0.044_715]),
            with(Function::Add, &[1.0]),
            Step::binary(Function::Mul, x),
            with(Function::Mul, &[0.797_884_6]),
            Step::unary(Function::Tanh),
            with(Function::Add, &[1.0]),
            Step::binary(Function::Mul, x),
            with(Function::Mul, &[0.5]),
        ]),
        Some(other) => Err(unsupported(format!("approximate is {other:?}"))),
    })
}

/// Bounds are attributes before opset 11 and operands since.
pub(super) fn clip(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let (low, high) = if a.version < 11 {
        let bound = |x: Option<f32>, none: f32| x.filter(|x| *x != none).map(Arg::Float);
        (bound(a.float("min")?, f32::MIN), bound(a.float("max")?, f32::MAX))
    } else {
        (bound(a, &x, 1)?, bound(a, &x, 2)?)
    };
    let step = match (low, high) {
        (None, None) => return Ok(vec![x]),
        (Some(low), None) => Step::binary(Function::Max, low),
        (None, Some(high)) => Step::binary(Function::Min, high),
        (Some(low), Some(high)) => Step::Apply(Function::Clip, smallvec![Arg::Current, low, high]),
    };
    Ok(vec![a.map(&x, vec![step])?])
}

fn bound(a: &mut Adapt<'_, '_>, x: &Operand, index: usize) -> Result<Option<Arg>, AdaptError> {
    let Some(bound) = a.optional(index) else { return Ok(None) };
    if a.shape(&bound).elements() != 1 || a.shape(&bound).rank() > 1 || a.dtype(&bound) != a.dtype(x) {
        let (shape, dtype) = (a.shape(&bound), a.dtype(&bound));
        return Err(broken(format!("operand {index} is {shape}x{dtype}, expected a scalar of {}", a.dtype(x))));
    }
    // A bound of shape 1 must not add an axis to a scalar.
    let bound = a.reshape(&bound, &[])?;
    Ok(Some(a.argument(&bound)))
}

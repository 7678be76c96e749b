//! BatchNormalization, InstanceNormalization, LayerNormalization.

use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Arg, Data, Function, Shape, Step, Tensor};

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};
use crate::onnx::importer::Operand;

/// `(x - mean) / sqrt(var + epsilon) * scale + bias` as one multiplication and one addition per channel.
pub(super) fn batch_normalization(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    if a.flag("training_mode", false)? || !a.flag("spatial", true)? {
        return Err(unsupported("training_mode is set, or spatial is not"));
    }
    for (index, name) in [(1, "mean"), (2, "var"), (3, "saved_mean"), (4, "saved_var")] {
        a.refuse_output(index, name)?;
    }
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    if shape.rank() < 2 {
        return Err(broken(format!("an operand of shape {shape}, expected rank 2 or more")));
    }
    let parameters = (1..5).map(|i| channels(a, i, shape[1], shape.rank() - 2)).collect::<Result<Vec<_>, _>>()?;
    let epsilon = a.float("epsilon")?.unwrap_or(1e-5);
    let dtype = a.dtype(&x);
    let constant = |o: &Operand| match o {
        Operand::Const { tensor, .. } => tensor.to_f32s(),
        Operand::Value(_) => None,
    };
    let (factor, addend) = if let Some(p) = parameters.iter().map(constant).collect::<Option<Vec<_>>>() {
        let number = |list: usize, c: usize| f64::from(p[list][c]);
        let factors: Vec<f64> =
            (0..shape[1]).map(|c| number(0, c) / (number(3, c) + f64::from(epsilon)).sqrt()).collect();
        let addends = (0..shape[1]).map(|c| (number(1, c) - number(2, c) * factors[c]) as f32).collect();
        let factors = factors.iter().map(|x| *x as f32).collect();
        let per_channel = |list: Vec<f32>| {
            let shape = a.shape(&parameters[0]);
            Operand::constant("", Tensor::from_array(dtype, shape, &Data::Float(list)))
        };
        (per_channel(factors), per_channel(addends))
    } else {
        let [scale, bias, mean, var] = &parameters[..] else { unreachable!("four parameters have been read") };
        let root = a.map(var, vec![Step::binary(Function::Add, Arg::Float(epsilon)), Step::unary(Function::Sqrt)])?;
        let factor = a.elementwise(Function::Div, &[scale.clone(), root])?;
        let shift = a.elementwise(Function::Mul, &[mean.clone(), factor.clone()])?;
        let addend = a.elementwise(Function::Sub, &[bias.clone(), shift])?;
        (factor, addend)
    };
    let steps =
        vec![Step::binary(Function::Mul, a.argument(&factor)), Step::binary(Function::Add, a.argument(&addend))];
    Ok(vec![a.map(&x, steps)?])
}

/// The operand at `index` with one number per channel, reshaped to broadcast along axis 1 of a tensor with `spatial`
/// further axes.
fn channels(a: &mut Adapt<'_, '_>, index: usize, count: usize, spatial: usize) -> Result<Operand, AdaptError> {
    let operand = a.operand(index)?;
    if *a.shape(&operand) != [count] {
        return Err(broken(format!("operand {index} has shape {}, expected {count}", a.shape(&operand))));
    }
    let shape: Vec<usize> = std::iter::once(count).chain(std::iter::repeat_n(1, spatial)).collect();
    a.reshape(&operand, &shape)
}

pub(super) fn instance_normalization(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let shape = a.shape(&x);
    if shape.rank() < 3 {
        return Err(broken(format!("an operand of shape {shape}, expected rank 3 or more")));
    }
    let scale = channels(a, 1, shape[1], shape.rank() - 2)?;
    let bias = channels(a, 2, shape[1], shape.rank() - 2)?;
    let epsilon = a.float("epsilon")?.unwrap_or(1e-5);
    let normal = standardize(a, &x, (2..shape.rank()).collect(), epsilon)?;
    let steps = vec![Step::binary(Function::Mul, a.argument(&scale)), Step::binary(Function::Add, a.argument(&bias))];
    Ok(vec![a.map(&normal, steps)?])
}

pub(super) fn layer_normalization(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    a.refuse_output(1, "Mean")?;
    a.refuse_output(2, "InvStdDev")?;
    let (x, scale) = (a.operand(0)?, a.operand(1)?);
    let rank = a.shape(&x).rank();
    let first = axis(a.int("axis")?.unwrap_or(-1), rank)?;
    let epsilon = a.float("epsilon")?.unwrap_or(1e-5);
    let normal = standardize(a, &x, (first..rank).collect(), epsilon)?;
    let mut y = a.elementwise(Function::Mul, &[normal, scale])?;
    if let Some(bias) = a.optional(2) {
        y = a.elementwise(Function::Add, &[y, bias])?;
    }
    Ok(vec![y])
}

/// `(x - mean) / sqrt(variance + epsilon)` with mean and variance over `axes`.
fn standardize(a: &mut Adapt<'_, '_>, x: &Operand, axes: Vec<usize>, epsilon: f32) -> Result<Operand, AdaptError> {
    let mean = |a: &mut Adapt<'_, '_>, x: &Operand| {
        a.emit(Reduce { kind: ReduceKind::Mean, axes: axes.iter().copied().collect(), keepdims: true }, &[x])
    };
    if axes.iter().map(|i| a.shape(x)[*i]).product::<usize>() == 0 {
        return Err(broken(format!("no elements to normalize in {}", Shape::to_string(&a.shape(x)))));
    }
    let center = mean(a, x)?;
    let centered = a.elementwise(Function::Sub, &[x.clone(), center])?;
    let squares = a.elementwise(Function::Mul, &[centered.clone(), centered.clone()])?;
    let variance = mean(a, &squares)?;
    let root = a.map(&variance, vec![Step::binary(Function::Add, Arg::Float(epsilon)), Step::unary(Function::Sqrt)])?;
    a.elementwise(Function::Div, &[centered, root])
}

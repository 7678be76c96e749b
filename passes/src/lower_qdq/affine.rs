//! Sums of products: `op(%xq, %wq, %b) |> cast f32 |> mul %m |> … |> quantize`.
//!
//! The operator reads its operands less the zero points in their types, so asymmetric weights need nothing here. The
//! bias becomes i32 at the product of the scales, where it is not already; one too large for that is added as a float.

use eightfold_ir::{Arg, DType, Function, Granularity, Graph, Node, Rewrite, Step, Tensor};

use super::{Obstacle, Scalar, Target, dequantized, replace, stored_operand};
use crate::channel::{f32_constant, line, output_axis, uniform, weight_axis};
use crate::insert_qdq::BIAS_LIMIT;

pub(super) fn lower(graph: &Graph, node: &Node, weight: usize, bias: usize) -> Result<Rewrite, Obstacle> {
    let (x, Scalar { scale: x_scale, .. }) = stored_operand(graph, node, 0)?;
    let w = node.operand(weight).and_then(|w| dequantized(graph, w));
    let (w, weights) = w.ok_or("its weights are not dequantized")?;
    if !matches!(weights.storage, DType::I8 | DType::U8) {
        return Err(format!("its weights are quantized to {}, expected i8 or u8", weights.storage));
    }
    let shape = &graph.ty(w).shape;
    let along = weight_axis(node.op.quant_rule(), shape);
    let channel_axis = match weights.granularity {
        Granularity::PerTensor => None,
        Granularity::PerChannel { axis } if Some(axis) == along => Some(axis),
        _ => return Err("its weights are not quantized per output channel".to_owned()),
    };
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let products: Vec<f32> = weights.scale.iter().map(|s| x_scale * s).collect();
    let rank = graph.ty(node.output()).shape.rank();

    let mut operands = node.operands.clone();
    (operands[0], operands[weight]) = (Some(x), Some(w));
    let mut steps = node.epilogue.steps.clone();
    if let Some(b) = node.operand(bias) {
        match integer_bias(graph, b, &products)? {
            Bias::Same(value) => operands[bias] = Some(value),
            Bias::New(numbers) => {
                let tensor = Tensor::int(DType::I32, &[numbers.len()], &numbers);
                operands[bias] = Some(rewrite.constant("", tensor, None));
            }
            Bias::TooLarge(numbers) => {
                operands[bias] = None;
                let axis = output_axis(along.unwrap_or(0), rank);
                let constant = rewrite.constant("", line(&numbers, axis, rank), None);
                steps.insert(0, Step::binary(Function::Add, Arg::Value(constant)));
            }
        }
    }
    let target = Target::of(graph, node);
    let (unit, rest) = super::units::finished(graph, &mut rewrite, &steps, target.scalar());
    let factors: Vec<f32> = products.iter().map(|p| p / unit).collect();
    let factor = match (uniform(&factors), channel_axis) {
        (Some(factor), _) => Arg::Float(factor),
        (None, axis) => {
            let axis = output_axis(axis.unwrap_or(0), rank);
            Arg::Value(rewrite.constant("", line(&factors, axis, rank), None))
        }
    };
    let mut lowered = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, factor)];
    lowered.extend(rest);
    replace(graph, rewrite, node, &target, node.op.clone(), &operands, lowered)
}

/// A bias in integers at the scales of the products.
enum Bias {
    /// As it stands in the graph.
    Same(eightfold_ir::ValueId),
    /// These numbers.
    New(Vec<i64>),
    /// More than an i32 can hold beside the products: these real numbers.
    TooLarge(Vec<f32>),
}

fn integer_bias(graph: &Graph, bias: eightfold_ir::ValueId, products: &[f32]) -> Result<Bias, Obstacle> {
    let product = |channel: usize| products[channel % products.len()];
    let reals: Vec<f32> = match (dequantized(graph, bias), f32_constant(graph, bias)) {
        (Some((stored, params)), _) => {
            let entries = graph.ty(stored).shape.elements().max(1);
            let entry = |i: usize| i % params.scale.len();
            let fits = |i: usize| params.scale[entry(i)] == product(i) && params.zero_point[entry(i)] == 0;
            let tensor = graph.constant(stored).ok_or("its bias is not constant")?;
            if graph.ty(stored).dtype == DType::I32 && (0..entries).all(fits) {
                return Ok(Bias::Same(stored));
            }
            let integers = tensor.to_ints().ok_or("its bias is not dequantized from integers")?;
            let real =
                |(i, b): (usize, i64)| (b - i64::from(params.zero_point[entry(i)])) as f32 * params.scale[entry(i)];
            integers.into_iter().enumerate().map(real).collect()
        }
        (None, Some(tensor)) => tensor.to_f32s().ok_or("its bias is not a float constant")?,
        (None, None) => return Err("its bias is not constant".to_owned()),
    };
    let scaled: Vec<f32> = reals.iter().enumerate().map(|(i, b)| b / product(i)).collect();
    if scaled.iter().all(|b| b.abs() <= BIAS_LIMIT) {
        return Ok(Bias::New(scaled.iter().map(|b| b.round_ties_even() as i64).collect()));
    }
    Ok(Bias::TooLarge(reals))
}

//! Convolutions and matrix products: `op(%xq, %wq, %b) |> cast f32 |> mul %m |> … |> quantize`.
//!
//! The operator subtracts the zero points of its operands, which are part of their types, so asymmetric weights need no
//! extra steps. A bias that the accumulator cannot hold accurately is added as a float: `… |> cast f32 |> mul %m |> add
//! %b |> … |> quantize`.

use eightfold_ir::{Arg, DType, Function, Granularity, Graph, Node, QuantRule, Rewrite, Step, Tensor};

use super::accumulator::Accumulator;
use super::bias::Bias;
use super::units::{divided, finished};
use super::{Obstacle, Target, dequantized, replace, stored_operand};
use crate::channel::{line, output_axis, uniform, weight_axis};

pub(super) fn lower(graph: &Graph, node: &Node, weight: usize, bias: usize) -> Result<Rewrite, Obstacle> {
    let QuantRule::Affine { axis: rule_axis, .. } = node.op.quant_rule() else {
        return Err(format!("{} is not a convolution or matrix product", node.op.name()));
    };
    let (x, input) = stored_operand(graph, node, 0)?;
    let w = node.operand(weight).and_then(|w| dequantized(graph, w));
    let (w, weights) = w.ok_or("its weights are not dequantized")?;
    if !matches!(weights.storage, DType::I8 | DType::U8) {
        return Err(format!("its weights are quantized to {}, expected i8 or u8", weights.storage));
    }
    let along = weight_axis(node.op.quant_rule(), &graph.ty(w).shape);
    if !weights.is_per_tensor() && along.is_none_or(|axis| weights.granularity != Granularity::PerChannel { axis }) {
        return Err("its weights are not quantized per output channel".to_owned());
    }
    let accumulator = Accumulator::of(graph, input, w, weights, along);
    if !accumulator.holds(&[]) {
        return Err("its accumulator may overflow i32".to_owned());
    }
    let mut rewrite = Rewrite::new(graph, super::NAME);
    let products: Vec<f32> = weights.scale.iter().map(|s| input.scale * s).collect();
    let rank = graph.ty(node.output()).shape.rank();
    let axis = output_axis(rule_axis, rank);
    let target = Target::of(graph, node);

    let mut operands = node.operands.clone();
    (operands[0], operands[weight]) = (Some(x), Some(w));
    let mut reals = None;
    if let Some(b) = node.operand(bias) {
        let step = target.scalar().map(|to| to.scale);
        operands[bias] = match Bias::of(graph, b, &products, &accumulator, step)? {
            Bias::Same(value) => Some(value),
            Bias::Integers(numbers) => {
                Some(rewrite.constant("", Tensor::int(DType::I32, &[numbers.len()], &numbers), None))
            }
            Bias::Reals(numbers) => {
                reals = Some(numbers);
                None
            }
        };
    }
    let (unit, rest) = finished(graph, &mut rewrite, &node.epilogue.steps, target.scalar());
    let factors: Vec<f32> = products.iter().map(|p| p / unit).collect();
    if let Some(factor) = factors.iter().find(|factor| !factor.is_finite()) {
        return Err(format!("its requantization factor is {factor}"));
    }
    let factor = match uniform(&factors) {
        Some(factor) => Arg::Float(factor),
        None => Arg::Value(rewrite.constant("", line(&factors, axis, rank), None)),
    };
    let mut lowered = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, factor)];
    if let Some(numbers) = reals {
        let in_units = numbers.iter().map(|b| divided(*b, unit)).collect::<Option<Vec<f32>>>();
        let in_units = in_units.ok_or("its bias is too large for the scale of its result")?;
        let constant = rewrite.constant("", line(&in_units, axis, rank), None);
        lowered.push(Step::binary(Function::Add, Arg::Value(constant)));
    }
    lowered.extend(rest);
    replace(graph, rewrite, node, &target, node.op.clone(), &operands, lowered)
}

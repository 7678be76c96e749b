//! QuantizeLinear, DequantizeLinear.
//!
//! Scale and zero point become the quantization in the integer tensor's type. Quantized weights stay quantized: the
//! constant gets the quantization, and a `dequantize_linear` follows it.

use eightfold_ir::graph::Def;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::quantize_linear::{QuantizeLinear, entries, quantized};
use eightfold_ir::{Arg, Array, DType, Data, Function, Granularity, Op, QuantParams, Shape, Step, Tensor, ValueId};

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};
use crate::onnx::importer::Operand;
use crate::onnx::proto::element_type;

/// The axis of per-axis scales.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) axis: i64,
    /// Elements that share a scale; 0 if each index of the axis has its own.
    pub(super) block: i64,
}

pub(super) fn dequantize_linear(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, scale) = (a.operand(0)?, a.operand(1)?);
    let params = params(a, a.dtype(&x), &a.shape(&x), 1, 2, axis_of(a)?)?;
    let y = dequantized(a, &x, &params)?;
    let to = match a.int("output_dtype")?.unwrap_or(0) {
        0 => a.dtype(&scale),
        number => dtype(number)?,
    };
    Ok(vec![a.cast(&y, to)?])
}

pub(super) fn quantize_linear(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let storage = match (a.optional(2), a.int("output_dtype")?.unwrap_or(0)) {
        (Some(zero_point), _) => a.dtype(&zero_point),
        (None, 0) => DType::U8,
        (None, number) => dtype(number)?,
    };
    let params = params(a, storage, &a.shape(&x), 1, 2, axis_of(a)?)?;
    let x = a.cast(&x, DType::F32)?;
    Ok(vec![requantized(a, &x, &params)?])
}

fn dtype(number: i64) -> Result<DType, AdaptError> {
    element_type(number).map_err(|name| unsupported(format!("output_dtype is {name}")))
}

fn axis_of(a: &Adapt<'_, '_>) -> Result<Axis, AdaptError> {
    Ok(Axis { axis: a.int("axis")?.unwrap_or(1), block: a.int("block_size")?.unwrap_or(0) })
}

/// The quantization parameters in operands `scale` and `zero_point`, for a tensor of `shape` stored as `storage`.
/// Scales are finite but may be zero or negative: dequantization allows this, the graph does not (see [`dequantized`]).
pub(super) fn params(
    a: &mut Adapt<'_, '_>,
    storage: DType,
    shape: &Shape,
    scale: usize,
    zero_point: usize,
    along: Axis,
) -> Result<QuantParams, AdaptError> {
    if storage.storage_range().is_none() {
        return Err(unsupported(format!("quantized storage of type {storage}")));
    }
    let scales = a.constant_floats(scale, "scale")?.ok_or_else(|| broken("the scale is missing"))?;
    let scale_shape = a.shape(&a.operand(scale)?);
    let zero_points = match a.optional(zero_point) {
        None => vec![0; scales.len()],
        Some(z) if a.dtype(&z) != storage => {
            return Err(broken(format!("a zero point of type {} for {storage}", a.dtype(&z))));
        }
        Some(_) => a.constant_ints(zero_point, "zero_point")?.unwrap_or_default(),
    };
    if zero_points.len() != scales.len() {
        return Err(broken(format!("{} scales and {} zero points", scales.len(), zero_points.len())));
    }
    if let Some(bad) = scales.iter().find(|s| !s.is_finite()) {
        return Err(broken(format!("a scale of {bad}, expected a finite number")));
    }
    let granularity = if scales.len() == 1 {
        Granularity::PerTensor
    } else {
        let axis = axis(along.axis, shape.rank())?;
        let block = usize::try_from(along.block).map_err(|_| broken(format!("block_size is {}", along.block)))?;
        let mut blocks = shape.clone();
        if block > 0 {
            blocks[axis] = shape[axis].div_ceil(block);
        }
        match scale_shape.rank() {
            1 if block == 0 && scales.len() == shape[axis] => Granularity::PerChannel { axis },
            _ if block > 0 && scale_shape == blocks => Granularity::Blocked { axis, block },
            _ => return Err(broken(format!("a scale of shape {scale_shape} for axis {axis} of {shape}"))),
        }
    };
    let zero_point = zero_points.iter().map(|z| *z as i32).collect();
    Ok(QuantParams { storage, granularity, scale: scales.into(), zero_point })
}

/// Whether all scales are positive, as the graph requires.
fn is_positive(params: &QuantParams) -> bool {
    params.scale.iter().all(|scale| *scale > 0.0)
}

/// Integers with positive scales that represent the same real numbers.
///
/// A scale of zero represents zeros. For a negative scale `-s`, integers are reflected about the middle of their type:
/// with `m = least + greatest`, `(x - z) * -s = ((m - x) - (m - z)) * s`.
fn with_positive_scales(tensor: &Tensor, params: &QuantParams) -> Option<(Tensor, QuantParams)> {
    let (least, greatest) = params.storage.storage_range()?;
    let middle = i64::from(least) + i64::from(greatest);
    let entry = entries(tensor.shape(), params);
    let stored = |(index, x): (usize, &i64)| match params.scale[entry(index)] {
        scale if scale > 0.0 => *x,
        scale if scale < 0.0 => middle - x,
        _ => i64::from(params.zero_point[entry(index)]),
    };
    let integers = tensor.to_ints()?.iter().enumerate().map(stored).collect();
    let tensor = Tensor::from_array(params.storage, tensor.shape().clone(), &Data::Int(integers));
    let scale = params.scale.iter().map(|scale| if *scale == 0.0 { 1.0 } else { scale.abs() }).collect();
    let zero_point = params.zero_point.iter().zip(&params.scale);
    let zero_point = zero_point.map(|(z, scale)| if *scale < 0.0 { (middle - i64::from(*z)) as i32 } else { *z });
    Some((tensor, QuantParams { scale, zero_point: zero_point.collect(), ..params.clone() }))
}

/// `x` dequantized by `params`.
pub(super) fn dequantized(a: &mut Adapt<'_, '_>, x: &Operand, params: &QuantParams) -> Result<Operand, AdaptError> {
    if !is_positive(params) {
        // The zero point of 32-bit integers is always zero, so they cannot be reflected.
        if let (Operand::Const { name, tensor }, true) = (x, params.storage != DType::I32)
            && let Some((tensor, params)) = with_positive_scales(tensor, params)
        {
            a.afford(tensor.bytes().len())?;
            return dequantized(a, &Operand::constant(name, tensor), &params);
        }
        return by_steps(a, x, params);
    }
    let quant = a.qparams(params);
    let value = match x {
        Operand::Const { .. } => a.importer.place(x, Some(quant)),
        Operand::Value(value) => *value,
    };
    if a.importer.graph.ty(value).quant == Some(quant) {
        return a.emit_node(Op::DequantizeLinear(DequantizeLinear {}), &[Some(value)], Vec::new(), None);
    }
    if a.importer.graph.quant(value).is_none() {
        want(a, value, params);
    }
    // The type has another quantization, so the dequantization is expressed in steps.
    match params.as_per_tensor() {
        Some((scale, zero_point)) => a.map(x, vec![Step::Dequantize { scale, zero_point }]),
        None => by_steps(a, x, params),
    }
}

/// `(x - zero_point) * scale` as steps.
fn by_steps(a: &mut Adapt<'_, '_>, x: &Operand, params: &QuantParams) -> Result<Operand, AdaptError> {
    let (zero_point, scale) = match params.as_per_tensor() {
        Some((scale, zero_point)) => (Arg::Int(zero_point.into()), Arg::Float(scale)),
        None => {
            let shape = a.shape(x);
            let zero_points = Data::Int(params.zero_point.iter().map(|z| i64::from(*z)).collect());
            let zero_point = spread(a, params, &shape, DType::I32, zero_points)?;
            (zero_point, spread(a, params, &shape, DType::F32, Data::Float(params.scale.to_vec()))?)
        }
    };
    let steps = vec![
        Step::Cast(DType::I32),
        Step::binary(Function::Sub, zero_point),
        Step::Cast(DType::F32),
        Step::binary(Function::Mul, scale),
    ];
    a.map(x, steps)
}

/// Scales or zero points as an argument that broadcasts to a tensor of `shape`.
fn spread(
    a: &mut Adapt<'_, '_>,
    params: &QuantParams,
    shape: &Shape,
    dtype: DType,
    data: Data,
) -> Result<Arg, AdaptError> {
    let Granularity::PerChannel { axis } = params.granularity else {
        return Err(unsupported("blocks of a tensor that is not constant"));
    };
    let mut broadcast = vec![1; shape.rank() - axis];
    broadcast[0] = shape[axis];
    let tensor = Tensor::from_array(dtype, Shape::new(&broadcast), &data);
    Ok(Arg::Value(a.place(&Operand::constant("", tensor))))
}

/// Requests `params` for the type of `value`, if `value` is an input that data movement alone separates from here.
fn want(a: &mut Adapt<'_, '_>, value: ValueId, params: &QuantParams) {
    let graph = &a.importer.graph;
    let (mut at, mut moved) = (value, false);
    while let Some(node) = graph.producer(at) {
        let moves = matches!(node.op, Op::Transpose(_) | Op::Reshape(_) | Op::Slice(_) | Op::Gather(_) | Op::Expand(_));
        if !moves || !node.epilogue.is_empty() {
            return;
        }
        (at, moved) = (node.operands[0].unwrap_or_else(|| unreachable!("movement has an operand")), true);
    }
    if let (Def::Input, Some(name)) = (&graph.value(at).def, &graph.value(at).name)
        && (params.is_per_tensor() || !moved)
    {
        let name = name.to_string();
        a.importer.wanted.entry(name).or_insert_with(|| params.clone());
    }
}

/// `x` quantized by `params`.
pub(super) fn requantized(a: &mut Adapt<'_, '_>, x: &Operand, params: &QuantParams) -> Result<Operand, AdaptError> {
    if let Some(bad) = params.scale.iter().find(|scale| **scale <= 0.0) {
        return Err(broken(format!("a scale of {bad}, expected a positive number to divide by")));
    }
    match x {
        Operand::Const { tensor, .. } => {
            a.afford(tensor.shape().elements())?;
            Ok(Operand::constant("", Tensor::from(&quantized(&Array::from(tensor), params))))
        }
        Operand::Value(value) => {
            let quant = a.qparams(params);
            let op = Op::QuantizeLinear(QuantizeLinear { to: params.storage });
            a.emit_node(op, &[Some(*value)], Vec::new(), Some(quant))
        }
    }
}

//! ConvTranspose.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{Array, Granularity, Op, QuantParams, Tensor, ValueId};

use super::window::{Attributes, Padding, Window, list};
use super::{Adapt, AdaptError, Outputs, broken, quantize, sizes};
use crate::onnx::importer::Operand;

pub(super) fn conv_transpose(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, w) = (a.operand(0)?, a.operand(1)?);
    let (xs, ws) = (a.shape(&x), a.shape(&w));
    if xs.rank() < 3 || ws.rank() != xs.rank() {
        return Err(broken(format!("operands of shapes {xs} and {ws}, expected one rank of at least 3")));
    }
    let group = sizes(&[a.int("group")?.unwrap_or(1)], "group")?[0];
    if group == 0 || ws[0] % group != 0 || ws[0] != xs[1] {
        return Err(broken(format!("weights of shape {ws} for {xs} in {group} groups")));
    }
    let (input, kernel) = (&xs[2..], &ws[2..]);
    if let Some(declared) = a.ints("kernel_shape")?
        && sizes(&declared, "kernel_shape")? != kernel
    {
        return Err(broken(format!("attribute kernel_shape is {declared:?}, the weights are {ws}")));
    }
    let op = operator(a, input, kernel, group)?;
    let w = as_convolution(a, &w, group)?;
    let bias = a.optional(2);
    let operands: Vec<Option<ValueId>> =
        [Some(&x), Some(&w), bias.as_ref()].into_iter().flatten().map(|o| Some(a.place(o))).collect();
    Ok(vec![a.emit_node(op.into(), &operands, Vec::new(), None)?])
}

/// The operator that the node's attributes describe, for spatial axes of extents `input` and weights of extents
/// `kernel`.
///
/// If ONNX leaves the padding open, it is chosen like in ONNX Runtime.
fn operator(a: &Adapt<'_, '_>, input: &[usize], kernel: &[usize], group: usize) -> Result<ConvTranspose, AdaptError> {
    let rank = input.len();
    let Attributes { strides, dilations, mut padding } = Attributes::read(a, kernel, rank)?;
    let mut more = list(a, "output_padding", 0, rank)?;
    let whole = |axis: usize, more: &[usize]| {
        input[axis].saturating_sub(1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 + more[axis]
    };
    let mut wanted: Vec<usize> = (0..rank).map(|axis| input[axis] * strides[axis]).collect();
    if let Some(extents) = a.ints("output_shape")? {
        wanted = sizes(&extents, "output_shape")?;
        // After the last element that the weights reach, at most `stride - 1` elements can follow; they contain only
        // the bias.
        let most = |axis: usize| whole(axis, &more) + strides[axis] - 1;
        if wanted.len() != rank || (0..rank).any(|axis| wanted[axis] > most(axis)) {
            let most = (0..rank).map(most).collect::<Vec<_>>();
            return Err(broken(format!("attribute output_shape is {extents:?}, expected at most {most:?}")));
        }
        for axis in 0..rank {
            more[axis] += wanted[axis].saturating_sub(whole(axis, &more));
        }
        padding = match padding {
            Padding::Explicit(_) => Padding::Same { more_after: false },
            same => same,
        };
    }
    let pads = padding.resolved(rank, |axis| whole(axis, &more).saturating_sub(wanted[axis]));
    let Window { pads, strides, dilations } = Window::new(&pads, &strides, &dilations)?;
    Ok(ConvTranspose { pads, strides, dilations, output_padding: eightfold_ir::op::conv::canonical(&more, 0), group })
}

/// Weights C x O/group x K... as O x C/group x K...; quantized constants stay quantized.
fn as_convolution(a: &mut Adapt<'_, '_>, w: &Operand, group: usize) -> Result<Operand, AdaptError> {
    let ws = a.shape(w);
    let split = [&[group, ws[0] / group], &ws[1..]].concat();
    let perm: Sizes = [0, 2, 1].into_iter().chain(3..split.len()).collect();
    let shape: Sizes = [&[group * ws[1], ws[0] / group], &ws[2..]].concat().into_iter().collect();
    if let Some((tensor, params)) = quantized(a, w, group) {
        let mut array = Array::from(&tensor.reshaped(split.into_iter().collect()));
        for op in [Op::from(Transpose { perm }), Reshape { shape }.into()] {
            let operand = eightfold_ir::op::EvalOperand { array: &array, quant: None };
            array = op.eval(&[Some(operand)]).swap_remove(0);
        }
        return quantize::dequantized(a, &Operand::constant("", Tensor::from(&array)), &params);
    }
    let w = a.reshape(w, &split)?;
    let w = a.transpose(&w, &perm)?;
    a.reshape(&w, &shape)
}

/// The integer constant that `w` is dequantized from, and its quantization once the output channels come first.
fn quantized(a: &Adapt<'_, '_>, w: &Operand, group: usize) -> Option<(Tensor, QuantParams)> {
    let Operand::Value(w) = w else { return None };
    let graph = &a.importer.graph;
    let producer = graph.producer(*w).filter(|p| matches!(p.op, Op::DequantizeLinear(_)) && p.epilogue.is_empty())?;
    let stored = producer.operand(0)?;
    let (tensor, params) = (graph.constant(stored)?, graph.quant(stored)?);
    let params = match params.granularity {
        Granularity::PerTensor => params.clone(),
        // All groups have the same scales.
        Granularity::PerChannel { axis: 1 } => QuantParams {
            granularity: Granularity::PerChannel { axis: 0 },
            scale: params.scale.repeat(group).into(),
            zero_point: params.zero_point.repeat(group).into(),
            ..params.clone()
        },
        _ => return None,
    };
    Some((tensor.clone(), params))
}

//! Conv.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{Op, ValueId};

use super::window::Window;
use super::{Adapt, AdaptError, Outputs, broken, sizes};
use crate::onnx::importer::Operand;

pub(super) fn conv(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, w) = (a.operand(0)?, a.operand(1)?);
    let op = operator(a, &x, &w)?;
    let bias = a.optional(2);
    Ok(vec![emit(a, op, &x, &w, bias.as_ref())?])
}

/// The convolution of `x` with the weights `w`, as the node's attributes describe it.
pub(super) fn operator(a: &Adapt<'_, '_>, x: &Operand, w: &Operand) -> Result<Conv, AdaptError> {
    let (xs, ws) = (a.shape(x), a.shape(w));
    if xs.rank() < 3 || ws.rank() != xs.rank() {
        return Err(broken(format!("operands of shapes {xs} and {ws}, expected one rank of at least 3")));
    }
    let kernel = &ws[2..];
    if let Some(declared) = a.ints("kernel_shape")?
        && sizes(&declared, "kernel_shape")? != kernel
    {
        return Err(broken(format!("attribute kernel_shape is {declared:?}, the weights are {ws}")));
    }
    let Window { pads, strides, dilations } = Window::read(a, kernel, &xs[2..])?;
    let group = sizes(&[a.int("group")?.unwrap_or(1)], "group")?[0];
    Ok(Conv { pads, strides, dilations, group })
}

/// Adds the convolution.
pub(super) fn emit(
    a: &mut Adapt<'_, '_>,
    op: Conv,
    x: &Operand,
    w: &Operand,
    bias: Option<&Operand>,
) -> Result<Operand, AdaptError> {
    let operands: Vec<Option<ValueId>> =
        [Some(x), Some(w), bias].into_iter().flatten().map(|o| Some(a.place(o))).collect();
    a.emit_node(Op::Conv(op), &operands, Vec::new(), None)
}

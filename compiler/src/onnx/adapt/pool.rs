//! MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool.

use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};

use super::window::Window;
use super::{Adapt, AdaptError, Outputs, broken, sizes, unsupported};
use crate::onnx::importer::Operand;

pub(super) fn max_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    a.refuse_output(1, "Indices")?;
    let x = a.operand(0)?;
    Ok(vec![pool(a, PoolKind::Max, &x)?])
}

pub(super) fn average_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    Ok(vec![pool(a, PoolKind::Average, &x)?])
}

pub(super) fn global_max_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    Ok(vec![global(a, ReduceKind::Max, &x)?])
}

pub(super) fn global_average_pool(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    Ok(vec![global(a, ReduceKind::Mean, &x)?])
}

/// A pool of `x` with the window of the node's attributes.
pub(super) fn pool(a: &mut Adapt<'_, '_>, kind: PoolKind, x: &Operand) -> Result<Operand, AdaptError> {
    let shape = a.shape(x);
    if shape.rank() < 3 {
        return Err(broken(format!("an operand of shape {shape}, expected rank 3 or more")));
    }
    let kernel = a.ints("kernel_shape")?.ok_or_else(|| broken("attribute kernel_shape is missing"))?;
    let kernel = sizes(&kernel, "kernel_shape")?;
    let Window { pads, strides, dilations } = Window::read(a, &kernel, &shape[2..])?;
    let op = Pool {
        kind,
        kernel: kernel.iter().copied().collect(),
        pads,
        strides,
        dilations,
        ceil: a.flag("ceil_mode", false)?,
        count_include_pad: a.flag("count_include_pad", false)?,
    };
    a.emit(op, &[x])
}

/// A reduction over all spatial axes of `x`, which keep extent 1.
pub(super) fn global(a: &mut Adapt<'_, '_>, kind: ReduceKind, x: &Operand) -> Result<Operand, AdaptError> {
    let rank = a.shape(x).rank();
    if rank < 2 {
        return Err(broken(format!("an operand of shape {}, expected rank 2 or more", a.shape(x))));
    }
    if a.flag("channels_last", false)? {
        return Err(unsupported("channels_last is set"));
    }
    a.emit(Reduce { kind, axes: (2..rank).collect(), keepdims: true }, &[x])
}

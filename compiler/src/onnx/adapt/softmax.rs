//! Softmax, LogSoftmax. Before opset 13, all axes from `axis` on are normalized together.

use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::softmax::Softmax;
use eightfold_ir::{Function, Step};

use super::{Adapt, AdaptError, Outputs, axis};
use crate::onnx::importer::Operand;

pub(super) fn softmax(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let version = a.version;
    Ok(vec![normalized(a, &x, version)?])
}

/// The softmax of `x` with the node's attributes, as defined by opset `version`.
pub(super) fn normalized(a: &mut Adapt<'_, '_>, x: &Operand, version: i64) -> Result<Operand, AdaptError> {
    along(a, x, version, |a, x, axis| a.emit(Softmax { axis }, &[x]))
}

/// `x - max - log(sum(exp(x - max)))`, which stays accurate where the softmax is tiny.
pub(super) fn log_softmax(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let y = along(a, &x, a.version, |a, x, axis| {
        let fold = |kind| Reduce { kind, axes: [axis].into_iter().collect(), keepdims: true };
        let top = a.emit(fold(ReduceKind::Max), &[x])?;
        let below = a.elementwise(Function::Sub, &[x.clone(), top])?;
        let exponentials = a.map(&below, vec![Step::unary(Function::Exp)])?;
        let sum = a.emit(fold(ReduceKind::Sum), &[&exponentials])?;
        let log = a.map(&sum, vec![Step::unary(Function::Log)])?;
        a.elementwise(Function::Sub, &[below, log])
    })?;
    Ok(vec![y])
}

/// Applies `f` along the node's axis. For older opsets, reshapes to a matrix that joins the axes from `axis` on.
fn along(
    a: &mut Adapt<'_, '_>,
    x: &Operand,
    version: i64,
    f: impl FnOnce(&mut Adapt<'_, '_>, &Operand, usize) -> Result<Operand, AdaptError>,
) -> Result<Operand, AdaptError> {
    let shape = a.shape(x);
    let joins = version < 13;
    let axis = axis(a.int("axis")?.unwrap_or(if joins { 1 } else { -1 }), shape.rank())?;
    if !joins || shape[axis + 1..].iter().all(|n| *n == 1) {
        return f(a, x, axis);
    }
    let (rows, columns) = (shape[..axis].iter().product(), shape[axis..].iter().product());
    let matrix = a.reshape(x, &[rows, columns])?;
    let y = f(a, &matrix, 1)?;
    a.reshape(&y, &shape)
}

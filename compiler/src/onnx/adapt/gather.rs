//! Gather. Consecutive constant indices become a slice, which needs no table at run time.

use eightfold_ir::attr::{Ints, Sizes};
use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::slice::Slice;
use eightfold_ir::{DType, Tensor};

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};
use crate::onnx::importer::Operand;

pub(super) fn gather(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, indices) = (a.operand(0)?, a.operand(1)?);
    let shape = a.shape(&x);
    let axis = axis(a.int("axis")?.unwrap_or(0), shape.rank())?;
    if !matches!(a.dtype(&indices), DType::I32 | DType::I64) {
        return Err(broken(format!("indices of type {}", a.dtype(&indices))));
    }
    let Some(tensor) = a.known(&indices)? else {
        if matches!(x, Operand::Const { .. }) && a.dtype(&x) == DType::Bool {
            return Err(unsupported("a table of truth values"));
        }
        return Ok(vec![a.emit(Gather { axis }, &[&x, &indices])?]);
    };
    let extent = shape[axis] as i64;
    let given = tensor.to_ints().unwrap_or_default();
    if let Some(index) = given.iter().find(|i| !(-extent..extent).contains(*i)) {
        return Err(broken(format!("index {index} on an axis of extent {extent}")));
    }
    let list: Vec<i64> = given.into_iter().map(|i| if i < 0 { i + extent } else { i }).collect();
    let taken = a.shape(&indices);
    let result: Vec<usize> = shape[..axis].iter().chain(taken.iter()).chain(&shape[axis + 1..]).copied().collect();
    let step = list.get(1).map_or(1, |i| i - list[0]);
    if let Some(first) = list.first()
        && step != 0
        && list.windows(2).all(|w| w[1] - w[0] == step)
    {
        let (mut starts, mut sizes, mut steps) = (vec![0; shape.rank()], shape.to_vec(), vec![1; shape.rank()]);
        (starts[axis], sizes[axis], steps[axis]) = (*first as usize, list.len(), step);
        let y = if step == 1 {
            a.slice(&x, &starts, &sizes)?
        } else {
            let op = Slice {
                starts: Sizes::from_slice(&starts),
                sizes: Sizes::from_slice(&sizes),
                steps: Ints::from_slice(&steps),
            };
            a.emit(op, &[&x])?
        };
        return Ok(vec![a.reshape(&y, &result)?]);
    }
    let indices = Operand::constant("", Tensor::int(DType::I64, &taken, &list));
    Ok(vec![a.emit(Gather { axis }, &[&x, &indices])?])
}

//! MatMul and Gemm.

use eightfold_ir::op::matmul::MatMul;
use eightfold_ir::{Arg, Function, Op, Step};

use super::{Adapt, AdaptError, Outputs, broken};
use crate::onnx::importer::Operand;

pub(super) fn matmul(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (x, w) = (a.operand(0)?, a.operand(1)?);
    Ok(vec![product(a, &x, &w)?])
}

/// `x w`; a vector `x` is a row, a vector `w` is a column.
pub(super) fn product(a: &mut Adapt<'_, '_>, x: &Operand, w: &Operand) -> Result<Operand, AdaptError> {
    let (xs, ws) = (a.shape(x), a.shape(w));
    if xs.rank() == 0 || ws.rank() == 0 {
        return Err(broken(format!("operands of shapes {xs} and {ws}, expected at least vectors")));
    }
    let row = if xs.rank() == 1 { a.reshape(x, &[1, xs[0]])? } else { x.clone() };
    let column = if ws.rank() == 1 { a.reshape(w, &[ws[0], 1])? } else { w.clone() };
    let y = a.emit(MatMul {}, &[&row, &column])?;
    let mut shape = a.shape(&y).to_vec();
    if ws.rank() == 1 {
        shape.pop();
    }
    if xs.rank() == 1 {
        shape.remove(a.shape(&y).rank() - 2);
    }
    a.reshape(&y, &shape)
}

/// `alpha A B + beta C`; the attributes `transA` and `transB` transpose the matrices first.
pub(super) fn gemm(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let (mut x, mut w) = (a.operand(0)?, a.operand(1)?);
    for (operand, attr) in [(&mut x, "transA"), (&mut w, "transB")] {
        if a.shape(operand).rank() != 2 {
            return Err(broken(format!("an operand of shape {}, expected a matrix", a.shape(operand))));
        }
        if a.flag(attr, false)? {
            *operand = a.transpose(operand, &[1, 0])?;
        }
    }
    let (alpha, beta) = (a.float("alpha")?.unwrap_or(1.0), a.float("beta")?.unwrap_or(1.0));
    let columns = a.shape(&w)[1];
    let scaled = |factor: f32| match factor {
        1.0 => vec![],
        _ => vec![Step::binary(Function::Mul, Arg::Float(factor))],
    };
    let (x, w) = (a.place(&x), a.place(&w));
    let addend = match a.optional(2).filter(|_| beta != 0.0) {
        Some(c) => a.map(&c, scaled(beta))?,
        None => {
            let y = a.emit_node(Op::MatMul(MatMul {}), &[Some(x), Some(w)], Vec::new(), None)?;
            return Ok(vec![a.map(&y, scaled(alpha))?]);
        }
    };
    let shape = a.shape(&addend);
    // If `C` has the same row for all rows of the product, it is its bias.
    if alpha == 1.0 && shape.elements() == columns && shape.last() == Some(&columns) {
        let bias = a.reshape(&addend, &[columns])?;
        let bias = a.place(&bias);
        return Ok(vec![a.emit_node(Op::MatMul(MatMul {}), &[Some(x), Some(w), Some(bias)], Vec::new(), None)?]);
    }
    let y = a.emit_node(Op::MatMul(MatMul {}), &[Some(x), Some(w)], Vec::new(), None)?;
    let product = a.shape(&y);
    if product.broadcast(&shape).as_ref() != Some(&product) {
        return Err(broken(format!("C of shape {shape} does not broadcast to {product}")));
    }
    let mut steps = scaled(alpha);
    let c = a.argument(&addend);
    steps.push(Step::binary(Function::Add, c));
    Ok(vec![a.map(&y, steps)?])
}

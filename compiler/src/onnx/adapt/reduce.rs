//! The Reduce family.

use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::{Arg, Function, Step};

use super::{Adapt, AdaptError, Outputs, axes, unsupported};
use crate::onnx::importer::Operand;

/// The axes of a reduction.
struct Folding {
    axes: Vec<usize>,
    keepdims: bool,
}

impl Folding {
    /// `None` if the node has no axes and this means no reduction.
    fn read(a: &mut Adapt<'_, '_>, x: &Operand) -> Result<Option<Self>, AdaptError> {
        let rank = a.shape(x).rank();
        let list = match a.ints("axes")? {
            Some(list) => list,
            None => a.constant_ints(1, "axes")?.unwrap_or_default(),
        };
        let noop = a.flag("noop_with_empty_axes", false)?;
        if list.is_empty() && noop {
            return Ok(None);
        }
        let axes = if list.is_empty() { (0..rank).collect() } else { axes(&list, rank)? };
        Ok(Some(Folding { axes, keepdims: a.flag("keepdims", true)? }))
    }

    fn op(&self, kind: ReduceKind, keepdims: bool) -> Reduce {
        Reduce { kind, axes: self.axes.iter().copied().collect(), keepdims }
    }
}

fn reduce(a: &mut Adapt<'_, '_>, kind: ReduceKind, after: &[Function]) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let steps = |list: &[Function]| list.iter().map(|f| Step::unary(*f)).collect::<Vec<_>>();
    let Some(folding) = Folding::read(a, &x)? else {
        // Even over no axes, a norm takes magnitudes.
        return match kind {
            ReduceKind::SumAbs => Ok(vec![a.map(&x, vec![Step::unary(Function::Abs)])?]),
            ReduceKind::SumSquare => {
                let square = Step::binary(Function::Mul, Arg::Current);
                Ok(vec![a.map(&x, [vec![square], steps(after)].concat())?])
            }
            _ => Ok(vec![a.map(&x, steps(after))?]),
        };
    };
    if let Operand::Value(value) = &x
        && a.importer.graph.quant(*value).is_some()
        && !matches!(kind, ReduceKind::Max | ReduceKind::Min)
    {
        return Err(unsupported("arithmetic on quantized integers"));
    }
    let y = a.emit(folding.op(kind, folding.keepdims), &[&x])?;
    Ok(vec![a.map(&y, steps(after))?])
}

pub(super) fn l1(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::SumAbs, &[])
}

pub(super) fn l2(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::SumSquare, &[Function::Sqrt])
}

pub(super) fn log_sum(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Sum, &[Function::Log])
}

pub(super) fn max(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Max, &[])
}

pub(super) fn mean(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Mean, &[])
}

pub(super) fn min(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Min, &[])
}

pub(super) fn prod(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Prod, &[])
}

pub(super) fn sum(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::Sum, &[])
}

pub(super) fn sum_square(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    reduce(a, ReduceKind::SumSquare, &[])
}

/// `max + log(sum(exp(x - max)))`, which does not overflow.
pub(super) fn log_sum_exp(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let Some(folding) = Folding::read(a, &x)? else { return Ok(vec![x]) };
    let top = a.emit(folding.op(ReduceKind::Max, true), &[&x])?;
    let below = a.elementwise(Function::Sub, &[x, top.clone()])?;
    let exponentials = a.map(&below, vec![Step::unary(Function::Exp)])?;
    let sum = a.emit(folding.op(ReduceKind::Sum, true), &[&exponentials])?;
    let log = a.map(&sum, vec![Step::unary(Function::Log)])?;
    let y = a.elementwise(Function::Add, &[log, top])?;
    let kept = folding.op(ReduceKind::Sum, folding.keepdims).output_shape(&a.shape(&exponentials));
    Ok(vec![a.reshape(&y, &kept)?])
}

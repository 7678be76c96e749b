//! CumSum. The axis is an operand, which must be constant.

use eightfold_ir::DType;
use eightfold_ir::op::cumsum::CumSum;

use super::{Adapt, AdaptError, Outputs, axis, broken, unsupported};

pub(super) fn cumsum(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let (rank, dtype) = (a.shape(&x).rank(), a.dtype(&x));
    let given = a.constant_ints(1, "axis")?.ok_or_else(|| broken("axis is missing"))?;
    let [given] = given[..] else { return Err(broken(format!("axis has {} elements, expected 1", given.len()))) };
    let axis = axis(given, rank)?;
    if !matches!(dtype, DType::F32 | DType::I32 | DType::I64) {
        return Err(unsupported(format!("running sums of {dtype}")));
    }
    let (exclusive, reverse) = (a.flag("exclusive", false)?, a.flag("reverse", false)?);
    Ok(vec![a.emit(CumSum { axis, exclusive, reverse }, &[&x])?])
}

//! Transpose.

use super::{Adapt, AdaptError, Outputs, sizes};

pub(super) fn transpose(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let x = a.operand(0)?;
    let perm = match a.ints("perm")? {
        Some(perm) => sizes(&perm, "perm")?,
        None => (0..a.shape(&x).rank()).rev().collect(),
    };
    Ok(vec![a.transpose(&x, &perm)?])
}

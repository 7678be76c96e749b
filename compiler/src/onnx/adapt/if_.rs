//! If with a condition that is known at import: the taken branch replaces the node.

use super::{Adapt, AdaptError, Outputs, broken};

pub(super) fn if_(a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
    let condition = a.constant_ints(0, "cond")?.filter(|v| v.len() == 1);
    let condition = condition.ok_or_else(|| broken("the condition must be one truth value"))?;
    let (name, other) = match condition[0] {
        0 => ("else_branch", "then_branch"),
        _ => ("then_branch", "else_branch"),
    };
    a.ignore(other);
    let body = a.body(name)?;
    if !body.inputs.is_empty() {
        return Err(broken(format!("{name} has inputs")));
    }
    let path = format!("{}/", a.origin.names().next().unwrap_or_default());
    let outputs = (a.expand)(a.importer, &body, a.opsets, &path).map_err(|e| AdaptError::Model(Box::new(e)))?;
    outputs.ok_or(AdaptError::Lost)
}

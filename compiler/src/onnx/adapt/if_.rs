//! If, where the condition is known at import: the branch taken is expanded in its place.

use super::{Adapt, Fault, Outputs, broken, unsupported};
use crate::onnx::import::Operand;
use crate::onnx::model::Attribute;

pub(super) fn if_(a: &mut Adapt<'_, '_>) -> Result<Outputs, Fault> {
    let condition = match a.operand(0)? {
        Operand::Const { tensor, .. } => tensor.to_ints().filter(|v| v.len() == 1),
        Operand::Value(_) => return Err(unsupported("the condition is not constant")),
    };
    let condition = condition.ok_or_else(|| broken("the condition must be one truth value"))?;
    let name = if condition[0] != 0 { "then_branch" } else { "else_branch" };
    let Some(Attribute::Graph(body)) = a.node.attributes.get(name) else {
        return Err(broken(format!("attribute {name} must be GRAPH")));
    };
    if !body.inputs.is_empty() {
        return Err(broken(format!("{name} has inputs")));
    }
    let path = format!("{}/", a.origin.names().next().unwrap_or_default());
    let outputs = a.importer.subgraph(body, a.opsets, &path).map_err(|e| Fault::Model(Box::new(e)))?;
    outputs.ok_or(Fault::Lost)
}

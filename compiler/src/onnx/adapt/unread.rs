//! Attributes that an adapter does not read: each must mean nothing, or the node would be imported as something else.

use std::collections::BTreeSet;

use super::{Fault, unsupported};
use crate::onnx::model::{Attribute, Node};

/// What an attribute that nothing reads may say.
enum Allowed {
    /// Anything: it has no effect on what is computed here.
    Anything,
    /// This integer, which is what its absence means.
    Int(i64),
}

/// Attributes that no adapter reads: operator (empty: any), name, what it may say.
const UNREAD: &[(&str, &str, Allowed)] = &[
    // Storage of old frameworks.
    ("", "consumed_inputs", Allowed::Anything),
    // Training alone.
    ("BatchNormalization", "momentum", Allowed::Anything),
    ("Dropout", "is_test", Allowed::Anything),
    ("Dropout", "ratio", Allowed::Anything),
    ("Dropout", "seed", Allowed::Anything),
    // Casts to and from 8-bit floats, which are refused.
    ("Cast", "round_mode", Allowed::Anything),
    ("Cast", "saturate", Allowed::Anything),
    ("CastLike", "round_mode", Allowed::Anything),
    ("CastLike", "saturate", Allowed::Anything),
    ("QuantizeLinear", "saturate", Allowed::Anything),
    // The type of the division by the scale: 0 is that of the operand.
    ("QuantizeLinear", "precision", Allowed::Int(0)),
    // The type of the mean and the variance: 1 is f32.
    ("LayerNormalization", "stash_type", Allowed::Int(1)),
    // The order of output Indices, which is refused.
    ("MaxPool", "storage_order", Allowed::Anything),
    // Modes of interpolation that are refused.
    ("Resize", "cubic_coeff_a", Allowed::Anything),
    ("Resize", "extrapolation_value", Allowed::Anything),
    ("Resize", "exclude_outside", Allowed::Int(0)),
];

/// Refuses the node if an attribute that is not among `read` may mean something.
pub(super) fn refuse(node: &Node, read: &BTreeSet<&'static str>) -> Result<(), Fault> {
    for (name, attribute) in node.attributes.iter().filter(|(name, _)| !read.contains(name.as_str())) {
        let row = UNREAD.iter().find(|(op, known, _)| (op.is_empty() || *op == node.op_type) && known == name);
        let expected = match (row.map(|(_, _, allowed)| allowed), attribute) {
            (Some(Allowed::Anything), _) => continue,
            (Some(Allowed::Int(n)), Attribute::Int(got)) if got == n => continue,
            (Some(Allowed::Int(n)), _) => format!("expected {n}"),
            (None, _) => "which is not supported".to_owned(),
        };
        return Err(unsupported(format!("attribute {name} is {attribute}, {expected}")));
    }
    Ok(())
}

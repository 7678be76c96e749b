//! Attributes that no adapter reads. Each must have no effect; otherwise the node would be imported with another
//! meaning.

use std::collections::BTreeSet;

use super::{AdaptError, unsupported};
use crate::onnx::model::{Attribute, Node};

/// The allowed values of an attribute that is not read.
enum Allowed {
    /// Any value: it has no effect on the result.
    Anything,
    /// Only this integer, which is the default.
    Int(i64),
}

/// Attributes that no adapter reads: operator (empty for any), name, allowed values.
const UNREAD: &[(&str, &str, Allowed)] = &[
    // Obsolete storage hint.
    ("", "consumed_inputs", Allowed::Anything),
    // For training only.
    ("BatchNormalization", "momentum", Allowed::Anything),
    ("Dropout", "is_test", Allowed::Anything),
    ("Dropout", "ratio", Allowed::Anything),
    ("Dropout", "seed", Allowed::Anything),
    // For casts to and from 8-bit floats, which are not supported.
    ("Cast", "round_mode", Allowed::Anything),
    ("Cast", "saturate", Allowed::Anything),
    ("CastLike", "round_mode", Allowed::Anything),
    ("CastLike", "saturate", Allowed::Anything),
    ("QuantizeLinear", "saturate", Allowed::Anything),
    // The type of the division by the scale: 0 means the operand's type.
    ("QuantizeLinear", "precision", Allowed::Int(0)),
    // The type of mean and variance: 1 means f32.
    ("LayerNormalization", "stash_type", Allowed::Int(1)),
    // The order of output Indices, which is not supported.
    ("MaxPool", "storage_order", Allowed::Anything),
    // For interpolation modes that are not supported.
    ("Resize", "cubic_coeff_a", Allowed::Anything),
    ("Resize", "extrapolation_value", Allowed::Anything),
    ("Resize", "exclude_outside", Allowed::Int(0)),
];

/// Fails if an attribute that is not in `read` may have an effect.
pub(super) fn refuse(node: &Node, read: &BTreeSet<&'static str>) -> Result<(), AdaptError> {
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

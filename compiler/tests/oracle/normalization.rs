//! Normalizations.

use proptest::prelude::*;

use crate::drawn::{floats, positive, shape};
use crate::node::{Node, Value};

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn batch_normalization(shape in shape(2..=4), seed: u64) {
        let channels = &shape[1..2];
        Node::new("BatchNormalization")
            .with("epsilon", Value::Float(1e-3))
            .reads(floats(&shape, seed))
            .constant(floats(channels, seed ^ 1))
            .constant(floats(channels, seed ^ 2))
            .constant(floats(channels, seed ^ 3))
            .constant(positive(channels, seed ^ 4))
            .agrees(1e-5)?;
    }

    #[test]
    fn instance_normalization(shape in shape(3..=4), seed: u64) {
        let channels = &shape[1..2];
        Node::new("InstanceNormalization")
            .with("epsilon", Value::Float(1e-2))
            .reads(floats(&shape, seed))
            .constant(floats(channels, seed ^ 1))
            .constant(floats(channels, seed ^ 2))
            .agrees(1e-5)?;
    }

    #[test]
    fn layer_normalization(shape in shape(2..=4), at in 0..4_usize, seed: u64) {
        let axis = at % shape.len();
        Node::new("LayerNormalization")
            .with("axis", Value::Int(axis as i64))
            .with("epsilon", Value::Float(1e-2))
            .reads(floats(&shape, seed))
            .constant(floats(&shape[axis..], seed ^ 1))
            .constant(floats(&shape[axis..], seed ^ 2))
            .agrees(1e-5)?;
    }
}

//! Pools and reductions.

use proptest::prelude::*;

use crate::drawn::{floats, shape};
use crate::node::{Node, Value};

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn pools(
        extents in prop::collection::vec(3..=8_usize, 1..=2), kernel in 1..=3_usize, stride in 1..=3_usize,
        pads in prop::collection::vec(0..=1_usize, 4), counted: bool, seed: u64,
    ) {
        let rank = extents.len();
        let pads = pads[..2 * rank].iter().map(|p| (*p).min(kernel - 1) as i64).collect::<Vec<_>>();
        let node = |op_type| {
            Node::new(op_type)
                .with("kernel_shape", Value::Ints(vec![kernel as i64; rank]))
                .with("strides", Value::Ints(vec![stride as i64; rank]))
                .with("pads", Value::Ints(pads.clone()))
                .reads(floats(&[vec![2, 3], extents.clone()].concat(), seed))
        };
        node("MaxPool").agrees(0.0)?;
        node("AveragePool").with("count_include_pad", Value::Int(counted.into())).agrees(1e-6)?;
    }

    #[test]
    fn pools_whose_last_window_overhangs(extent in 3..=9_usize, kernel in 2..=3_usize, stride in 1..=2_usize, seed: u64) {
        let node = Node::new("MaxPool")
            .with("kernel_shape", Value::Ints(vec![kernel as i64; 2]))
            .with("strides", Value::Ints(vec![stride as i64; 2]))
            .with("ceil_mode", Value::Int(1));
        node.reads(floats(&[1, 2, extent, extent + 1], seed)).agrees(0.0)?;
    }

    #[test]
    fn global_pools(shape in shape(3..=4), seed: u64) {
        Node::new("GlobalAveragePool").reads(floats(&shape, seed)).agrees(1e-6)?;
        Node::new("GlobalMaxPool").reads(floats(&shape, seed)).agrees(0.0)?;
    }

    #[test]
    fn reductions(shape in shape(1..=4), chosen: u8, keepdims: bool, negative: bool, seed: u64) {
        let rank = shape.len() as i64;
        let axes: Vec<i64> = (0..rank).filter(|axis| chosen >> axis & 1 == 1).collect();
        let axes = if axes.is_empty() { vec![rank - 1] } else { axes };
        let axes: Vec<i64> = axes.iter().map(|axis| if negative { axis - rank } else { *axis }).collect();
        for op_type in ["ReduceL1", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSumSquare", "ReduceL2"] {
            Node::new(op_type)
                .with("axes", Value::Ints(axes.clone()))
                .with("keepdims", Value::Int(keepdims.into()))
                .reads(floats(&shape, seed))
                .agrees(1e-6)?;
        }
        Node::new("ReduceLogSumExp")
            .with("axes", Value::Ints(axes.clone()))
            .with("keepdims", Value::Int(keepdims.into()))
            .reads(floats(&shape, seed))
            .agrees(1e-5)?;
        Node::new("ReduceLogSum")
            .with("axes", Value::Ints(axes.clone()))
            .with("keepdims", Value::Int(keepdims.into()))
            .reads(crate::drawn::positive(&shape, seed))
            .agrees(1e-5)?;
        let sum = Node::new("ReduceSum").with("keepdims", Value::Int(keepdims.into())).reads(floats(&shape, seed));
        sum.clone().list(&axes).agrees(0.0)?;
        sum.agrees(0.0)?;
    }

    /// So few numbers that the product of some of them stays finite.
    #[test]
    fn products(shape in shape(1..=2), keepdims: bool, seed: u64) {
        Node::new("ReduceProd")
            .with("axes", Value::Ints((0..shape.len() as i64).collect()))
            .with("keepdims", Value::Int(keepdims.into()))
            .reads(floats(&shape, seed))
            .agrees(1e-5)?;
    }

    #[test]
    fn softmaxes(shape in shape(1..=4), at in 0..4_usize, negative: bool, seed: u64) {
        let axis = (at % shape.len()) as i64 - if negative { shape.len() as i64 } else { 0 };
        for (op_type, opset) in [("Softmax", 13), ("Softmax", 11), ("LogSoftmax", 13), ("LogSoftmax", 11)] {
            Node::new(op_type)
                .opset(opset)
                .with("axis", Value::Int(axis))
                .reads(floats(&shape, seed))
                .agrees(1e-5)?;
        }
    }
}

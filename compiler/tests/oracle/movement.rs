//! Operators that move or select elements: results are equal bit for bit.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::drawn::{floats, integers, shape};
use crate::node::{Node, Value};

fn signed(list: &[usize]) -> Vec<i64> {
    list.iter().map(|x| *x as i64).collect()
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn transposes(shape in shape(1..=4), order in Just(vec![0_i64, 1, 2, 3]).prop_shuffle(), seed: u64) {
        let perm = order.into_iter().filter(|axis| *axis < shape.len() as i64).collect();
        Node::new("Transpose").with("perm", Value::Ints(perm)).reads(floats(&shape, seed)).agrees(0.0)?;
        Node::new("Transpose").reads(floats(&shape, seed)).agrees(0.0)?;
    }

    #[test]
    fn reshapes(shape in shape(2..=4), seed: u64) {
        let node = |op_type| Node::new(op_type).reads(floats(&shape, seed));
        node("Reshape").list(&[-1]).agrees(0.0)?;
        node("Reshape").list(&[0, -1]).agrees(0.0)?;
        node("Reshape").list(&[1, -1, shape[shape.len() - 1] as i64]).agrees(0.0)?;
        for axis in 0..=shape.len() {
            node("Flatten").with("axis", Value::Int(axis as i64)).agrees(0.0)?;
            node("Unsqueeze").list(&[axis as i64]).agrees(0.0)?;
        }
        node("Unsqueeze").list(&[0, -1]).agrees(0.0)?;
        let mut thin = shape.clone();
        thin[1] = 1;
        Node::new("Squeeze").reads(floats(&thin, seed)).list(&[1]).agrees(0.0)?;
        Node::new("Squeeze").opset(11).with("axes", Value::Ints(vec![1])).reads(floats(&thin, seed)).agrees(0.0)?;
    }

    #[test]
    fn slices(shape in shape(1..=3), bounds in prop::collection::vec((-6..=6_i64, -6..=6_i64, 1..=3_i64), 3), seed: u64) {
        let bounds = &bounds[..shape.len()];
        // The result must have elements: some of tract's operators reject empty tensors.
        let fits = bounds.iter().zip(&shape).all(|((start, end, _), extent)| {
            let at = |i: i64| (if i < 0 { i + *extent as i64 } else { i }).clamp(0, *extent as i64);
            at(*start) < at(*end)
        });
        prop_assume!(fits);
        let list = |f: fn(&(i64, i64, i64)) -> i64| bounds.iter().map(f).collect::<Vec<_>>();
        let axes: Vec<i64> = (0..shape.len() as i64).collect();
        Node::new("Slice")
            .reads(floats(&shape, seed))
            .list(&list(|b| b.0))
            .list(&list(|b| b.1))
            .list(&axes)
            .list(&list(|b| b.2))
            .agrees(0.0)?;
    }

    #[test]
    fn slices_backwards(extent in 1..=7_usize, step in 1..=3_i64, seed: u64) {
        Node::new("Slice")
            .reads(floats(&[2, extent], seed))
            .list(&[-1])
            .list(&[i64::from(i32::MIN)])
            .list(&[1])
            .list(&[-step])
            .agrees(0.0)?;
    }

    #[test]
    fn joins_and_parts(shape in shape(1..=4), at: Index, other in 1..=4_usize, seed: u64) {
        let axis = at.index(shape.len());
        let mut second = shape.clone();
        second[axis] = other;
        let joined = Node::new("Concat").with("axis", Value::Int(axis as i64));
        joined.reads(floats(&shape, seed)).reads(floats(&second, seed ^ 1)).agrees(0.0)?;
        let mut whole = shape.clone();
        whole[axis] += other;
        Node::new("Split")
            .with("axis", Value::Int(axis as i64))
            .outputs(2)
            .reads(floats(&whole, seed))
            .list(&[shape[axis] as i64, other as i64])
            .agrees(0.0)?;
    }

    #[test]
    fn gathers(shape in shape(1..=3), at: Index, picked in shape(0..=2), seed: u64) {
        let axis = at.index(shape.len());
        let extent = shape[axis] as i64;
        let node = Node::new("Gather").with("axis", Value::Int(axis as i64)).reads(floats(&shape, seed));
        node.clone().constant(integers(&picked, seed, -extent, extent - 1)).agrees(0.0)?;
        node.reads(integers(&picked, seed, 0, extent - 1)).agrees(0.0)?;
    }

    #[test]
    fn copies(shape in shape(1..=3), times in prop::collection::vec(1..=3_i64, 3), seed: u64) {
        Node::new("Tile").reads(floats(&shape, seed)).list(&times[..shape.len()]).agrees(0.0)?;
        let mut thin = shape.clone();
        thin[0] = 1;
        Node::new("Expand").reads(floats(&thin, seed)).list(&[vec![2], signed(&shape)].concat()).agrees(0.0)?;
    }

    #[test]
    fn borders(shape in shape(1..=4), widths in prop::collection::vec(0..=2_i64, 8), seed: u64) {
        let rank = shape.len();
        let pads: Vec<i64> = widths[..2 * rank].to_vec();
        let value = eightfold_ir::Tensor::f32(&[], &[1.5]);
        let node = |mode| Node::new("Pad").with("mode", Value::Text(mode)).reads(floats(&shape, seed));
        node("constant").list(&pads).constant(value).agrees(0.0)?;
        node("constant").list(&pads).agrees(0.0)?;
        node("edge").list(&pads).agrees(0.0)?;
        let narrow: Vec<i64> = pads.iter().enumerate().map(|(i, p)| *p.min(&(shape[i % rank] as i64 - 1))).collect();
        node("reflect").list(&narrow).agrees(0.0)?;
    }

    #[test]
    fn blocks(batch in 1..=2_usize, channels in 1..=3_usize, block in 2..=3_usize, extents in shape(2..=2), seed: u64) {
        let deep = [batch, channels * block * block, extents[0], extents[1]];
        for mode in ["DCR", "CRD"] {
            Node::new("DepthToSpace")
                .with("blocksize", Value::Int(block as i64))
                .with("mode", Value::Text(mode))
                .reads(floats(&deep, seed))
                .agrees(0.0)?;
        }
        let wide = [batch, channels, extents[0] * block, extents[1] * block];
        Node::new("SpaceToDepth").with("blocksize", Value::Int(block as i64)).reads(floats(&wide, seed)).agrees(0.0)?;
    }

    #[test]
    fn sizes(extents in shape(2..=2), to in shape(2..=2), seed: u64) {
        for coordinates in ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"] {
            let node = |mode| {
                Node::new("Resize")
                    .with("mode", Value::Text(mode))
                    .with("coordinate_transformation_mode", Value::Text(coordinates))
            };
            let fed = |node: Node| {
                let x = floats(&[1, 2, extents[0], extents[1]], seed);
                node.reads(x).none().none().list(&[1, 2, to[0] as i64, to[1] as i64])
            };
            fed(node("linear")).agrees(1e-5)?;
            for nearest in ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"] {
                fed(node("nearest").with("nearest_mode", Value::Text(nearest))).agrees(0.0)?;
            }
        }
    }
}

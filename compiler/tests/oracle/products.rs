//! Convolutions and matrix products, which are exact in any order on these operands.

use proptest::prelude::*;

use crate::drawn::{broadcast, floats};
use crate::node::{Node, Value};

/// Extent, kernel, stride, dilation, and pads of a spatial axis.
fn axis() -> impl Strategy<Value = [usize; 6]> {
    (1..=3_usize, 1..=3_usize, 1..=3_usize, 0..=2_usize, 0..=2_usize).prop_flat_map(|(k, stride, dilation, p, q)| {
        let least = ((k - 1) * dilation + 1).saturating_sub(p + q).max(1);
        (least..least + 6).prop_map(move |extent| [extent, k, stride, dilation, p, q])
    })
}

/// Extent, kernel, stride, dilation, begin and end crop, and output padding of a spatial axis.
fn transposed_axis() -> impl Strategy<Value = [usize; 7]> {
    (1..=4_usize, 1..=3_usize, 1..=2_usize, 0..=2_usize, 0..=2_usize).prop_flat_map(|(k, stride, dilation, p, q)| {
        let least = (p + q).saturating_sub((k - 1) * dilation).div_ceil(stride) + 1;
        (least..least + 4, 0..stride).prop_map(move |(extent, more)| [extent, k, stride, dilation, p, q, more])
    })
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn convolutions(
        axes in prop::collection::vec(axis(), 1..=3),
        batch in 1..=2_usize, group in 1..=3_usize, inputs in 1..=3_usize, outputs in 1..=3_usize,
        bias: bool, seed: u64,
    ) {
        let of = |index: usize| axes.iter().map(|axis| axis[index]).collect::<Vec<_>>();
        let list = |parts: &[usize]| Value::Ints(parts.iter().map(|x| *x as i64).collect());
        let x = [vec![batch, group * inputs], of(0)].concat();
        let w = [vec![group * outputs, inputs], of(1)].concat();
        let mut node = Node::new("Conv")
            .with("kernel_shape", list(&of(1)))
            .with("strides", list(&of(2)))
            .with("dilations", list(&of(3)))
            .with("pads", list(&[of(4), of(5)].concat()))
            .with("group", Value::Int(group as i64))
            .reads(floats(&x, seed))
            .constant(floats(&w, seed ^ 1));
        if bias {
            node = node.constant(floats(&w[..1], seed ^ 2));
        }
        node.agrees(0.0)?;
    }

    #[test]
    fn transposes_of_convolutions(
        axes in prop::collection::vec(transposed_axis(), 1..=3),
        batch in 1..=2_usize, group in 1..=3_usize, inputs in 1..=3_usize, outputs in 1..=3_usize,
        bias: bool, shaped: bool, seed: u64,
    ) {
        let of = |index: usize| axes.iter().map(|axis| axis[index]).collect::<Vec<_>>();
        let list = |parts: &[usize]| Value::Ints(parts.iter().map(|x| *x as i64).collect());
        let x = [vec![batch, group * inputs], of(0)].concat();
        let w = [vec![group * inputs, outputs], of(1)].concat();
        let mut node = Node::new("ConvTranspose")
            .with("kernel_shape", list(&of(1)))
            .with("strides", list(&of(2)))
            .with("dilations", list(&of(3)))
            .with("group", Value::Int(group as i64));
        node = match shaped {
            true => node.with("pads", list(&[of(4), of(5)].concat())).with("output_padding", list(&of(6))),
            false => node,
        };
        node = node.reads(floats(&x, seed)).constant(floats(&w, seed ^ 1));
        if bias {
            node = node.constant(floats(&[group * outputs], seed ^ 2));
        }
        node.agrees(0.0)?;
    }

    #[test]
    fn convolutions_that_pad_by_themselves(
        extents in prop::collection::vec(3..=9_usize, 2), kernel in 1..=3_usize, stride in 1..=3_usize, seed: u64,
    ) {
        for mode in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
            Node::new("Conv")
                .with("auto_pad", Value::Text(mode))
                .with("strides", Value::Ints(vec![stride as i64; 2]))
                .reads(floats(&[1, 2, extents[0], extents[1]], seed))
                .constant(floats(&[3, 2, kernel, kernel], seed ^ 1))
                .agrees(0.0)?;
        }
    }

    #[test]
    fn matrix_products((a, b) in broadcast(), m in 1..=4_usize, k in 1..=5_usize, n in 1..=4_usize, seed: u64, fed: bool) {
        let (a, b) = ([a, vec![m, k]].concat(), [b, vec![k, n]].concat());
        let node = Node::new("MatMul").reads(floats(&a, seed));
        let w = floats(&b, seed ^ 1);
        (if fed { node.reads(w) } else { node.constant(w) }).agrees(0.0)?;
    }

    #[test]
    fn vectors_in_matrix_products(k in 1..=5_usize, n in 1..=4_usize, seed: u64) {
        Node::new("MatMul").reads(floats(&[k], seed)).constant(floats(&[k, n], seed ^ 1)).agrees(0.0)?;
        Node::new("MatMul").reads(floats(&[n, k], seed)).constant(floats(&[k], seed ^ 1)).agrees(0.0)?;
    }

    #[test]
    fn general_products(
        m in 1..=4_usize, k in 1..=5_usize, n in 1..=4_usize, seed: u64, turned: (bool, bool), summand in 0..5_usize,
        factors: (bool, bool),
    ) {
        let matrix = |turned: bool, rows: usize, cols: usize| if turned { [cols, rows] } else { [rows, cols] };
        let mut node = Node::new("Gemm")
            .with("transA", Value::Int(turned.0.into()))
            .with("transB", Value::Int(turned.1.into()))
            .with("alpha", Value::Float(if factors.0 { 0.5 } else { 1.0 }))
            .with("beta", Value::Float(if factors.1 { 2.0 } else { 1.0 }))
            .reads(floats(&matrix(turned.0, m, k), seed))
            .constant(floats(&matrix(turned.1, k, n), seed ^ 1));
        let shapes: [&[usize]; 4] = [&[n], &[m, n], &[1, n], &[m, 1]];
        if let Some(shape) = shapes.get(summand) {
            node = node.constant(floats(shape, seed ^ 2));
        }
        node.agrees(0.0)?;
    }
}

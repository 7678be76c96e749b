//! ConvTranspose with attributes that leave extents to be computed, and with quantized weights.

use eightfold::onnx::{ImportOptions, from_bytes};
use eightfold_ir::{DType, Graph, Op, Precision, Tensor, eval, verify};
use eightfold_passes::{PassOptions, Pipeline};
use tract_onnx::pb::{NodeProto, TensorProto};

use crate::making::Value::{Int, Ints, Text};
use crate::making::{F32, I8, U8, Value, bytes, declared, fed_with, floats, model, node, raw, with};

/// The graph of these nodes, with an input of this shape.
fn imported(shape: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    let model = fed_with(model(nodes, initializers), vec![declared("x", F32, shape)]);
    from_bytes(&bytes(&model), &ImportOptions::default()).expect("the model imports").graph
}

type Attributes<'a> = &'a [(&'a str, Value<'a>)];

/// ONNX Runtime 1.31's result for 1, 10, 100 with the window 1, 2, 3, 4.
#[test]
fn extents_that_are_not_given_are_those_of_onnx_runtime() {
    let cases: &[(Attributes<'_>, &[f32])] = &[
        (&[], &[1.0, 12.0, 123.0, 234.0, 340.0, 400.0]),
        (&[("auto_pad", Text("VALID"))], &[1.0, 12.0, 123.0, 234.0, 340.0, 400.0]),
        (&[("auto_pad", Text("SAME_UPPER"))], &[12.0, 123.0, 234.0]),
        (&[("auto_pad", Text("SAME_LOWER"))], &[123.0, 234.0, 340.0]),
        (
            &[("auto_pad", Text("SAME_UPPER")), ("strides", Ints(&[3]))],
            &[1.0, 2.0, 3.0, 14.0, 20.0, 30.0, 140.0, 200.0, 300.0],
        ),
        (
            &[("auto_pad", Text("SAME_LOWER")), ("strides", Ints(&[3]))],
            &[2.0, 3.0, 14.0, 20.0, 30.0, 140.0, 200.0, 300.0, 400.0],
        ),
        (
            &[("auto_pad", Text("SAME_UPPER")), ("strides", Ints(&[5]))],
            &[1.0, 2.0, 3.0, 4.0, 0.0, 10.0, 20.0, 30.0, 40.0, 0.0, 100.0, 200.0, 300.0, 400.0],
        ),
        (
            &[("auto_pad", Text("SAME_UPPER")), ("strides", Ints(&[2])), ("output_padding", Ints(&[1]))],
            &[2.0, 13.0, 24.0, 130.0, 240.0, 300.0],
        ),
        (&[("strides", Ints(&[2])), ("output_shape", Ints(&[5]))], &[13.0, 24.0, 130.0, 240.0, 300.0]),
        (
            &[("auto_pad", Text("SAME_UPPER")), ("strides", Ints(&[2])), ("output_shape", Ints(&[5]))],
            &[2.0, 13.0, 24.0, 130.0, 240.0],
        ),
        (
            &[("strides", Ints(&[2])), ("output_shape", Ints(&[6])), ("output_padding", Ints(&[1]))],
            &[13.0, 24.0, 130.0, 240.0, 300.0, 400.0],
        ),
        (
            &[("strides", Ints(&[2])), ("output_shape", Ints(&[7])), ("pads", Ints(&[1, 1]))],
            &[2.0, 13.0, 24.0, 130.0, 240.0, 300.0, 400.0],
        ),
        (
            &[("strides", Ints(&[3])), ("output_padding", Ints(&[2]))],
            &[1.0, 2.0, 3.0, 14.0, 20.0, 30.0, 140.0, 200.0, 300.0, 400.0, 0.0, 0.0],
        ),
        // One more than the weights reach.
        (
            &[("strides", Ints(&[2])), ("output_shape", Ints(&[9]))],
            &[1.0, 2.0, 13.0, 24.0, 130.0, 240.0, 300.0, 400.0, 0.0],
        ),
    ];
    for (attributes, expected) in cases {
        let plain = node("ConvTranspose", "x w", "y");
        let names: Vec<&str> = attributes.iter().map(|(name, _)| *name).collect();
        let node = attributes.iter().fold(plain, |node, (name, value)| {
            let value = match value {
                Ints(list) => Ints(list),
                Text(word) => Text(word),
                _ => unreachable!("no other kind is above"),
            };
            with(node, name, value)
        });
        let graph = imported(&[1, 1, 3], vec![node], vec![floats("w", &[1, 1, 4], &[1.0, 2.0, 3.0, 4.0])]);
        let y = eval(&graph, &[Tensor::f32(&[1, 1, 3], &[1.0, 10.0, 100.0])]).expect("the graph evaluates");
        assert_eq!(y[0].to_f32s().expect("floats"), *expected, "{names:?}");
    }
}

/// Weights that are quantized along their second axis, a group's output channels, stay integers.
#[test]
fn quantized_weights_of_groups_multiply_as_integers() {
    let weights: Vec<u8> = (0..4 * 3 * 2 * 2_i32).map(|i| (i * 37 % 255 - 127) as i8 as u8).collect();
    let nodes = vec![
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xr"),
        with(node("DequantizeLinear", "wq ws wz", "wr"), "axis", Int(1)),
        with(with(node("ConvTranspose", "xr wr", "r"), "group", Int(2)), "strides", Ints(&[2, 2])),
        node("QuantizeLinear", "r ys yz", "yq"),
        node("DequantizeLinear", "yq ys yz", "y"),
    ];
    let initializers = vec![
        floats("xs", &[], &[0.125]),
        raw("xz", U8, &[], &[128]),
        raw("wq", I8, &[4, 3, 2, 2], &weights),
        floats("ws", &[3], &[0.5, 0.25, 0.125]),
        raw("wz", I8, &[3], &[0; 3]),
        floats("ys", &[], &[4.0]),
        raw("yz", U8, &[], &[128]),
    ];
    let mut graph = imported(&[1, 4, 3, 3], nodes, initializers);
    let x: Vec<f32> = (0..36).map(|i| (i * 29 % 64) as f32 / 8.0 - 4.0).collect();
    let x = [Tensor::f32(&[1, 4, 3, 3], &x)];
    let before = eval(&graph, &x).expect("the graph evaluates");
    let options = PassOptions { precision: Precision::Int8, ..PassOptions::default() };
    let pipeline = Pipeline::new(eightfold_passes::INT8).expect("known passes");
    pipeline.run(&mut graph, &options, &mut |_, _| {}).expect("passes run");
    verify(&graph).expect("what passes make is valid");
    let sum = graph.nodes().find(|node| matches!(node.op, Op::ConvTranspose(_))).expect("it is still there");
    let types = [0, 1].map(|index| graph.ty(sum.operands[index].expect("an operand")).dtype);
    assert_eq!(types, [DType::U8, DType::I8]);
    // All scales are powers of two, so rounding is the same.
    assert_eq!(eval(&graph, &x).expect("the graph evaluates"), before);
}

//! Zero and negative scales, which DequantizeLinear allows and the graph does not.

use eightfold::onnx::{ImportOptions, from_bytes};
use eightfold_ir::{DType, Graph, Op, Precision, Tensor, eval, verify};
use eightfold_passes::{INT8, PassOptions, Pipeline};
use tract_onnx::pb::{NodeProto, TensorProto};

use crate::making::Value::Int;
use crate::making::{F32, I8, U8, bytes, declared, fed_with, floats, model, node, raw, with};

/// ONNX's number of 32-bit integers.
const I32: i32 = 6;

/// The graph of these nodes, with an input `x` of this type and shape.
fn imported((kind, shape): (i32, &[i64]), nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    let model = fed_with(model(nodes, initializers), vec![declared("x", kind, shape)]);
    from_bytes(&bytes(&model), &ImportOptions::default()).expect("the model imports").graph
}

/// The only output for this input.
fn output(graph: &Graph, x: &Tensor) -> Vec<f32> {
    verify(graph).expect("the graph verifies");
    let outputs = eval(graph, std::slice::from_ref(x)).expect("the graph evaluates");
    outputs[0].to_f32s().expect("floats")
}

/// The graph after the int8 passes.
fn lowered(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let options = PassOptions { precision: Precision::Int8, ..PassOptions::default() };
    Pipeline::new(INT8).expect("known passes").run(&mut graph, &options, &mut |_, _| {}).expect("passes run");
    graph
}

#[test]
fn an_input_is_dequantized_by_zero_and_negative_scales() {
    let x = Tensor::int(DType::I8, &[1, 3], &[-128, 4, 127]);
    let one = imported(
        (I8, &[1, 3]),
        vec![node("DequantizeLinear", "x s z", "y")],
        vec![floats("s", &[], &[-0.5]), raw("z", I8, &[], &[2])],
    );
    let channels = imported(
        (I8, &[1, 3]),
        vec![with(node("DequantizeLinear", "x s z", "y"), "axis", Int(1))],
        vec![floats("s", &[3], &[-0.5, 0.0, 2.0]), raw("z", I8, &[3], &[2, 0, 27])],
    );
    for (graph, expected) in [(one, [65.0, -1.0, -62.5]), (channels, [65.0, 0.0, 200.0])] {
        assert_eq!(output(&graph, &x), expected);
        assert_eq!(output(&lowered(&graph), &x), expected);
    }
}

#[test]
fn weights_of_negative_scales_are_multiplied_as_integers() {
    let quantized = |name: &str| {
        let (q, d) = (format!("{name}_q"), format!("{name}_d"));
        let quantize = node("QuantizeLinear", &format!("{name} xs xz"), &q);
        vec![quantize, node("DequantizeLinear", &format!("{q} xs xz"), &d)]
    };
    for (kind, zero_points, weights) in [
        // Integers minus their zero points: -128, 0, 127; 1, 2, -3; 4, 5, 6 in the columns of both types.
        (I8, vec![0_u8, 0, 0], [-128, 1, 4, 0, 2, 5, 127, -3, 6]),
        (U8, vec![128, 3, 0], [0, 4, 4, 128, 5, 5, 255, 0, 6]),
    ] {
        let mut nodes = quantized("x");
        nodes.push(with(node("DequantizeLinear", "w ws wz", "w_d"), "axis", Int(1)));
        nodes.push(node("MatMul", "x_d w_d", "y"));
        let weights: Vec<u8> = weights.iter().map(|w: &i32| *w as u8).collect();
        let initializers = vec![
            floats("xs", &[], &[0.5]),
            raw("xz", U8, &[], &[128]),
            raw("w", kind, &[3, 3], &weights),
            floats("ws", &[3], &[-0.25, 0.5, 0.0]),
            raw("wz", kind, &[3], &zero_points),
        ];
        let graph = imported((F32, &[1, 3]), nodes, initializers);
        let x = Tensor::f32(&[1, 3], &[1.0, -2.0, 3.0]);
        let expected = [-0.25 * (-128.0 + 381.0), 0.5 * (1.0 - 4.0 - 9.0), 0.0];
        assert_eq!(output(&graph, &x), expected);
        let integers = lowered(&graph);
        assert_eq!(output(&integers, &x), expected);
        let product = integers.nodes().find(|node| matches!(node.op, Op::MatMul(_))).expect("a product");
        let types = [0, 1].map(|index| integers.ty(product.operand(index).expect("a factor")).dtype.bits());
        assert_eq!(types, [8, 8], "{}", eightfold_ir::print(&integers));
    }
}

#[test]
fn a_bias_of_a_negative_scale_is_added() {
    let nodes = vec![
        node("QuantizeLinear", "x xs xz", "q"),
        node("DequantizeLinear", "q xs xz", "d"),
        node("DequantizeLinear", "w ws", "wd"),
        node("DequantizeLinear", "b bs", "bd"),
        node("Gemm", "d wd bd", "y"),
    ];
    let integers: Vec<u8> = [i32::MIN, 40].iter().flat_map(|b: &i32| b.to_le_bytes()).collect();
    let initializers = vec![
        floats("xs", &[], &[0.5]),
        raw("xz", U8, &[], &[128]),
        raw("w", I8, &[1, 2], &[2, 4]),
        floats("ws", &[], &[-0.5]),
        raw("b", I32, &[2], &integers),
        floats("bs", &[], &[-0.25]),
    ];
    let graph = imported((F32, &[1, 1]), nodes, initializers);
    let x = Tensor::f32(&[1, 1], &[3.0]);
    let expected = [536_870_912.0 - 3.0, -10.0 - 6.0];
    assert_eq!(output(&graph, &x), [expected[0], expected[1]]);
    assert_eq!(output(&lowered(&graph), &x), [expected[0], expected[1]]);
}

#[test]
fn integers_of_different_scales_are_joined_as_integers() {
    let nodes = vec![
        node("QuantizeLinear", "x s1 z1", "a"),
        node("QuantizeLinear", "x s2 z2", "b"),
        with(node("Concat", "a b c", "q"), "axis", Int(1)),
        node("DequantizeLinear", "q s3 z1", "y"),
    ];
    let initializers = vec![
        floats("s1", &[], &[0.5]),
        raw("z1", U8, &[], &[10]),
        floats("s2", &[], &[0.25]),
        raw("z2", U8, &[], &[0]),
        floats("s3", &[], &[2.0]),
        raw("c", U8, &[1, 1], &[11]),
    ];
    let graph = imported((F32, &[1, 2]), nodes, initializers);
    let x = Tensor::f32(&[1, 2], &[1.0, 3.0]);
    // The stored integers are 12, 16, 4, 12 and 11; each represents 2 * (q - 10).
    let expected = [4.0, 12.0, -12.0, 4.0, 2.0];
    assert_eq!(output(&graph, &x), expected);
    assert_eq!(output(&lowered(&graph), &x), expected);
}

#[test]
fn an_integer_constant_has_the_scale_of_what_it_is_joined_with() {
    let nodes = vec![
        node("QuantizeLinear", "x s z", "a"),
        with(node("Concat", "c a", "q"), "axis", Int(1)),
        node("DequantizeLinear", "q s z", "y"),
    ];
    let initializers = vec![floats("s", &[], &[0.5]), raw("z", U8, &[], &[10]), raw("c", U8, &[1, 1], &[11])];
    let graph = imported((F32, &[1, 2]), nodes, initializers);
    assert!(graph.nodes().any(|node| matches!(node.op, Op::DequantizeLinear(_))), "{graph}");
    let x = Tensor::f32(&[1, 2], &[1.0, 3.0]);
    assert_eq!(output(&graph, &x), [0.5, 1.0, 3.0]);
    assert_eq!(output(&lowered(&graph), &x), [0.5, 1.0, 3.0]);
}

//! Meaning of nodes: attributes are used or rejected, operands may be computed from constants, outputs may repeat.

use eightfold::onnx::{ErrorKind, ImportOptions, ImportRemark, Imported, OnnxError, from_bytes};
use eightfold_ir::{Shape, Tensor, eval};
use tract_onnx::pb::{ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::making::Value::{Int, Ints, Text};
use crate::making::{F32, I8, bytes, declared, fed_with, floats, ints, model, node, raw, with};

fn import(model: &ModelProto) -> Result<Imported, OnnxError> {
    from_bytes(&bytes(model), &ImportOptions::default())
}

/// The model's result for 0, 1, 2, … as input `x` of this shape.
fn outputs(shape: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Vec<Tensor> {
    let model = fed_with(model(nodes, initializers), vec![declared("x", F32, shape)]);
    let graph = import(&model).unwrap_or_else(|error| panic!("{error}")).graph;
    let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
    let numbers: Vec<f32> = (0..Shape::new(&shape).elements()).map(|n| n as f32).collect();
    eval(&graph, &[Tensor::f32(&shape, &numbers)]).expect("evaluates")
}

fn output(shape: &[i64], nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Vec<f32> {
    outputs(shape, nodes, initializers)[0].to_f32s().expect("floats")
}

#[test]
fn an_attribute_that_is_not_read_is_an_error_unless_it_says_what_its_absence_means() {
    let one = floats("s", &[4], &[1.0; 4]);
    let sizes = ints("sizes", &[1, 2, 8, 8]);
    let normalized = || node("LayerNormalization", "x s", "y");
    let resized = || node("Resize", "x _ _ sizes", "y");
    let pooled = || with(node("MaxPool", "x", "y"), "kernel_shape", Ints(&[2, 2]));
    let cases = [
        (
            with(node("Relu", "x", "y"), "alpha", Int(1)),
            Some("node \"relu\": attribute alpha is 1, which is not supported"),
        ),
        (
            with(node("Add", "x x", "y"), "broadcast", Int(1)),
            Some("node \"add\": attribute broadcast is 1, which is not"),
        ),
        (with(node("Transpose", "x", "y"), "axes", Ints(&[1])), Some("attribute axes is [1], which is not supported")),
        (
            with(node("Identity", "x", "y"), "mode", Text("slow")),
            Some("attribute mode is \"slow\", which is not supported"),
        ),
        (with(normalized(), "stash_type", Int(16)), Some("attribute stash_type is 16, expected 1")),
        (with(normalized(), "stash_type", Int(1)), None),
        (with(resized(), "exclude_outside", Int(1)), Some("attribute exclude_outside is 1, expected 0")),
        (with(resized(), "exclude_outside", Int(0)), None),
        (with(pooled(), "storage_order", Int(1)), None),
        // Attributes that have no effect because of others.
        (with(with(pooled(), "auto_pad", Text("SAME_UPPER")), "pads", Ints(&[0, 0, 1, 1])), None),
        (with(with(node("ReduceSum", "x sizes0", "y"), "noop_with_empty_axes", Int(1)), "keepdims", Int(0)), None),
    ];
    for (node, says) in cases {
        let case = format!("{node:?}");
        let axes = ints("sizes0", &[0]);
        match (import(&model(vec![node], vec![one.clone(), sizes.clone(), axes])), says) {
            (Ok(_), None) => {}
            (Err(error), Some(says)) => {
                assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains(says), "{case}: {error}");
            }
            (Ok(_), Some(_)) => panic!("{case} is imported"),
            (Err(error), None) => panic!("{case}: {error}"),
        }
    }
}

#[test]
fn space_to_depth_keeps_channels_apart_or_blocks_apart() {
    let squeezed = |mode| with(with(node("SpaceToDepth", "x", "y"), "blocksize", Int(2)), "mode", Text(mode));
    let of = |mode| output(&[1, 2, 2, 4], vec![squeezed(mode)], vec![]);
    let channels: [[f32; 2]; 8] =
        [[0.0, 2.0], [1.0, 3.0], [4.0, 6.0], [5.0, 7.0], [8.0, 10.0], [9.0, 11.0], [12.0, 14.0], [13.0, 15.0]];
    assert_eq!(of("CRD"), channels.concat());
    assert_eq!(of("DCR"), [0, 4, 1, 5, 2, 6, 3, 7].map(|at| channels[at]).concat());
}

#[test]
fn operands_that_are_dequantized_constants_are_constants() {
    let quantized = || {
        let bytes: Vec<u8> = [10_i8, 2, 6, 0].iter().map(|x| *x as u8).collect();
        vec![raw("q", I8, &[4], &bytes), floats("s", &[], &[0.5]), ints("pads", &[0, 0, 0, 1])]
    };
    let dequantized = node("DequantizeLinear", "q s", "d");
    let scalar = node("ReduceMax", "d", "v");
    let scalar = with(scalar, "keepdims", Int(0));
    let padded = output(&[1, 2], vec![dequantized.clone(), scalar, node("Pad", "x pads v", "y")], quantized());
    assert_eq!(padded, [0.0, 1.0, 5.0], "the border holds 10 * 0.5");
    let shape = with(node("Cast", "d", "shape"), "to", Int(7));
    let mut initializers = quantized();
    initializers[0] = raw("q", I8, &[2], &[6, 4]);
    let reshaped = &outputs(&[1, 6], vec![dequantized, shape, node("Reshape", "x shape", "y")], initializers)[0];
    assert_eq!(**reshaped.shape(), [3, 2]);
}

#[test]
fn an_output_that_is_listed_twice_is_shown_twice() {
    let mut made = model(vec![node("Relu", "x", "y")], vec![]);
    let graph = made.graph.as_mut().expect("a graph");
    graph.output.push(ValueInfoProto { name: "y".to_owned(), ..Default::default() });
    let imported = import(&made).expect("imports");
    let names: Vec<&str> = imported.graph.outputs().iter().map(|output| &*output.name).collect();
    assert_eq!(names, ["y", "y.1"]);
    assert_eq!(imported.graph.outputs()[0].value, imported.graph.outputs()[1].value);
    let remark = ImportRemark::RepeatedOutput { output: "y".to_owned(), copy: "y.1".to_owned() };
    assert_eq!(imported.remarks, [remark]);
    eightfold_ir::verify(&imported.graph).expect("verifies");
}

#[test]
fn sizes_that_keep_the_aspect_ratio_are_reached_by_one_ratio_for_all_axes() {
    let resized = |policy, mode| {
        let plain = with(node("Resize", "x _ _ sizes", "y"), "axes", Ints(&[2, 3]));
        let plain = with(with(plain, "mode", Text(mode)), "coordinate_transformation_mode", Text("asymmetric"));
        outputs(
            &[1, 1, 2, 3],
            vec![with(plain, "keep_aspect_ratio_policy", Text(policy))],
            vec![ints("sizes", &[4, 4])],
        )
    };
    // 2 x 3 by 4/3: each row of the result is 3/4 of an input row further.
    let smaller = &resized("not_larger", "linear")[0];
    assert_eq!(**smaller.shape(), [1, 1, 3, 4]);
    assert_eq!(smaller.to_f32s().expect("floats"), [0.0, 0.75, 1.5, 2.0, 2.25, 3.0, 3.75, 4.25, 3.0, 3.75, 4.5, 5.0]);
    let larger = &resized("not_smaller", "nearest")[0];
    assert_eq!(**larger.shape(), [1, 1, 4, 6]);
}

//! 4-bit integers: two to a byte in ONNX and in graphs, with the same results as in ONNX Runtime.

use std::fs;

use eightfold::onnx::{ImportOptions, export, from_bytes};
use eightfold_ir::{DType, Graph, Precision, Tensor, eval, verify};
use eightfold_passes::{INT8, PassOptions, Pipeline, WEIGHT_INT8};
use tract_onnx::pb::{ModelProto, TensorProto};

use crate::making::Value::Int;
use crate::making::{F32, bytes, declared, fed_with, floats, model, node, raw, with};
use crate::outside::onnxruntime;

/// ONNX's numbers of the element types.
const U4: i32 = 21;
const I4: i32 = 22;

/// An odd number of elements with the minimum and maximum of either type, in rows of three.
const PACKED: [u8; 8] = [0x78, 0x2f, 0x10, 0x83, 0xfe, 0x0a, 0x97, 0x06];
const SIGNED: [i64; 15] = [-8, 7, -1, 2, 0, 1, 3, -8, -2, -1, -6, 0, 7, -7, 6];

/// `y = x + dequantize(w)` with a scale and a zero point for each row of `w`, which has this type.
fn dequantizing(kind: i32, weights: TensorProto) -> ModelProto {
    let nodes = vec![with(node("DequantizeLinear", "w s z", "d"), "axis", Int(0)), node("Add", "x d", "y")];
    let scales = floats("s", &[5], &[0.5, 0.25, 2.0, 1.0, 0.125]);
    let zero_points = raw("z", kind, &[5], &[0x31, 0x02, 0x07]);
    let mut made = fed_with(model(nodes, vec![weights, scales, zero_points]), vec![declared("x", F32, &[5, 3])]);
    (made.ir_version, made.opset_import[0].version) = (10, 21);
    if let Some(graph) = &mut made.graph {
        graph.output = vec![declared("y", F32, &[5, 3])];
    }
    made
}

fn imported(model: &ModelProto) -> Graph {
    let graph = from_bytes(&bytes(model), &ImportOptions::default()).expect("the model imports").graph;
    verify(&graph).expect("the graph verifies");
    graph
}

#[test]
fn initializers_stay_two_to_a_byte_and_mean_what_onnx_runtime_says() {
    let x = Tensor::f32(&[5, 3], &(0..15).map(|n| n as f32 / 4.0).collect::<Vec<_>>());
    for (kind, dtype) in [(I4, DType::I4), (U4, DType::U4)] {
        let number = |x: &i64| if kind == U4 { x & 0xf } else { *x };
        let zero_points = [1, 3, 2, 0, 7];
        let scales = [0.5, 0.25, 2.0, 1.0, 0.125];
        let real = |(at, x): (usize, &i64)| (number(x) - zero_points[at / 3]) as f32 * scales[at / 3] + at as f32 / 4.0;
        let expected: Vec<f32> = SIGNED.iter().enumerate().map(real).collect();
        // As raw bytes, with garbage in the unused half byte, and as a list of integers.
        let mut behind = PACKED;
        behind[7] |= 0x50;
        let list = TensorProto {
            int32_data: PACKED.iter().map(|byte| i32::from(*byte)).collect(),
            ..raw("w", kind, &[5, 3], &[])
        };
        for weights in [raw("w", kind, &[5, 3], &PACKED), raw("w", kind, &[5, 3], &behind), list] {
            let model = dequantizing(kind, weights);
            let graph = imported(&model);
            let (_, w) = graph.values().find(|(_, value)| value.ty.dtype == dtype).expect("the weights");
            let eightfold_ir::Def::Const(w) = &w.def else { panic!("the weights are a constant") };
            assert_eq!((w.bytes(), w.to_ints()), (&PACKED[..], Some(SIGNED.iter().map(number).collect())));
            let mut lowered = graph.clone();
            let options = PassOptions { precision: Precision::Int8, ..PassOptions::default() };
            Pipeline::new(INT8).expect("passes").run(&mut lowered, &options, &mut |_, _| {}).expect("passes run");
            for graph in [&graph, &lowered] {
                let outputs = eval(graph, std::slice::from_ref(&x)).expect("the graph evaluates");
                assert_eq!(outputs[0].to_f32s(), Some(expected.clone()), "{graph}");
            }
            let folder = tempfile::tempdir().expect("a temporary folder");
            let path = folder.path().join("four_bits.onnx");
            for bytes in [bytes(&model), export(&graph).expect("the graph has a form in ONNX")] {
                fs::write(&path, bytes).expect("the model is written");
                let Some(theirs) = onnxruntime(&path, &[("x", &x)], &[]) else { return };
                assert_eq!(theirs["y"].to_f32s(), Some(expected.clone()));
            }
        }
    }
}

#[test]
fn products_of_floats_keep_weights_of_four_bits() {
    let nodes = vec![with(node("DequantizeLinear", "w s", "d"), "axis", Int(1)), node("MatMul", "x d", "y")];
    let weights = raw("w", I4, &[5, 3], &PACKED);
    let made = model(nodes, vec![weights, floats("s", &[3], &[0.5, 0.25, 2.0])]);
    let mut made = fed_with(made, vec![declared("x", F32, &[2, 5])]);
    (made.ir_version, made.opset_import[0].version) = (10, 21);
    if let Some(graph) = &mut made.graph {
        graph.output = vec![declared("y", F32, &[2, 3])];
    }
    let mut graph = imported(&made);
    let options = PassOptions { precision: Precision::WeightInt8, ..PassOptions::default() };
    Pipeline::new(WEIGHT_INT8).expect("passes").run(&mut graph, &options, &mut |_, _| {}).expect("passes run");
    let text = graph.to_string();
    assert!(text.contains("5x3xi4") && text.contains("in weight-int8") && !text.contains("dequantize"), "{text}");
    // Rows of the weights are -8 7 -1 / 2 0 1 / 3 -8 -2 / -1 -6 0 / 7 -7 6; the second input takes the last but one.
    let x = Tensor::f32(&[2, 5], &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    let expected = vec![-1.5, -0.25, -4.0, -1.0, -3.0, 0.0];
    let outputs = eval(&graph, &[x]).expect("the graph evaluates");
    assert_eq!(outputs[0].to_f32s(), Some(expected), "{graph}");
}

//! CumSum, against the examples of ONNX's documentation.

use eightfold::onnx::{ErrorKind, ImportOptions, from_bytes};
use eightfold_ir::Tensor;
use tract_onnx::pb::{NodeProto, TensorProto};

use crate::making::Value::Int;
use crate::making::{bytes, floats, ints, model, node, with};

fn cumsum(flags: &[&str]) -> NodeProto {
    flags.iter().fold(node("CumSum", "d axis", "y"), |node, flag| with(node, flag, Int(1)))
}

/// The output of the node on these constants, which the import computes.
#[track_caller]
fn yields(node: NodeProto, data: TensorProto, axis: i64, shape: &[usize], numbers: &[f32]) {
    let model = bytes(&model(vec![node], vec![data, ints("axis", &[axis])]));
    let graph = from_bytes(&model, &ImportOptions::default()).expect("the model imports").graph;
    let output = graph.constant(graph.outputs()[0].value).expect("the output is a constant");
    assert_eq!(*output, Tensor::f32(shape, numbers));
}

#[test]
fn one_axis() {
    let data = || floats("d", &[5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    yields(cumsum(&[]), data(), 0, &[5], &[1.0, 3.0, 6.0, 10.0, 15.0]);
    yields(cumsum(&["exclusive"]), data(), 0, &[5], &[0.0, 1.0, 3.0, 6.0, 10.0]);
    yields(cumsum(&["reverse"]), data(), 0, &[5], &[15.0, 14.0, 12.0, 9.0, 5.0]);
    yields(cumsum(&["exclusive", "reverse"]), data(), 0, &[5], &[14.0, 12.0, 9.0, 5.0, 0.0]);
}

#[test]
fn two_axes_of_which_one_counts_from_the_end() {
    let data = || floats("d", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    yields(cumsum(&[]), data(), 0, &[2, 3], &[1.0, 2.0, 3.0, 5.0, 7.0, 9.0]);
    yields(cumsum(&[]), data(), 1, &[2, 3], &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
    yields(cumsum(&[]), data(), -1, &[2, 3], &[1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
}

#[test]
fn an_axis_must_be_known_and_there() {
    let kind = |initializers| {
        let model = bytes(&model(vec![node("CumSum", "x axis", "y")], initializers));
        from_bytes(&model, &ImportOptions::default()).expect_err("cannot be imported").kind()
    };
    assert_eq!(kind(vec![ints("axis", &[4])]), ErrorKind::Broken);
    assert_eq!(kind(vec![ints("axis", &[0, 1])]), ErrorKind::Broken);
    let varies = bytes(&model(vec![node("CumSum", "x x", "y")], vec![]));
    let error = from_bytes(&varies, &ImportOptions::default()).expect_err("the axis is an input");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

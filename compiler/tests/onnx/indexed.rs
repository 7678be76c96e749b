//! GatherElements, GatherND, ScatterElements and ScatterND of constants, against the examples of ONNX's documentation.

use eightfold::onnx::{ErrorKind, ImportOptions, from_bytes};
use eightfold_ir::{Graph, Tensor};
use tract_onnx::pb::{NodeProto, TensorProto};

use crate::making::Value::{Int, Text};
use crate::making::{I64, Value, bytes, floats, ints, model, node, raw, with};

type Attributes<'a> = &'a [(&'a str, Value<'a>)];

fn indices(dims: &[i64], numbers: &[i64]) -> TensorProto {
    raw("i", I64, dims, &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

fn imported(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> Graph {
    from_bytes(&bytes(&model(nodes, initializers)), &ImportOptions::default()).expect("the model imports").graph
}

/// The output `y` of a model, computed by the import.
fn computed(graph: &Graph) -> &Tensor {
    graph.constant(graph.outputs()[0].value).expect("the output is a constant")
}

#[track_caller]
fn yields(op: &str, attributes: Attributes<'_>, initializers: Vec<TensorProto>, shape: &[usize], numbers: &[f32]) {
    let operands = if op.starts_with("Scatter") { "d i u" } else { "d i" };
    let node = attributes.iter().fold(node(op, operands, "y"), |node, (name, value)| match value {
        Int(x) => with(node, name, Int(*x)),
        Text(x) => with(node, name, Text(x)),
        _ => unreachable!("no other kind is below"),
    });
    assert_eq!(*computed(&imported(vec![node], initializers)), Tensor::f32(shape, numbers), "{op}");
}

#[test]
fn elements_are_gathered_along_an_axis() {
    let data = || floats("d", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
    yields(
        "GatherElements",
        &[("axis", Int(1))],
        vec![data(), indices(&[2, 2], &[0, 0, 1, 0])],
        &[2, 2],
        &[1.0, 1.0, 4.0, 3.0],
    );
    let taken = vec![floats("d", &[3, 3], rows.as_flattened()), indices(&[2, 3], &[-2, -1, 0, 2, 0, 0])];
    yields("GatherElements", &[], taken, &[2, 3], &[4.0, 8.0, 3.0, 7.0, 2.0, 3.0]);
}

#[test]
fn blocks_are_gathered_by_rows_of_indices() {
    let data = || floats("d", &[2, 2], &[0.0, 1.0, 2.0, 3.0]);
    yields("GatherND", &[], vec![data(), indices(&[2, 2], &[0, 0, 1, 1])], &[2], &[0.0, 3.0]);
    yields("GatherND", &[], vec![data(), indices(&[2, 1], &[1, 0])], &[2, 2], &[2.0, 3.0, 0.0, 1.0]);
    let cube = floats("d", &[2, 2, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    yields(
        "GatherND",
        &[("batch_dims", Int(1))],
        vec![cube, indices(&[2, 1], &[1, 0])],
        &[2, 2],
        &[2.0, 3.0, 4.0, 5.0],
    );
}

#[test]
fn elements_are_scattered_along_an_axis() {
    let operands = |i: &[i64]| {
        vec![floats("d", &[1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]), indices(&[1, 2], i), floats("u", &[1, 2], &[1.5, 2.5])]
    };
    yields("ScatterElements", &[("axis", Int(1))], operands(&[1, 3]), &[1, 5], &[1.0, 1.5, 3.0, 2.5, 5.0]);
    let add: Attributes<'_> = &[("axis", Int(1)), ("reduction", Text("add"))];
    yields("ScatterElements", add, operands(&[1, -4]), &[1, 5], &[1.0, 6.0, 3.0, 4.0, 5.0]);
}

#[test]
fn blocks_are_scattered_by_rows_of_indices() {
    let data = || floats("d", &[8], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let updates = || floats("u", &[4], &[9.0, 10.0, 11.0, 12.0]);
    let expected = [1.0, 11.0, 3.0, 10.0, 9.0, 6.0, 7.0, 12.0];
    yields("ScatterND", &[], vec![data(), indices(&[4, 1], &[4, 3, 1, 7]), updates()], &[8], &expected);
    let rows =
        vec![floats("d", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), indices(&[1, 1], &[1]), floats("u", &[1, 2], &[5.0, 0.0])];
    yields("ScatterND", &[("reduction", Text("max"))], rows, &[2, 2], &[1.0, 2.0, 5.0, 4.0]);
}

/// Window attention computes its masks like this: too many elements to be computed at import unless an operator needs
/// the values.
#[test]
fn large_operands_made_of_constants_are_computed() {
    let nodes = vec![node("ConstantOfShape", "s", "zeros"), node("ScatterND", "zeros i u", "y")];
    let graph = imported(nodes, vec![ints("s", &[60, 60]), indices(&[1, 2], &[59, 0]), floats("u", &[1], &[7.0])]);
    let numbers = computed(&graph).to_f32s().expect("floats");
    assert_eq!((numbers.len(), numbers[59 * 60], numbers.iter().sum::<f32>()), (3600, 7.0, 7.0));
}

#[test]
fn operands_that_do_not_fit_or_are_not_constant_are_named() {
    let fails = |nodes: Vec<NodeProto>, initializers: Vec<TensorProto>, kind: ErrorKind, message: &str| {
        let error = from_bytes(&bytes(&model(nodes, initializers)), &ImportOptions::default()).expect_err("it is bad");
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().ends_with(message), "{error}");
    };
    let gather = || vec![node("GatherElements", "x i", "y")];
    fails(gather(), vec![indices(&[1, 1, 1, 1], &[0])], ErrorKind::Unsupported, "operand data is not constant");
    let data = || floats("d", &[3], &[0.0; 3]);
    let gather = || vec![node("GatherElements", "d i", "y")];
    fails(gather(), vec![data(), indices(&[1], &[3])], ErrorKind::Broken, "index 3 on an axis of extent 3");
    let taken = vec![node("Gather", "d i", "y")];
    fails(taken, vec![data(), indices(&[1], &[-4])], ErrorKind::Broken, "index -4 on an axis of extent 3");
    fails(
        gather(),
        vec![data(), indices(&[1, 1], &[0])],
        ErrorKind::Broken,
        "indices of shape 1x1 do not fit data of shape 3",
    );
    let scatter = vec![node("ScatterND", "d i u", "y")];
    let operands = vec![data(), indices(&[2, 1], &[0, 1]), floats("u", &[3], &[0.0; 3])];
    let message = "indices of shape 2x1 and updates of shape 3 do not fit data of shape 3";
    fails(scatter, operands, ErrorKind::Broken, message);
}

//! Every acceptance model imports, with the shapes that it declares.

use std::fs;
use std::path::{Path, PathBuf};

use eightfold::Executable;
use eightfold::onnx::{self, ImportOptions, ImportRemark};
use eightfold_codegen::lower::lower;
use eightfold_codegen::target::Target;
use eightfold_ir::{DType, Tensor};

use crate::making::{F32, Value, bytes, declared, floats, ints, model, node, with};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_digits_model_imports_with_its_batch_taken_as_one() {
    let path = workspace().join("testdata/models/digits/digits.onnx");
    let imported = onnx::load(&path, &ImportOptions::default()).expect("digits.onnx imports");
    assert_eq!((imported.opset, imported.producer.as_str()), (Some(17), "train_digits.py"));
    let graph = &imported.graph;
    assert_eq!(*graph.ty(graph.inputs()[0]).shape, [1, 1, 8, 8]);
    assert_eq!(*graph.ty(graph.outputs()[0].value).shape, [1, 10]);
    assert_eq!(graph.nodes().filter(|n| n.op.name() == "conv").count(), 5);
    assert!(
        matches!(&imported.remarks[..], [ImportRemark::DefaultedDim { key, .. }] if key == "batch"),
        "{:?}",
        imported.remarks
    );

    let options = ImportOptions { dims: [("batch".to_owned(), 3)].into(), ..ImportOptions::default() };
    let three = onnx::load(&path, &options).expect("digits.onnx imports");
    assert_eq!(*three.graph.ty(three.graph.inputs()[0]).shape, [3, 1, 8, 8]);
    assert_eq!(three.remarks, []);
}

#[test]
fn sums_of_bf16_are_bf16_as_onnx_has_them() {
    let cast = |input: &str, output: &str| with(node("Cast", input, output), "to", Value::Int(16));
    let nodes = vec![cast("x", "xb"), cast("w", "wb"), cast("b", "bb"), node("Conv", "xb wb bb", "y")];
    let weights = floats("w", &[3, 2, 1, 1], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
    let model = model(nodes, vec![weights, floats("b", &[3], &[1.0, 2.0, 3.0])]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("bf16.onnx");
    fs::write(&path, bytes(&model)).expect("writes");
    let graph = onnx::load(&path, &ImportOptions::default()).expect("imports").graph;
    let text = eightfold_ir::print(&graph);
    assert!(text.contains("= conv(%xb, %0, %1) |> cast bf16 : 1x3x4x4xbf16"), "{text}");
    assert_eq!(graph.ty(graph.outputs()[0].value).dtype, DType::Bf16);
    let program = lower(eightfold_ir::verify(&graph).expect("verifies"), Target::find("x86-64-v3").expect("listed"))
        .expect("has kernels");
    assert!(program.to_string().contains("gemm {input=bf16, "), "{program}");
}

#[test]
fn tensors_without_elements_are_read_compiled_and_run() {
    let split = with(node("Split", "x parts", "y z"), "axis", Value::Int(0));
    let joined = with(node("Concat", "y z w", "j"), "axis", Value::Int(0));
    let (sum, keep) = (
        with(node("ReduceSum", "j", "s"), "keepdims", Value::Int(0)),
        with(node("Reshape", "x to", "k"), "allowzero", Value::Int(1)),
    );
    let constants = vec![ints("parts", &[0, 0]), ints("to", &[3, 0]), floats("w", &[1, 3], &[1.0, 2.0, 3.5])];
    let mut made = model(vec![split, joined, sum, keep], constants);
    let graph = made.graph.as_mut().expect("a graph");
    graph.input = vec![declared("x", F32, &[0, 3])];
    graph.output = ["s", "k", "y"]
        .map(|name| tract_onnx::pb::ValueInfoProto { name: name.to_owned(), ..Default::default() })
        .into();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("empty.onnx");
    fs::write(&path, bytes(&made)).expect("writes");
    let model = eightfold::load(&path, &ImportOptions::default()).expect("imports");
    assert!(model.remarks.is_empty(), "{:?}", model.remarks);
    let x = Tensor::f32(&[0, 3], &[]);
    let expected = eightfold_ir::eval(&model.graph, std::slice::from_ref(&x)).expect("evaluates");
    let got = Executable::compile(&model, &mut ()).expect("compiles").run(&[x]).expect("runs");
    for outputs in [expected, got] {
        assert_eq!(outputs, [Tensor::f32(&[], &[6.5]), Tensor::f32(&[3, 0], &[]), Tensor::f32(&[0, 3], &[])]);
    }
}

#[test]
fn an_extent_can_be_bound_to_zero() {
    let path = workspace().join("testdata/models/digits/digits.onnx");
    let options = ImportOptions { dims: [("batch".to_owned(), 0)].into(), ..ImportOptions::default() };
    let model = eightfold::load(&path, &options).expect("digits.onnx imports");
    assert_eq!(*model.graph.ty(model.graph.outputs()[0].value).shape, [0, 10]);
    let got = Executable::compile(&model, &mut ()).expect("compiles").run(&[Tensor::f32(&[0, 1, 8, 8], &[])]);
    assert_eq!(got.expect("runs"), [Tensor::f32(&[0, 10], &[])]);
}

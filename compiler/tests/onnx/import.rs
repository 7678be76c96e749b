//! Models are imported whole: every acceptance model, with the shapes it says it has.

use std::fs;
use std::path::{Path, PathBuf};

use eightfold::onnx::{self, ImportOptions, ImportRemark};
use eightfold_codegen::lower::lower;
use eightfold_codegen::target::Target;
use eightfold_ir::DType;

use crate::making::{Value, bytes, floats, model, node, with};

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
    let program = lower(&graph, Target::find("x86-64-v3").expect("listed")).expect("has kernels");
    assert!(program.to_string().contains("gemm_bf16_"), "{program}");
}

//! Models are imported whole: every acceptance model, with the shapes it says it has.

use std::path::{Path, PathBuf};

use eightfold::onnx::{self, ImportOptions, ImportRemark};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_digits_model_imports_with_its_batch_taken_as_one() {
    let path = workspace().join("testdata/models/digits/digits.onnx");
    let imported = onnx::load(&path, &ImportOptions::default()).expect("digits.onnx imports");
    assert_eq!((imported.opset, imported.producer.as_str()), (17, "train_digits.py"));
    let graph = &imported.graph;
    assert_eq!(*graph.ty(graph.inputs()[0]).shape, [1, 1, 8, 8]);
    assert_eq!(*graph.ty(graph.outputs()[0].value).shape, [1, 10]);
    assert_eq!(graph.nodes().filter(|n| n.op.name() == "conv").count(), 5);
    assert!(
        matches!(&imported.remarks[..], [ImportRemark::DefaultedDim { key, .. }] if key == "batch"),
        "{:?}",
        imported.remarks
    );

    let options = ImportOptions { dims: [("batch".to_owned(), 3)].into() };
    let three = onnx::load(&path, &options).expect("digits.onnx imports");
    assert_eq!(*three.graph.ty(three.graph.inputs()[0]).shape, [3, 1, 8, 8]);
    assert_eq!(three.remarks, []);
}

//! If, Loop and Scan: ONNX's own test cases, and models that ONNX Runtime runs. `regions.py` beside this file writes them.

use std::fs;
use std::process::Command;

use eightfold::dataset::read_npz;
use eightfold::onnx::{ErrorKind, load};
use eightfold::{Executable, ImportOptions};
use eightfold_ir::{Op, Tensor, eval};

use crate::making::Value::{Body, Int};
use crate::making::{I64, bytes, declared, fed_with, floats, ints, model, node, raw, with};
use crate::outside::{distance, python, workspace};

/// Test cases of ONNX that are not supported: with sequences or values that may be absent, which are no tensors, and with a
/// slice whose extent is known at run time only.
const NOT_SUPPORTED: &[&str] =
    &["test_if_opt", "test_if_seq", "test_loop11", "test_loop13_seq", "test_loop16_seq_none"];

/// Bounds for the loops whose trip count is known at run time only.
fn options() -> ImportOptions {
    let bounds = ["loop", "counted", "Loop_0"].map(|name| (name.to_owned(), 8));
    ImportOptions { max_trip: bounds.into(), ..ImportOptions::default() }
}

/// Whether the outputs agree. Stacked rows of turns that did not run are 0 here, and missing there.
fn agree(place: &str, ours: &Tensor, theirs: &Tensor) {
    let mut rows = ours.shape().to_vec();
    if let (Some(extent), Some(expected)) = (rows.first_mut(), theirs.shape().first()) {
        *extent = *expected;
    }
    let size = theirs.bytes().len();
    let (same, rest) = ours.bytes().split_at(size);
    let ours = Tensor::new(ours.dtype(), rows.into_iter().collect(), same).expect("rows of the result");
    let far = distance(&ours, theirs);
    assert!(far <= 1e-5, "{place} is {far:e} off");
    assert!(rest.iter().all(|byte| *byte == 0), "{place}: a row without a turn is not 0");
}

#[test]
fn models_with_subgraphs_agree_with_onnx_and_onnx_runtime() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = workspace().join("compiler/tests/onnx/regions.py");
    let models = folder.path().join("models");
    let ran = Command::new(python).arg(script).arg(&models).output().expect("Python runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut folders: Vec<_> = fs::read_dir(&models).expect("written").map(|entry| entry.expect("one").path()).collect();
    folders.sort();
    assert!(folders.len() >= 20, "{folders:?}");
    for folder in folders {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let path = folder.join("model.onnx");
        if NOT_SUPPORTED.contains(&&*name) {
            let error = load(&path, &options()).expect_err("it needs what is not supported");
            assert!(error.kind() == ErrorKind::Unsupported, "{name}: {error}");
            continue;
        }
        let model = eightfold::load(&path, &options()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let [mut inputs, outputs] =
            ["inputs", "outputs"].map(|of| read_npz(&folder.join(format!("{of}.npz"))).expect("numbers"));
        let data: Vec<Tensor> =
            model.inputs().iter().map(|input| inputs.remove(&input.name).expect("an input")).collect();
        let evaluated = eval(&model.graph, &data).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut executable = Executable::compile(&model, &mut ()).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let compiled = executable.run(&data).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (index, output) in model.graph.outputs().iter().enumerate() {
            let theirs = &outputs[&*output.name];
            agree(&format!("{name}, evaluated: {}", output.name), &evaluated[index], theirs);
            agree(&format!("{name}, compiled: {}", output.name), &compiled[index], theirs);
        }
    }
}

/// A subgraph that adds the state to itself, goes on while `goes`, and returns the state as a slice.
fn doubling(goes: &str) -> tract_onnx::pb::GraphProto {
    let made = model(vec![node("Add", "v v", "v2"), node("Identity", goes, "goes")], vec![]);
    let mut graph = fed_with(made, vec![declared("i", I64, &[]), declared("c", 9, &[]), declared("v", 1, &[2])]).graph;
    let graph_ref = graph.as_mut().expect("a graph");
    graph_ref.output = vec![declared("goes", 9, &[]), declared("v2", 1, &[2]), declared("v", 1, &[2])];
    graph.expect("a graph")
}

#[test]
fn a_loop_with_a_known_number_of_turns_is_a_scan() {
    let looped = with(node("Loop", "n _ x", "y rows"), "body", Body(doubling("c")));
    let made = fed_with(model(vec![looped], vec![ints("n", &[3])]), vec![declared("x", 1, &[2])]);
    let graph = eightfold::onnx::from_bytes(&bytes(&made), &ImportOptions::default()).expect("imports").graph;
    assert!(graph.nodes().any(|node| matches!(&node.op, Op::Scan(scan) if scan.count == 3)), "{graph}");
    let outputs = eval(&graph, &[Tensor::f32(&[2], &[1.0, 2.0])]).expect("evaluates");
    assert_eq!(outputs, [Tensor::f32(&[2], &[8.0, 16.0])]);
}

#[test]
fn a_loop_without_a_bound_names_the_option_that_gives_one() {
    let looped = || with(node("Loop", "n _ x", "y rows"), "body", Body(doubling("c")));
    let inputs = || vec![declared("n", I64, &[]), declared("x", 1, &[2])];
    let made = bytes(&fed_with(model(vec![looped()], vec![]), inputs()));
    let error = eightfold::onnx::from_bytes(&made, &ImportOptions::default()).expect_err("has no bound");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("--max-trip loop=N"), "{error}");
    let imported = eightfold::onnx::from_bytes(&made, &options()).expect("has a bound");
    assert!(imported.remarks[0].to_string().contains("have 8 rows"), "{:?}", imported.remarks);
    let data = [Tensor::int(eightfold_ir::DType::I64, &[], &[2]), Tensor::f32(&[2], &[1.0, 2.0])];
    assert_eq!(eval(&imported.graph, &data).expect("evaluates"), [Tensor::f32(&[2], &[4.0, 8.0])]);
}

#[test]
fn subgraphs_that_do_not_fit_are_refused() {
    let refused = |made: &tract_onnx::pb::ModelProto| {
        let error = eightfold::onnx::from_bytes(&bytes(made), &ImportOptions::default()).expect_err("does not fit");
        (error.kind(), error.to_string())
    };
    let branch = |name: &str, dims: &[i64]| {
        let numbers = vec![0.0; dims.iter().product::<i64>() as usize];
        let mut graph = model(vec![], vec![floats(name, dims, &numbers)]).graph.expect("a graph");
        (graph.input, graph.output) = (vec![], vec![declared(name, 1, dims)]);
        graph
    };
    let choice = with(node("If", "on", "y"), "then_branch", Body(branch("a", &[2])));
    let choice = with(choice, "else_branch", Body(branch("b", &[3])));
    let (kind, text) = refused(&fed_with(model(vec![choice], vec![]), vec![declared("on", 9, &[])]));
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("`otherwise` of if: output 0 must be 2xf32, as `then` has it, got 3xf32"), "{text}");

    let scan = with(node("Scan", "x", "y"), "body", Body(doubling("c")));
    let scan = with(scan, "num_scan_inputs", Int(1));
    let (kind, text) = refused(&model(vec![scan], vec![]));
    assert_eq!(kind, ErrorKind::Broken);
    assert!(text.contains("its subgraph must have 1 inputs, got 3"), "{text}");
    // A condition that is not one truth value.
    let two = with(node("If", "on", "y"), "then_branch", Body(branch("a", &[2])));
    let (kind, _) = refused(&model(vec![two], vec![raw("on", 9, &[2], &[0, 1])]));
    assert_eq!(kind, ErrorKind::Broken);
}

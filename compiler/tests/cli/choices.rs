//! The user's options for single nodes and inputs: nodes that stay in float, inputs that become constants.

use std::fs;

use eightfold::dataset::{read_npz, write_npy};
use eightfold_ir::Tensor;

use crate::protobuf::{model, node};
use crate::sandbox::Sandbox;

const CALIBRATION: &str = "--target x86-64-v3 --calibration-data digits_calibration.npz --calibration-samples 0..16";

#[test]
fn nodes_that_are_kept_in_float_are_reported_and_recorded() {
    let sandbox = Sandbox::new();
    let compile = |keep: &str| sandbox.json(&format!("compile digits.onnx {CALIBRATION} {keep} -o out.so"));
    let all = compile("");
    assert_eq!(all["int8_mac_share"], 1.0);
    let report = compile("--keep-float head/linear --keep-float stem/*");
    let share = report["int8_mac_share"].as_f64().expect("a number");
    assert!(share > 0.5 && share < 1.0, "{share}");
    let details = report["float_node_details"].as_array().expect("an array");
    let reasons: Vec<&str> = details.iter().map(|node| node["reason"].as_str().expect("text")).collect();
    assert_eq!(reasons, ["kept in float by --keep-float"; 2], "{report}");

    let provenance = &sandbox.json("inspect out.so")["provenance"];
    let kept = provenance["options"]["keep_float"].as_str().expect("the artifact knows");
    assert!(kept.starts_with("[\"head/linear\",\"stem/"), "{kept}");
    // The artifact is compiled again from its provenance.
    let compared = sandbox.json("compare digits.onnx out.so --data digits_test.npz --samples 0..4 --layers");
    let layers = compared["layers"].as_array().expect("an array");
    let logits = layers.iter().find(|layer| layer["node"] == "head/linear").expect("the last layer");
    assert_eq!(logits["dtype"], "f32");
}

#[test]
fn calibrate_and_quantize_leave_out_what_is_kept_in_float() {
    let sandbox = Sandbox::new();
    let count = |keep: &str| {
        let data = "--data digits_calibration.npz --samples 0..16";
        let table = sandbox.json(&format!("calibrate digits.onnx {data} {keep} -o table"));
        let quantize = format!("quantize digits.onnx --calibration-table table {keep} -o q.onnx");
        (table["tensors"].as_u64(), sandbox.json(&quantize)["quantized_tensors"].as_u64())
    };
    let (all, kept) = (count(""), count("--keep-float head/*"));
    assert!(kept.0 < all.0 && kept.1 < all.1, "{kept:?} of {all:?}");
    let nothing = "calibrate digits.onnx --data digits_calibration.npz --keep-float * -o table";
    let error = "nothing to calibrate: int8 would quantize no further tensor of the model";
    sandbox.fails(nothing, 2, error);
}

#[test]
fn what_is_decided_at_import_is_refused_where_nothing_is_imported() {
    let sandbox = Sandbox::new();
    sandbox.stdout("compile digits.onnx --target x86-64-v3 -o digits.so");
    sandbox.stdout("opt digits.onnx -o digits.ir --full");
    for option in ["--dim", "--constant"] {
        let error = format!("{option} is for models that are compiled first, digits.so is compiled already");
        sandbox.fails(&format!("run digits.so {option} image=3"), 2, &error);
    }
    sandbox.fails("run digits.ir --dim n=3", 2, "--dim n: only ONNX models leave dimensions open");
}

#[test]
fn keeping_nodes_in_float_where_all_are_is_said_to_change_nothing() {
    let sandbox = Sandbox::new();
    let note = "--keep-float changes nothing: in f32 every node is in float\n";
    for precision in ["f32", "auto"] {
        let ended = sandbox.run(&format!("compile digits.onnx --precision {precision} --keep-float head/* -o out.o"));
        assert_eq!((ended.code, ended.stderr.contains(note)), (Some(0), true), "{ended:?}");
    }
    let ended = sandbox.run(&format!("compile digits.onnx {CALIBRATION} --keep-float head/* -o out.o"));
    assert_eq!((ended.code, ended.stderr.contains("changes nothing")), (Some(0), false), "{ended:?}");
    let quantize = "quantize digits.onnx --calibration-data digits_calibration.npz --calibration-samples 0..16";
    sandbox.stdout(&format!("{quantize} -o quantized.onnx"));
    let ended = sandbox.run("compile quantized.onnx --target x86-64-v3 --keep-float *linear* -o out.o");
    let note = "--keep-float changes nothing: the model itself determines what is quantized\n";
    assert_eq!((ended.code, ended.stderr.contains(note)), (Some(0), true), "{ended:?}");
}

#[test]
fn a_node_that_does_not_exist_is_an_error_with_suggestions() {
    let sandbox = Sandbox::new();
    let arguments = format!("compile digits.onnx {CALIBRATION} --keep-float head/linaer -o out.so");
    let ended = sandbox.run(&arguments);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let expected = "error: the model has no node or tensor \"head/linaer\"; the most similar names are \"head/linear\"";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert_eq!(sandbox.new_files(), [""; 0]);
}

#[test]
fn an_input_that_is_made_constant_is_no_input_any_more() {
    let sandbox = Sandbox::new();
    // y = x + x with a constant x: without inputs, everything is computed at compile time.
    sandbox.write("sum.onnx", &model(&[node("Add", "sum", &["x", "x"], "y")]));
    sandbox.stdout("compile sum.onnx --target x86-64-v3 --constant x=1.5 -o sum.so");
    let described = sandbox.json("inspect sum.so");
    assert_eq!(described["variants"][0]["inputs"].as_array().map(Vec::len), Some(0));
    assert_eq!(described["provenance"]["options"]["constant.x"], "1.5");
    sandbox.stdout("run sum.so -o y.npz");
    let outputs = read_npz(&sandbox.path("y.npz")).expect("outputs");
    assert_eq!(outputs["y"], Tensor::f32(&[2], &[3.0, 3.0]));

    write_npy(&sandbox.path("x.npy"), &Tensor::f32(&[2], &[1.0, -4.0])).expect("an array is written");
    sandbox.stdout("run sum.onnx --constant x=x.npy -o y.npz");
    let outputs = read_npz(&sandbox.path("y.npz")).expect("outputs");
    assert_eq!(outputs["y"], Tensor::f32(&[2], &[2.0, -8.0]));
}

#[test]
fn constants_that_do_not_fit_are_errors() {
    let sandbox = Sandbox::new();
    sandbox.write("sum.onnx", &model(&[node("Add", "sum", &["x", "x"], "y")]));
    write_npy(&sandbox.path("x.npy"), &Tensor::f32(&[3], &[0.0; 3])).expect("an array is written");
    let fails = |constant: &str, cause: &str| {
        let error = format!("cannot import sum.onnx\n  caused by: {cause}");
        sandbox.fails(&format!("compile sum.onnx --target x86-64-v3 {constant} -o sum.so"), 2, &error);
    };
    fails("--constant sr=1", "the model has no input \"sr\"; it has: x");
    fails("--constant x=fast", "the constant for input \"x\" must be 2xf32, got \"fast\"");
    fails("--constant x=x.npy", "the constant for input \"x\" must be 2xf32, got 3xf32");
    let twice = "compile sum.onnx --target x86-64-v3 --constant x=1 --constant x=2 -o sum.so";
    sandbox.fails(twice, 2, "--constant x is given twice");
    let graph = "graph @g {\n  input %x: 2xf32\n  output %x\n}\n";
    fs::write(sandbox.path("g.ir"), graph).expect("a graph is written");
    let error = "--constant x: only inputs of ONNX models can be made constants";
    sandbox.fails("compile g.ir --target x86-64-v3 --constant x=1 -o g.so", 2, error);
}

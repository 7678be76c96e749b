//! Models that cannot be compiled, each with the error that says why.

use std::fs;

use crate::protobuf::{external, model, node};
use crate::sandbox::Sandbox;

/// Compiles what is in `bytes`, which must fail so.
#[track_caller]
fn compile_fails(bytes: &[u8], code: i32, cause: &str) {
    let sandbox = Sandbox::new();
    sandbox.write("bad.onnx", bytes);
    let error = format!("cannot import bad.onnx\n  caused by: {cause}");
    sandbox.fails("compile bad.onnx -o out.so --target x86-64-v3", code, &error);
    assert_eq!(sandbox.new_files(), ["bad.onnx"]);
}

#[test]
fn a_truncated_file() {
    let bytes = fs::read(crate::sandbox::digits().join("digits.onnx")).unwrap();
    compile_fails(&bytes[..5000], 4, "the model is truncated: it ends after 5000 bytes, in the middle of a field");
}

#[test]
fn an_empty_file() {
    compile_fails(b"", 4, "the model is empty: 0 bytes");
}

#[test]
fn a_file_that_is_no_model() {
    let cause = "not an ONNX model: field 13 of wire type 0 in the outermost message";
    compile_fails(b"hello world\n", 4, cause);
}

#[test]
fn a_cyclic_graph() {
    let cyclic = model(&[node("Add", "first", &["x", "y"], "a"), node("Relu", "second", &["a"], "y")]);
    compile_fails(&cyclic, 4, "the graph is cyclic: second -> first -> second");
}

#[test]
fn a_name_that_nothing_defines() {
    let undefined = model(&[node("Add", "sum", &["x", "z"], "y")]);
    compile_fails(&undefined, 4, "node \"sum\" reads \"z\", which nothing defines");
}

#[test]
fn unsupported_operators_are_all_named() {
    let nodes = [node("Det", "first", &["x"], "a"), node("NonZero", "second", &["a"], "y")];
    let cause = "unsupported operators: Det (opset 17) at node \"first\"; NonZero (opset 17) at node \"second\"";
    let sandbox = Sandbox::new();
    sandbox.write("bad.onnx", &model(&nodes));
    let error =
        format!("cannot import bad.onnx\n  caused by: {cause}\n  hint: eightfold list ops shows what is supported");
    sandbox.fails("compile bad.onnx -o out.so --target x86-64-v3", 3, &error);
}

#[test]
fn external_data_that_is_missing() {
    let bytes = model(&[node("Add", "sum", &["x", "w"], "y"), external("weights.bin")]);
    let cause = "external data of tensor \"w\" at \"weights.bin\": No such file or directory (os error 2)";
    compile_fails(&bytes, 4, cause);
}

#[test]
fn external_data_outside_the_folder_of_the_model() {
    for location in ["../weights.bin", "/etc/passwd", "a/../../weights.bin"] {
        let bytes = model(&[node("Add", "sum", &["x", "w"], "y"), external(location)]);
        let cause = format!("external data of tensor \"w\" at {location:?}: the path leaves the model's folder");
        compile_fails(&bytes, 4, &cause);
    }
}

#[cfg(unix)]
#[test]
fn external_data_behind_a_link_that_leaves_the_folder() {
    let sandbox = Sandbox::new();
    let outside = Sandbox::new();
    outside.write("weights.bin", &[0; 8]);
    fs::create_dir(sandbox.path("model")).unwrap();
    std::os::unix::fs::symlink(outside.path("weights.bin"), sandbox.path("model/weights.bin")).unwrap();
    let bytes = model(&[node("Add", "sum", &["x", "w"], "y"), external("weights.bin")]);
    sandbox.write("model/bad.onnx", &bytes);
    let error = "cannot import model/bad.onnx
  caused by: external data of tensor \"w\" at \"weights.bin\": the path leaves the model's folder";
    sandbox.fails("inspect model/bad.onnx", 4, error);
}

#[test]
fn a_model_that_is_not_there() {
    let sandbox = Sandbox::new();
    let error = "cannot read absent.onnx\n  caused by: No such file or directory (os error 2)";
    sandbox.fails("compile absent.onnx -o out.so --target x86-64-v3", 2, error);
    sandbox.fails("inspect absent.onnx", 2, error);
}

#[test]
fn a_dimension_that_the_model_does_not_have() {
    let sandbox = Sandbox::new();
    let error = "cannot import digits.onnx
  caused by: the model has no open dimension \"width\"; it has: batch, image.0";
    sandbox.fails("inspect digits.onnx --dim width=3", 2, error);
}

#[test]
fn graph_text_that_does_not_parse_or_verify() {
    let sandbox = Sandbox::new();
    sandbox.write("bad.ir", b"graph @g {\n  input %x: 2xf32\n  %y = frobnicate(%x) : 2xf32\n  output %y\n}\n");
    let ended = sandbox.run("opt --passes fuse bad.ir");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(4), ""), "{ended:?}");
    assert!(ended.stderr.starts_with("error: cannot parse bad.ir\n  caused by: line 3, column 8: "), "{ended:?}");
}

#[test]
fn libraries_that_are_not_ours() {
    let sandbox = Sandbox::new();
    sandbox.write("text.so", b"hello world, this is not a library at all");
    let error = "text.so is no shared library\n  hint: expected a library that eightfold compile has written";
    for verb in ["inspect", "run", "bench", "eval --data digits_test.npz"] {
        sandbox.fails(&format!("{verb} text.so"), 4, error);
    }
    let libc = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"];
    let Some(libc) = libc.into_iter().find(|path| fs::exists(path).unwrap_or(false)) else {
        eprintln!("SKIPPED: no C library where it is usually found");
        return;
    };
    fs::copy(libc, sandbox.path("libm.so")).unwrap();
    sandbox.fails("bench libm.so", 4, "libm.so is a shared library, but no compiled eightfold model");
}

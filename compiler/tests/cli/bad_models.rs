//! Models that cannot be compiled, and their errors.

use std::fs;

use crate::protobuf::{external, field, model, node, number};
use crate::sandbox::Sandbox;

/// Compiles `bytes`, which must fail with this error.
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
    let hint = "\n  hint: a model is an .onnx file, or a graph in text form whose name ends in .ir";
    for (bytes, kind) in [
        (&b"hello world\n"[..], "text"),
        (b"\x7fELF\x02\x01\x01\0", "a compiled library or object file (ELF)"),
        (b"PK\x03\x04\0\0", "a zip archive, as .npz files and PyTorch checkpoints are"),
        (b"graph @g {\n}\n", "a graph in text form, whose name must end in .ir"),
    ] {
        compile_fails(bytes, 4, &format!("not an ONNX model: it is {kind}{hint}"));
    }
}

#[test]
fn a_model_without_outputs() {
    let port = field(2, field(1, [number(1, 1), field(2, field(1, number(1, 2)))].concat()));
    let graph = [node("Relu", "relu", &["x"], "y"), field(2, "g"), field(11, [field(1, "x"), port].concat())].concat();
    let model = [number(1, 8), field(7, graph), field(8, number(2, 17))].concat();
    compile_fails(&model, 4, "the model has no outputs, expected at least one");
    let sandbox = Sandbox::new();
    sandbox.write("bad.ir", b"graph @g {\n  input %x: 2xf32\n}\n");
    assert_eq!(sandbox.run("compile bad.ir -o out.so").code, Some(4));
}

/// An input or constant of an unsupported type is reported with ONNX's name of the type.
#[test]
fn element_types_are_named() {
    let cast = |to: u64| {
        let attribute = field(5, [field(1, "to"), number(3, to), [0xa0, 1, 2].to_vec()].concat());
        let node = field(1, [field(1, "x"), field(2, "y"), field(3, "cast"), field(4, "Cast"), attribute].concat());
        model(&[node])
    };
    for (to, name) in [(17, "float8e4m3fn"), (24, "float8e8m0"), (8, "string")] {
        let cause = format!("unsupported operators: Cast (opset 17) at node \"cast\": a cast to {name}");
        unsupported(&cast(to), &cause);
    }
    let cause = "unsupported operators: Cast (opset 17) at node \"cast\": a cast to element type 99, which ONNX does not define";
    unsupported(&cast(99), cause);
}

#[test]
fn a_model_of_other_operator_sets_alone_names_what_it_wants() {
    let node = |op: &str, domain: &str| {
        let parts = [field(1, "x"), field(2, "y"), field(3, "only"), field(4, op), field(7, domain)];
        field(1, parts.concat())
    };
    let with = |node: Vec<u8>, domain: &str| {
        let bytes = model(&[node]);
        let imports = [field(1, domain), number(2, 3)].concat();
        [&bytes[..bytes.len() - 4], &field(8, imports)].concat()
    };
    let cause = "unsupported operators: ai.onnx.ml::TreeEnsembleRegressor (opset 3) at node \"only\"";
    unsupported(&with(node("TreeEnsembleRegressor", "ai.onnx.ml"), "ai.onnx.ml"), cause);
    let cause = "opset_import names no version of the default operator set, and node \"only\" (Relu) is of that set";
    compile_fails(&with(node("Relu", ""), "ai.onnx.ml"), 4, cause);
}

/// An error as long as the model is useless: nodes are grouped by operator, and all listed only on request.
#[test]
fn many_unsupported_nodes_are_grouped_by_operator() {
    let nodes: Vec<Vec<u8>> = (0..40)
        .map(|i| {
            let (reads, makes) = (if i == 0 { "x".to_owned() } else { format!("t{}", i - 1) }, format!("t{i}"));
            let op = if i % 2 == 0 { "Det" } else { "NonZero" };
            node(op, &format!("n{i}"), &[&reads], if i == 39 { "y" } else { &makes })
        })
        .collect();
    let sandbox = Sandbox::new();
    sandbox.write("bad.onnx", &model(&nodes));
    let groups = "cannot import bad.onnx
  caused by: unsupported operators:
      Det (opset 17) at 20 nodes (\"n0\", \"n2\", \"n4\" and 17 more)
      NonZero (opset 17) at 20 nodes (\"n1\", \"n3\", \"n5\" and 17 more)
  ";
    let hint = "\n  hint: eightfold list ops shows what is supported";
    sandbox.fails("inspect bad.onnx", 3, &format!("{groups}--verbose lists all 40 nodes{hint}"));
    let ended = sandbox.run("inspect bad.onnx --verbose");
    assert!(ended.stderr.contains("\n  NonZero (opset 17) at node \"n39\"\n"), "{}", ended.stderr);
}

/// Compiles `bytes`, which must fail as unsupported.
#[track_caller]
fn unsupported(bytes: &[u8], cause: &str) {
    compile_fails(bytes, 3, &format!("{cause}\n  hint: eightfold list ops shows what is supported"));
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
    let cause = "unsupported operators:
      Det (opset 17) at node \"first\"
      NonZero (opset 17) at node \"second\"";
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

/// A download cache stores the files of a model elsewhere, and links to them from a folder with their names.
#[cfg(unix)]
#[test]
fn links_to_the_files_of_one_model_are_followed() {
    use std::os::unix::fs::symlink;
    let sandbox = Sandbox::new();
    let bytes = model(&[node("Add", "sum", &["x", "w"], "y"), external("weights.bin")]);
    for folder in ["blobs", "snapshots", "snapshots/1", "elsewhere"] {
        fs::create_dir(sandbox.path(folder)).unwrap();
    }
    sandbox.write("blobs/1a", &bytes);
    sandbox.write("blobs/2b", &[0; 8]);
    sandbox.write("elsewhere/secret", &[0; 8]);
    symlink("../../blobs/1a", sandbox.path("snapshots/1/model.onnx")).unwrap();
    symlink("../../blobs/2b", sandbox.path("snapshots/1/weights.bin")).unwrap();
    assert_eq!(sandbox.json("inspect snapshots/1/model.onnx")["parameters"], 2);
    let error = "cannot write snapshots/1/weights.bin
  caused by: it is the same file as the input ";
    let ended = sandbox.run("compile snapshots/1/model.onnx --emit header -o snapshots/1/weights.bin");
    assert!(ended.code == Some(2) && ended.stderr.contains(error), "{ended:?}");

    // A link out of the model's folder is not followed.
    fs::remove_file(sandbox.path("snapshots/1/weights.bin")).unwrap();
    symlink("../../elsewhere/secret", sandbox.path("snapshots/1/weights.bin")).unwrap();
    let error = "cannot import snapshots/1/model.onnx
  caused by: external data of tensor \"w\" at \"weights.bin\": the path leaves the model's folder";
    sandbox.fails("inspect snapshots/1/model.onnx", 4, error);
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

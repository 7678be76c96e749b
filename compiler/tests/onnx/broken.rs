//! Models that violate ONNX or are inconsistent, and models made to exhaust memory or time.

use std::time::{Duration, Instant};

use ErrorKind::{Broken, Unsupported, Usage};
use eightfold::onnx::{self, ErrorKind, ImportOptions};
use eightfold_ir::Graph;
use eightfold_passes::{PassOptions, Pipeline, SIMPLIFY};
use tract_onnx::pb::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto};

use crate::making::{F32, I8, I64, U8, Value, bytes, declared, fed_with, floats, ints, model, node, raw, with};
use crate::outside::digits;

/// Describes how the import of these bytes deviates from the expected failure: this kind, with a message that contains
/// this text.
fn misjudged(case: &str, bytes: &[u8], kind: ErrorKind, says: &str) -> Option<String> {
    match onnx::from_bytes(bytes, &ImportOptions::default()) {
        Ok(imported) => Some(format!("{case}: imported {} nodes", imported.graph.node_count())),
        Err(error) if error.kind() == kind && error.to_string().contains(says) => None,
        Err(error) => Some(format!("{case}: {:?}: {error}\n    expected {kind:?}: {says}", error.kind())),
    }
}

/// Checks that each of these models is rejected with this kind of error and a message that contains this text.
fn refused<'a>(cases: impl IntoIterator<Item = (&'a str, ModelProto, ErrorKind, &'a str)>) {
    let judge = |(case, made, kind, says): (&str, ModelProto, _, &str)| misjudged(case, &bytes(&made), kind, says);
    let wrong: Vec<String> = cases.into_iter().filter_map(judge).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bytes_that_are_no_model_are_told_apart() {
    let digits = std::fs::read(digits()).expect("the digits model is there");
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
    let cases: [(&str, &[u8], &str); 7] = [
        ("nothing", b"", "the model is empty: 0 bytes"),
        ("half a model", &digits[..digits.len() / 2], "the model is truncated: it ends after"),
        ("all but a byte", &digits[..digits.len() - 1], "the model is truncated: it ends after"),
        ("an image", png, "not an ONNX model"),
        ("a zip", b"PK\x03\x04\x14\0\0\0\x08\0", "not an ONNX model"),
        ("text", b"{\"nodes\": []}", "not an ONNX model"),
        ("zeros", &[0; 64], "not an ONNX model"),
    ];
    for (case, bytes, says) in cases {
        assert_eq!(misjudged(case, bytes, Broken, says), None);
    }
    let missing = onnx::load("no/such/model.onnx".as_ref(), &ImportOptions::default()).expect_err("no file");
    assert_eq!((missing.kind(), missing.to_string().as_str()), (Usage, "cannot read no/such/model.onnx"));
    let folder = onnx::load(std::env::temp_dir().as_ref(), &ImportOptions::default()).expect_err("a folder");
    assert_eq!(folder.kind(), Usage);
}

/// A model of one node on `x`.
fn one(
    op_type: &str,
    inputs: &str,
    attributes: Vec<(&str, Value<'_>)>,
    initializers: Vec<tract_onnx::pb::TensorProto>,
) -> ModelProto {
    let node = attributes.into_iter().fold(node(op_type, inputs, "y"), |n, (name, value)| with(n, name, value));
    model(vec![node], initializers)
}

fn relu(input: &str, output: &str) -> NodeProto {
    node("Relu", input, output)
}

fn changed(change: impl FnOnce(&mut ModelProto)) -> ModelProto {
    let mut made = model(vec![relu("x", "y")], vec![]);
    change(&mut made);
    made
}

fn in_graph(change: impl FnOnce(&mut GraphProto)) -> ModelProto {
    changed(|m| change(m.graph.as_mut().expect("made with a graph")))
}

fn opset(version: i64) -> ModelProto {
    changed(|m| m.opset_import = vec![OperatorSetIdProto { domain: String::new(), version }])
}

#[test]
fn structures_that_contradict_themselves_are_refused() {
    let cyclic = vec![node("Add", "x c", "a"), relu("a", "b"), relu("b", "c"), relu("c", "y")];
    let twice = vec![floats("w", &[1], &[1.0]), floats("w", &[1], &[2.0])];
    let cases = [
        ("a cycle", model(cyclic, vec![]), Broken, "the graph is cyclic: "),
        (
            "a node that reads itself",
            model(vec![node("Add", "x y", "y")], vec![]),
            Broken,
            "the graph is cyclic: add -> add",
        ),
        (
            "nobody's name",
            model(vec![node("Add", "x z", "y")], vec![]),
            Broken,
            "node \"add\" reads \"z\", which nothing defines",
        ),
        (
            "nobody's output",
            model(vec![relu("x", "z")], vec![]),
            Broken,
            "the list of outputs reads \"y\", which nothing defines",
        ),
        (
            "two nodes of one result",
            model(vec![relu("x", "y"), relu("x", "y")], vec![]),
            Broken,
            "\"y\" is defined more than once",
        ),
        (
            "a result named like an input",
            model(vec![relu("x", "x"), relu("x", "y")], vec![]),
            Broken,
            "\"x\" is defined more than once",
        ),
        (
            "two initializers of one name",
            model(vec![node("Add", "x w", "y")], twice),
            Broken,
            "\"w\" is defined more than once",
        ),
        (
            "two inputs of one name",
            in_graph(|g| g.input.push(declared("x", F32, &[1]))),
            Broken,
            "\"x\" is defined more than once",
        ),
        ("no outputs", in_graph(|g| g.output.clear()), Broken, "the model has no outputs, expected at least one"),
        ("no graph", changed(|m| m.graph = None), Broken, "it has no graph"),
        (
            "no opset",
            changed(|m| m.opset_import.clear()),
            Broken,
            "names no version of the default operator set, and node \"relu\"",
        ),
        ("no version of the format", changed(|m| m.ir_version = 0), Broken, "ir_version is 0, expected 3 or newer"),
        ("an old opset", opset(6), Unsupported, "opset is 6, supported are 7 to 28"),
        ("a new opset", opset(1 << 40), Unsupported, "opset is 1099511627776, supported are 7 to 28"),
        ("a negative opset", opset(-1), Unsupported, "opset is -1, supported are 7 to 28"),
        ("no input type", in_graph(|g| g.input[0].r#type = None), Unsupported, "\"x\" is without a type"),
        ("strings", in_graph(|g| g.input = vec![declared("x", 8, &[1])]), Unsupported, "\"x\" is string"),
        (
            "an element type that is not",
            in_graph(|g| g.input = vec![declared("x", 99, &[1])]),
            Unsupported,
            "\"x\" is element type 99",
        ),
        (
            "an operator that is not",
            one("Frobnicate", "x", vec![], vec![]),
            Unsupported,
            "Frobnicate (opset 17) at node \"frobnicate\"",
        ),
        (
            "a domain that is not",
            in_graph(|g| g.node[0].domain = "com.example".into()),
            Unsupported,
            "com.example::Relu",
        ),
    ];
    refused(cases);
}

#[test]
fn every_unsupported_operator_is_named_at_once() {
    let nodes = vec![node("Foo", "x", "a"), relu("a", "b"), node("Bar", "b", "c"), node("Add", "c x", "y")];
    let error =
        onnx::from_bytes(&bytes(&model(nodes, vec![])), &ImportOptions::default()).expect_err("no such operators");
    assert_eq!(
        error.to_string(),
        "unsupported operators:\n  Foo (opset 17) at node \"foo\"\n  Bar (opset 17) at node \"bar\""
    );
}

#[test]
fn tensors_that_contradict_themselves_are_refused() {
    let with_weight = |w| model(vec![node("Add", "x w", "y")], vec![w]);
    let huge = i64::MAX;
    let cases = [
        ("too few bytes", raw("w", F32, &[4], &[0; 12]), Broken, "tensor \"w\": [4] of f32 takes 16 bytes, got 12"),
        ("too many bytes", raw("w", F32, &[1], &[0; 8]), Broken, "tensor \"w\": [1] of f32 takes 4 bytes, got 8"),
        ("no bytes", raw("w", F32, &[4], &[]), Broken, "tensor \"w\": [4] of f32 takes 16 bytes, got 0"),
        ("a negative extent", raw("w", F32, &[-1, 4], &[0; 16]), Broken, "tensor \"w\": has a negative extent"),
        ("a huge extent", raw("w", F32, &[huge], &[]), Broken, "tensor \"w\": is too large"),
        ("a product that overflows", raw("w", F32, &[huge, huge, 4], &[]), Broken, "tensor \"w\": is too large"),
        (
            "a product that overflows to 0",
            raw("w", F32, &[1 << 32, 1 << 32], &[]),
            Broken,
            "tensor \"w\": is too large",
        ),
        ("terabytes", raw("w", F32, &[1 << 20, 1 << 20], &[0; 4]), Broken, "takes 4398046511104 bytes, got 4"),
        ("strings", raw("w", 8, &[1], &[]), Unsupported, "\"w\" is string"),
    ];
    refused(cases.map(|(case, tensor, kind, says)| (case, with_weight(tensor), kind, says)));
}

#[test]
fn shapes_and_types_that_do_not_fit_are_refused_with_the_node() {
    use Value::{Int, Ints, Text};
    let w = || floats("w", &[2, 2, 3, 3], &[0.0; 36]);
    let fed = |kind, dims: &[i64], made| fed_with(made, vec![declared("x", kind, dims)]);
    let scale = |s: f32| vec![floats("s", &[], &[s]), raw("z", U8, &[], &[0])];
    let cases: Vec<(&str, ModelProto, ErrorKind, &str)> = vec![
        (
            "shapes that do not broadcast",
            one("Add", "x w", vec![], vec![floats("w", &[3], &[0.0; 3])]),
            Broken,
            "node \"add\" (Add): shapes 1x2x4x4 and 3 do not broadcast",
        ),
        (
            "floats and integers",
            one("Add", "x w", vec![], vec![ints("w", &[1])]),
            Unsupported,
            "Add (opset 17) at node \"add\": ",
        ),
        ("one operand too few", one("Add", "x", vec![], vec![]), Broken, "node \"add\" (Add): takes 2 operands, got 1"),
        (
            "convolution of integers",
            fed(I64, &[1, 2, 4, 4], one("Conv", "x w", vec![], vec![w()])),
            Unsupported,
            "Conv (opset 17) at node \"conv\"",
        ),
        (
            "channels that differ",
            fed(F32, &[1, 5, 4, 4], one("Conv", "x w", vec![], vec![w()])),
            Broken,
            "node \"conv\" (Conv): conv operand 1 must have",
        ),
        (
            "a window that does not fit",
            fed(F32, &[1, 2, 2, 2], one("Conv", "x w", vec![], vec![w()])),
            Broken,
            "node \"conv\" (Conv): conv operand 1 must have",
        ),
        ("strides of 0", one("Conv", "x w", vec![("strides", Ints(&[0, 1]))], vec![w()]), Broken, "node \"conv\""),
        (
            "strides of 3 axes",
            one("Conv", "x w", vec![("strides", Ints(&[1, 1, 1]))], vec![w()]),
            Broken,
            "node \"conv\"",
        ),
        (
            "strides that are a number",
            one("Conv", "x w", vec![("strides", Int(1))], vec![w()]),
            Broken,
            "attribute strides must be INTS, got INT",
        ),
        ("negative strides", one("Conv", "x w", vec![("strides", Ints(&[-1, 1]))], vec![w()]), Broken, "node \"conv\""),
        ("huge pads", one("Conv", "x w", vec![("pads", Ints(&[i64::MAX; 4]))], vec![w()]), Broken, "node \"conv\""),
        (
            "huge dilations",
            one("Conv", "x w", vec![("dilations", Ints(&[i64::MAX; 2]))], vec![w()]),
            Broken,
            "node \"conv\"",
        ),
        ("no groups", one("Conv", "x w", vec![("group", Int(0))], vec![w()]), Broken, "node \"conv\""),
        ("groups that do not divide", one("Conv", "x w", vec![("group", Int(3))], vec![w()]), Broken, "node \"conv\""),
        (
            "a huge number of groups",
            one("Conv", "x w", vec![("group", Int(i64::MAX))], vec![w()]),
            Broken,
            "node \"conv\"",
        ),
        (
            "another kernel than the weights'",
            one("Conv", "x w", vec![("kernel_shape", Ints(&[5, 5]))], vec![w()]),
            Broken,
            "node \"conv\"",
        ),
        (
            "an output larger than what windows reach",
            fed(F32, &[1, 2, 4, 4], one("ConvTranspose", "x w", vec![("output_shape", Ints(&[5, 7]))], vec![w()])),
            Broken,
            "attribute output_shape is [5, 7], expected at most [6, 6]",
        ),
        (
            "weights of another number of channels",
            fed(F32, &[1, 5, 4, 4], one("ConvTranspose", "x w", vec![], vec![w()])),
            Broken,
            "node \"convtranspose\"",
        ),
        ("no kernel", one("MaxPool", "x", vec![], vec![]), Broken, "node \"maxpool\""),
        (
            "a kernel of 0",
            one("MaxPool", "x", vec![("kernel_shape", Ints(&[0, 2]))], vec![]),
            Broken,
            "node \"maxpool\"",
        ),
        (
            "a huge kernel",
            one("MaxPool", "x", vec![("kernel_shape", Ints(&[i64::MAX, 2]))], vec![]),
            Broken,
            "node \"maxpool\"",
        ),
        (
            "padding that is unknown",
            one("MaxPool", "x", vec![("kernel_shape", Ints(&[2, 2])), ("auto_pad", Text("SOME"))], vec![]),
            Unsupported,
            "node \"maxpool\"",
        ),
        (
            "inner extents that differ",
            one("MatMul", "x w", vec![], vec![floats("w", &[3, 3], &[0.0; 9])]),
            Broken,
            "node \"matmul\"",
        ),
        ("Gemm of 4 axes", one("Gemm", "x w", vec![], vec![floats("w", &[4, 3], &[0.0; 12])]), Broken, "node \"gemm\""),
        ("too many elements", one("Reshape", "x s", vec![], vec![ints("s", &[5, 7])]), Broken, "node \"reshape\""),
        ("two free extents", one("Reshape", "x s", vec![], vec![ints("s", &[-1, -1])]), Broken, "node \"reshape\""),
        ("a negative shape", one("Reshape", "x s", vec![], vec![ints("s", &[-7, 4])]), Broken, "node \"reshape\""),
        (
            "a huge shape",
            one("Reshape", "x s", vec![], vec![ints("s", &[i64::MAX, i64::MAX])]),
            Broken,
            "node \"reshape\"",
        ),
        (
            "a shape that is computed",
            one("Reshape", "x x", vec![], vec![]),
            Unsupported,
            "Reshape (opset 17) at node \"reshape\"",
        ),
        (
            "an axis twice",
            one("Transpose", "x", vec![("perm", Ints(&[0, 1, 1, 2]))], vec![]),
            Broken,
            "node \"transpose\"",
        ),
        (
            "an axis outside",
            one("Softmax", "x", vec![("axis", Int(9))], vec![]),
            Broken,
            "axis 9 of a tensor of rank 4",
        ),
        ("an axis far outside", one("Softmax", "x", vec![("axis", Int(i64::MIN))], vec![]), Broken, "node \"softmax\""),
        ("no axis", one("Concat", "x x", vec![], vec![]), Broken, "attribute axis is missing"),
        ("nothing to join", one("Concat", "", vec![("axis", Int(0))], vec![]), Broken, "node \"concat\""),
        (
            "an index outside",
            one("Gather", "x i", vec![("axis", Int(1))], vec![ints("i", &[7])]),
            Broken,
            "node \"gather\"",
        ),
        ("a scale of 0", one("QuantizeLinear", "x s z", vec![], scale(0.0)), Broken, "a scale of 0"),
        ("a negative scale", one("QuantizeLinear", "x s z", vec![], scale(-1.0)), Broken, "a scale of -1"),
        (
            "a scale that is no number",
            one("QuantizeLinear", "x s z", vec![], scale(f32::NAN)),
            Broken,
            "a scale of NaN",
        ),
        ("an infinite scale", one("QuantizeLinear", "x s z", vec![], scale(f32::INFINITY)), Broken, "a scale of inf"),
        (
            "a zero point of another type",
            fed(I8, &[1, 2, 4, 4], one("DequantizeLinear", "x s z", vec![], scale(1.0))),
            Broken,
            "a zero point of type u8 for i8",
        ),
        (
            "three scales for two channels",
            one("QuantizeLinear", "x s", vec![], vec![floats("s", &[3], &[1.0; 3])]),
            Broken,
            "a scale of shape 3 for axis 1 of 1x2x4x4",
        ),
        ("pads of 3 axes", one("Pad", "x p", vec![], vec![ints("p", &[0; 6])]), Broken, "node \"pad\""),
        ("huge padding", one("Pad", "x p", vec![], vec![ints("p", &[i64::MAX; 8])]), Broken, "node \"pad\""),
        (
            "padding that takes all away",
            one("Pad", "x p", vec![], vec![ints("p", &[0, 0, -9, 0, 0, 0, 0, 0])]),
            Broken,
            "node \"pad\"",
        ),
        (
            "a huge scale",
            one("Resize", "x _ s", vec![], vec![floats("s", &[4], &[1.0, 1.0, 1e30, 1.0])]),
            Broken,
            "an axis of extent 4 scaled by 1000000000000000000000000000000",
        ),
        (
            "an integer for a float",
            one("LeakyRelu", "x", vec![("alpha", Int(1))], vec![]),
            Broken,
            "attribute alpha must be FLOAT, got INT",
        ),
        ("steps of 0", one("Slice", "x a a a a", vec![], vec![ints("a", &[0])]), Broken, "node \"slice\""),
        (
            "a cast to nothing",
            one("Cast", "x", vec![("to", Int(77))], vec![]),
            Unsupported,
            "a cast to element type 77",
        ),
        (
            "a bound that is a list",
            one("Clip", "x lo", vec![], vec![floats("lo", &[2], &[0.0; 2])]),
            Broken,
            "node \"clip\"",
        ),
        (
            "a word for a float",
            one("Elu", "x", vec![("alpha", Text("one"))], vec![]),
            Broken,
            "attribute alpha must be FLOAT, got STRING",
        ),
        (
            "an unknown word",
            one("Pad", "x p", vec![("mode", Text("sideways"))], vec![ints("p", &[0; 8])]),
            Unsupported,
            "node \"pad\"",
        ),
    ];
    refused(cases);
}

/// The outcome for a model made to exhaust resources: time and memory are bounded.
fn survives(case: &str, made: &ModelProto) -> Result<Graph, String> {
    let started = Instant::now();
    let imported = onnx::from_bytes(&bytes(made), &ImportOptions::default());
    let result = imported.map_err(|error| error.to_string()).map(|imported| {
        let mut graph = imported.graph;
        let pipeline = Pipeline::new(SIMPLIFY).expect("known passes");
        pipeline.run(&mut graph, &PassOptions::default(), &mut |_, _| {}).expect("passes run");
        graph
    });
    assert!(started.elapsed() < Duration::from_secs(30), "{case}: {:?}", started.elapsed());
    if let Ok(graph) = &result {
        let held: usize = graph.values().filter_map(|(id, _)| graph.constant(id)).map(|t| t.bytes().len()).sum();
        assert!(held < 1 << 30, "{case}: constants of {held} bytes");
    }
    result
}

#[test]
fn constants_do_not_grow_without_end() {
    let doubled = |op_type: &str, from: &str, to: &str| match op_type {
        "Concat" => with(node("Concat", &format!("{from} {from}"), to), "axis", Value::Int(0)),
        _ => node("Tile", &format!("{from} two"), to),
    };
    for (op_type, kind, element) in [
        ("Concat", F32, &[0, 0, 128, 63][..]),
        ("Concat", I64, &[1; 8]),
        ("Tile", F32, &[0; 4]),
        ("Tile", I64, &[1; 8]),
    ] {
        let name = |i: usize| if i == 0 { "w".to_owned() } else { format!("w{i}") };
        let mut nodes: Vec<NodeProto> = (0..36).map(|i| doubled(op_type, &name(i), &name(i + 1))).collect();
        nodes.push(with(node("ReduceMax", &name(36), "m"), "keepdims", Value::Int(0)));
        nodes.push(with(node("Cast", "m", "f"), "to", Value::Int(1)));
        nodes.push(node("Add", "x f", "y"));
        let tensors = vec![raw("w", kind, &[1], element), ints("two", &[2])];
        let _ = survives(&format!("36 times {op_type} of {kind}"), &model(nodes, tensors));
    }
}

#[test]
fn a_few_bytes_do_not_become_many_large_constants() {
    let mut nodes = Vec::new();
    for i in 0..400 {
        nodes.push(node("Expand", &format!("w{} s", i % 2), &format!("e{i}")));
        nodes.push(with(node("ReduceMax", &format!("e{i}"), &format!("m{i}")), "keepdims", Value::Int(0)));
    }
    nodes.push(node("Cast", "m0", "y").clone());
    let last = nodes.len() - 1;
    nodes[last] = with(nodes[last].clone(), "to", Value::Int(1));
    nodes.push(node("Sum", &(0..400).map(|i| format!("m{i} ")).collect::<String>(), "z"));
    let made = model(nodes, vec![ints("w0", &[1]), ints("w1", &[2]), ints("s", &[1 << 20])]);
    let made =
        ModelProto { graph: made.graph.map(|g| GraphProto { output: vec![named("y"), named("z")], ..g }), ..made };
    let _ = survives("400 constants of 8 MB", &made);
}

#[test]
fn huge_shapes_are_refused_or_cost_nothing() {
    use Value::Int;
    let huge = [1 << 30, 1 << 30];
    let cases = [
        ("Expand", one("Expand", "x s", vec![], vec![ints("s", &[1 << 40, 1, 1, 1])])),
        ("ConstantOfShape", one("ConstantOfShape", "s", vec![], vec![ints("s", &huge)])),
        ("Tile", one("Tile", "x r", vec![], vec![ints("r", &[1 << 40, 1, 1, 1])])),
        ("Pad", one("Pad", "x p", vec![], vec![ints("p", &[1 << 40, 0, 0, 0, 0, 0, 0, 0])])),
        ("Range", one("Range", "a b c", vec![], vec![long("a", 0), long("b", i64::MAX), long("c", 1)])),
        ("DepthToSpace", one("DepthToSpace", "x", vec![("blocksize", Int(1 << 40))], vec![])),
        ("an input", fed_with(changed(|_| {}), vec![declared("x", F32, &[1 << 40, 1 << 40])])),
        ("an input of every extent", fed_with(changed(|_| {}), vec![declared("x", F32, &[i64::MAX; 8])])),
    ];
    for (case, made) in cases {
        let refusal = survives(case, &made).expect_err(case);
        assert!(refusal.contains("too large") || refusal.contains("entry of") || refusal.contains("node"), "{refusal}");
    }
    // Terabytes that are never computed at import are allowed in a graph.
    let made = fed_with(changed(|_| {}), vec![declared("x", F32, &[1 << 20, 1 << 18])]);
    assert_eq!(survives("a terabyte", &made).expect("a shape costs nothing").node_count(), 1);
}

fn long(name: &str, number: i64) -> tract_onnx::pb::TensorProto {
    raw(name, I64, &[], &number.to_le_bytes())
}

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: name.to_owned(), ..Default::default() }
}

/// A function with one operand and one result.
fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        node: nodes,
        opset_import: vec![
            OperatorSetIdProto { domain: String::new(), version: 17 },
            OperatorSetIdProto { domain: "local".to_owned(), version: 1 },
        ],
        ..Default::default()
    }
}

fn call(name: &str, input: &str, output: &str) -> NodeProto {
    NodeProto { domain: "local".to_owned(), ..node(name, input, output) }
}

fn calling(functions: Vec<FunctionProto>) -> ModelProto {
    let mut made = model(vec![call("F0", "x", "y")], vec![]);
    made.opset_import.push(OperatorSetIdProto { domain: "local".to_owned(), version: 1 });
    made.functions = functions;
    made
}

#[test]
fn functions_and_subgraphs_do_not_expand_without_end() {
    // Each calls the next four times: 4^24 nodes.
    let fourfold = |i: usize| {
        let next = format!("F{}", i + 1);
        let path = ["x", "a", "b", "c", "y"];
        function(&format!("F{i}"), path.windows(2).map(|w| call(&next, w[0], w[1])).collect())
    };
    let mut laughs: Vec<FunctionProto> = (0..24).map(fourfold).collect();
    laughs.push(function("F24", vec![relu("x", "y")]));
    let itself = vec![function("F0", vec![call("F0", "x", "y")])];
    let each_other = vec![function("F0", vec![call("F1", "x", "y")]), function("F1", vec![call("F0", "x", "y")])];
    let truth = raw("yes", 9, &[], &[1]);
    let mut body =
        GraphProto { node: vec![relu("x", "z")], output: vec![named("z")], name: "b".into(), ..Default::default() };
    for _ in 0..60 {
        let branch = |n, name, body: &GraphProto| with(n, name, Value::Body(body.clone()));
        let inner = branch(
            branch(node("If", "yes", "z"), "then_branch", &body),
            "else_branch",
            &GraphProto {
                node: vec![relu("x", "z")],
                output: vec![named("z")],
                name: "e".into(),
                ..Default::default()
            },
        );
        body = GraphProto { node: vec![inner], output: vec![named("z")], name: "b".into(), ..Default::default() };
    }
    let mut nested = model(body.node.clone(), vec![truth]);
    if let Some(graph) = &mut nested.graph {
        graph.output = vec![named("z")];
    }
    // Functions that double fourteen times have few nodes, but each name contains those of all calls around it.
    let mut long_names: Vec<_> = (0..14)
        .map(|i| {
            let inner = format!("F{}", i + 1);
            let twice = [call(&inner, "x", "z"), call(&inner, "z", "y")]
                .map(|node| NodeProto { name: "n".repeat(4000), ..node });
            function(&format!("F{i}"), twice.to_vec())
        })
        .collect();
    long_names.push(function("F14", vec![relu("x", "y")]));
    let refusal = survives("names that multiply", &calling(long_names)).expect_err("names that multiply");
    assert_eq!(refusal, "the names of nodes take more than 64.0 MiB once all functions are expanded");
    for (case, made) in [
        ("a function that calls itself", calling(itself)),
        ("functions that call each other", calling(each_other)),
        ("functions that multiply", calling(laughs)),
    ] {
        let refusal = survives(case, &made).expect_err(case);
        assert!(refusal.ends_with("expands without end"), "{case}: {refusal}");
    }
    survives("branches 60 deep", &nested).expect_err("deeper than is supported");
}

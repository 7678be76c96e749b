//! Tests the text form: every file of `testdata/ir` prints back to the same bytes, and errors have their position.

use std::fs;
use std::path::{Path, PathBuf};

use eightfold_ir::{
    DType, Graph, ParseError, Shape, Tensor, TensorType, ValueId, eval, parse, print, print_full, verify,
};
use proptest::prelude::*;

fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/ir");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 7);
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn files_read_back_to_the_same_bytes() {
    for (path, text) in files() {
        let graph = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let printed = print_full(&graph);
        for (number, (wanted, got)) in text.lines().zip(printed.lines()).enumerate() {
            assert_eq!(got, wanted, "{}:{}", path.display(), number + 1);
        }
        assert_eq!(printed, text, "{}", path.display());
        assert_eq!(parse(&printed).unwrap(), graph);
    }
}

#[test]
fn every_operator_is_in_the_files() {
    let text: String = files().into_iter().map(|(_, text)| text).collect();
    for name in eightfold_ir::Op::NAMES {
        assert!(text.contains(&format!("= {name}(")), "no file of testdata/ir has {name}");
    }
}

fn error_of(items: &str) -> ParseError {
    parse(&format!("graph @g {{\n{items}\n}}\n")).expect_err("the text is wrong")
}

#[test]
fn mistakes_are_told_with_their_place() {
    let x = "input %x: 1x4xf32\n";
    let cases = [
        ("const %c: 2xi8 = [1, 300]", "line 2, column 22: 300 is not a valid i8"),
        ("const %c: 3xi8 = [1, 2]", "line 2, column 19: expected 3 elements, got 2"),
        ("const %c: 17xi8 = blob(00)", "line 2, column 19: the text has only a hash of this constant"),
        ("const %c: 2xi8 = hex(\"0\")", "expected pairs of hexadecimal digits"),
        ("const %c: 2xi8 = hex(\"00\")", "expected 2 bytes, got 1"),
        ("const %c: 2xi8 = rand(seed=1, std=2.0)", "rand has no attribute std; it has: seed, min, max"),
        ("const %c: 2xf32 = rand(std=2.0)", "rand needs attribute seed"),
        ("const %c: 40000x40000xf32 = splat(0.0)", "column 29: 40000x40000xf32 is too large"),
        ("input %x: 9999999x9999999x9999999xf32", "column 11: 9999999x9999999x9999999xf32 is too large"),
        ("input %x: 1x4xf33", "line 2, column 11: expected a type such as 1x3x8x8xf32, got \"1x4xf33\""),
        ("input %x: 1x4xf32 #0", "no qparams line above defines #0"),
        ("input %x: f32\ninput %x: f32", "line 3, column 7: %x is defined twice"),
        ("input %\"a: f32", "line 2, column 8: the string does not end on this line"),
        ("qparams #0 = u8 per_tensor scale=1.0", "expected zero_point=, got the end of the line"),
        ("qparams #0 = u8 per_tensor scale=a zero_point=0", "expected a number or a list of numbers, got \"a\""),
        ("what", "line 2, column 1: expected qparams, input, const, output, a node or \"}\", got \"what\""),
        ("output %x", "line 2, column 8: no line above defines %x"),
        ("input %0: f32\noutput %0", "expected \"name\" = before it, got a value without a name"),
    ];
    for (items, message) in cases {
        let error = error_of(items).to_string();
        assert!(error.contains(message), "{items}\n  wanted {message}\n  got    {error}");
    }
    let cases = [
        ("%y = map(%z) : 1x4xf32", "line 3, column 10: no line above defines %z"),
        ("%y = map(%x) in f16 : 1x4xf32", "line 3, column 17: expected f32, bf16, int8 or weight-int8, got \"f16\""),
        ("%y = map(%x) |> relu in f32 : 1x4xf32", "line 3, column 22: expected an argument: _, a value or a number"),
        ("%y = map(%x) : 1x4xf32 ordered axis=1 from=2", "expected a list of integers of at least 0, got \"2\""),
        ("%y = map(%x) : 1x4xf32 ordered from=[0]", "line 3, column 32: expected axis=, got \"from\""),
        ("%y = mop(%x) : 1x4xf32", "line 3, column 6: no operator is called \"mop\"; the operators are concat, conv,"),
        ("%y = map(%x) {a=1} : 1x4xf32", "map has no attribute a; it has: none"),
        ("%y = softmax(%x) : 1x4xf32", "softmax needs attribute axis: an integer of at least 0"),
        ("%y = softmax(%x) {axis=-1} : 1x4xf32", "attribute axis of softmax must be an integer of at least 0"),
        ("%y = softmax(%x) {axis=1, axis=1} : 1x4xf32", "line 3, column 27: axis is defined twice"),
        ("%y = softmax(%x) {axis=2} : 1x4xf32", "line 3, column 6: softmax attribute axis: must be below rank 2"),
        ("%y = map(%x) |> relu |> and %x : 1x4xf32", "line 3, column 25: and expects bool, got f32"),
        ("%y = map(%x) |> foo : 1x4xf32", "line 3, column 17: no step or scalar function is called \"foo\""),
        ("%y = map(%x) |> clip 1.0 : 1x4xf32", "clip takes 3 arguments, got 2"),
        ("%y = map(%x) |> add 1 : 1x4xf32", "add expects f32, got the integer 1"),
        ("%y = map(%x) |> quantize u8 {scale=0.0} : 1x4xu8", "quantize expects a positive, finite scale, got 0.0"),
        ("%y = map(%x) |> quantize u8 {min=-1} : 1x4xu8", "expects 0 <= min <= max <= 255, got -1 and 255"),
        (
            "%y = map(%x) |> quantize u32 {min=0, max=9} : 1x4xu32",
            "quantize expects an integer type of at most 32 bits",
        ),
        ("%y = map(%x) : 4x1xf32", "line 3, column 16: the result is 1x4xf32, but the text says 4x1xf32"),
        ("%y, %z = map(%x) : 1x4xf32, 1x4xf32", "expected 1 results, got 2"),
        ("%y = map(%x) : 1x4xf32 |> relu", "line 3, column 24: expected the end of the line, got \"|\""),
        ("%y = conv(%x, %x) {pads=[99999999999999999999]} : f32", "expected a number, integers of at most 64 bits"),
        (
            "%y = pad(%x) {before=[0, 9223372036854775807], after=[9223372036854775807, 0]} : f32",
            "exceeds the address space",
        ),
        ("%y = reshape(%x) {shape=[9223372036854775807, 9223372036854775807]} : f32", "attribute shape:"),
    ];
    for (items, message) in cases {
        let error = error_of(&format!("{x}{items}")).to_string();
        assert!(error.contains(message), "{items}\n  wanted {message}\n  got    {error}");
    }
    assert_eq!(parse("").unwrap_err().to_string(), "line 1, column 1: expected \"graph\", got the end of the text");
}

#[test]
fn mistakes_in_bodies_are_told_with_their_place() {
    let body = |attrs: &str, items: &str| format!("input %x: 2x4xf32\n%y = scan(%x) {{{attrs}}} {items} : 2x4xf32");
    let scan = |items: &str| body("count=2, axes=[0]", &format!("body {{\n{items}\n}}"));
    let same = "input %x: 4xf32\noutput %x";
    let cases = [
        (scan("input %x: 4xf32\noutput %y"), "line 5, column 8: no line above defines %y"),
        (scan("input %x: 4xf32\n%z = mop(%x) : 4xf32"), "line 5, column 6: no operator is called \"mop\""),
        (scan("input %x: 5xf32\noutput %x"), "line 3, column 6: `body` of scan: input 0 must be 4xf32, got 5xf32"),
        (scan(&format!("input %w: 4xf32\n{same}")), "`body` of scan: must have 1 inputs, got 2"),
        (scan("input %x: 4xf32"), "`body` of scan: must have an output"),
        (
            scan(&format!(
                "qparams #0 = u8 per_tensor scale=1.0 zero_point=0\n{same}\n%q = quantize_linear(%x) : 4xu8 #0\noutput %q"
            )),
            "`body` of scan: output 1 must not be quantized",
        ),
        (body("count=2, axes=[0]", ""), "line 3, column 6: scan has the body `body`, got no bodies"),
        (
            body("count=2, axes=[0]", &format!("body {{\n{same}\n}} other {{\n{same}\n}}")),
            "scan has the body `body`, got the bodies `body`, `other`",
        ),
        (
            body("count=3, axes=[0]", &format!("body {{\n{same}\n}}")),
            "scan operand 0 must have 3 elements along axis 0, got 2x4",
        ),
        (
            body("count=2, axes=[2]", &format!("body {{\n{same}\n}}")),
            "scan operand 0 must have 2 elements along axis 2, got 2x4",
        ),
        (body("count=2, states=2, axes=[0]", &format!("body {{\n{same}\n}}")), "scan takes 3 to"),
        (
            body("count=2, states=1", "body {\ninput %x: 2x4xf32\noutput \"n\" = %x\noutput %x\n}"),
            "expected 2 results, got 1",
        ),
        (
            body("count=2, axes=[0], reverse=[2]", &format!("body {{\n{same}\n}}")),
            "attribute reverse: has entries of 0 or 1, got 2",
        ),
        (
            body("count=2, axes=[0], reverse=[0, 1]", &format!("body {{\n{same}\n}}")),
            "attribute reverse: must have 1 entries, got 2",
        ),
        (
            body("count=2, axes=[0], output_axes=[2]", &format!("body {{\n{same}\n}}")),
            "attribute output_axes: must be at most 1, the rank of slice 0",
        ),
    ];
    for (items, message) in cases {
        let error = error_of(&items).to_string();
        assert!(error.contains(message), "{items}\n  wanted {message}\n  got    {error}");
    }
    let branches = |condition: &str, then: &str, otherwise: &str| {
        format!(
            "input %c: {condition}\ninput %x: 4xf32\n%y = if(%c, %x) then {{\n{then}\n}} otherwise {{\n{otherwise}\n}} : 4xf32"
        )
    };
    let longer = "input %x: 4xf32\nconst %k: 5xf32 = splat(0.0)\noutput %k";
    let more = "input %x: 4xf32\nconst %k: 5xf32 = splat(0.0)\noutput %x\noutput %k";
    let looped = |body: &str| {
        format!(
            "input %x: 4xf32\n%y = loop(_, _, %x) {{max_trip=2, states=1}} body {{\ninput %i: i64\ninput %c: bool\ninput %x: 4xf32\n{body}\n}} : 4xf32"
        )
    };
    let cases = [
        (branches("f32", same, same), "if operand 0 must be bool, got f32"),
        (branches("2xbool", same, same), "if operand 0 must have one element, got 2"),
        (branches("bool", same, longer), "`otherwise` of if: output 0 must be 4xf32, as `then` has it, got 5xf32"),
        (branches("bool", same, more), "`otherwise` of if: must have 1 outputs, as `then` has, got 2"),
        (looped("output %x"), "`body` of loop: must have at least 2 outputs, got 1"),
        (looped("output %i\noutput %x"), "`body` of loop: output 0 must be a bool of one element, got i64"),
        (looped("output %c\noutput %i"), "`body` of loop: output 1 must be 4xf32, got"),
    ];
    for (items, message) in cases {
        let error = error_of(&items).to_string();
        assert!(error.contains(message), "{items}\n  wanted {message}\n  got    {error}");
    }
    let deep = format!("input %c: bool\n{}", "%y = if(%c) then {\ninput %c: bool\n".repeat(40));
    assert!(error_of(&deep).to_string().contains("bodies are nested deeper than 32 levels"));
}

#[test]
fn comments_are_passed_over_and_origins_kept() {
    let text = "; run: fuse\n\ngraph @g { ; here\n  ; alone\n  input %x: f32 ; the input\n  %y = map(%x) : f32 ; error: none\n  \
                %z = map(%y) : f32 ; \"/a\", \"b\" ; error: none\n  output %z\n} ; end\n; more\n";
    let graph = parse(text).unwrap();
    let origins: Vec<String> = graph.nodes().map(|n| n.origin.to_string()).collect();
    assert_eq!(origins, ["", "\"/a\", \"b\""]);
}

#[test]
fn large_constants_print_as_a_hash_of_their_bytes() {
    let graph = |values: Vec<f32>| {
        let mut graph = Graph::new("g");
        graph.add_const("w", Tensor::f32(&[20], &values), None);
        graph
    };
    let values: Vec<f32> = (0..20).map(|x| x as f32).collect();
    let text = print(&graph(values.clone()));
    let line = "  const %w: 20xf32 = blob(";
    assert!(text.lines().nth(1).unwrap().starts_with(line), "{text}");
    let mut other = values.clone();
    other[7] = -7.0;
    assert_ne!(print(&graph(other.clone())), text);
    assert_ne!(graph(other), graph(values));
}

#[test]
fn rand_reads_back_as_the_same_tensor() {
    let text = "graph @g {\n const %w: 4x3xf32 = rand(seed=1, std=0.5)\n const %v: 3xi32 = rand(seed=2, min=-2, max=3)\n const \
                %u: 3xf32 = rand(seed=2, min=0.5, max=1.5)\n}";
    let graph = parse(text).unwrap();
    let w = graph.constant(graph.find("w").unwrap()).unwrap();
    // Some of the numbers that pin the generator.
    assert_eq!(w.to_f32s().unwrap()[..2], [77649.0 / 131072.0, 24274.0 / 131072.0]);
    let v = graph.constant(graph.find("v").unwrap()).unwrap().to_ints().unwrap();
    assert!(v.iter().all(|x| (-2..=3).contains(x)), "{v:?}");
    assert_eq!(parse(&print_full(&graph)).unwrap(), graph);
}

#[test]
fn equality_is_structural() {
    let build = |swap: bool| {
        let mut graph = Graph::new("g");
        let ty = TensorType::new(DType::F32, Shape::new(&[2]));
        let names = if swap { ["b", "a"] } else { ["a", "b"] };
        let x = graph.add_input("x", ty);
        for name in names {
            graph.add_const(name, Tensor::f32(&[2], &[if name == "a" { 1.0 } else { 2.0 }; 2]), None);
        }
        let (a, b) = (graph.find("a").unwrap(), graph.find("b").unwrap());
        let operands = [Some(x), Some(a), Some(b)];
        let y = graph.add("y", eightfold_ir::op::concat::Concat { axis: 0 }, &operands, Default::default()).unwrap();
        graph.add_output("y", y);
        graph
    };
    assert_eq!(build(false), build(true), "the order of creation does not count");
    let mut other = build(false);
    other.set_name(other.outputs()[0].value, "z");
    assert_ne!(build(false), other);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random changes to valid texts give an error, or a graph that prints, may verify and then runs. They never panic.
    #[test]
    fn no_text_makes_the_crate_panic(
        file in 0..7_usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_usize, ".{0,3}"), 1..4),
    ) {
        let mut chars: Vec<char> = files()[file].1.chars().collect();
        for (at, from, kind, insert) in edits {
            let (at, from) = (at.index(chars.len()), from.index(chars.len()));
            match kind {
                0 => _ = chars.remove(at),
                1 => _ = chars.splice(at..at, insert.chars()),
                2 => chars[at] = chars[from],
                // Moves a part of the text to another place.
                _ => {
                    let stretch: Vec<char> = chars[from..].iter().copied().take(12).collect();
                    _ = chars.splice(at..at, stretch);
                }
            }
        }
        let text: String = chars.into_iter().collect();
        if let Ok(graph) = parse(&text) {
            prop_assert_eq!(parse(&print_full(&graph)).unwrap(), graph.clone());
            let small = graph.values().all(|(_, v)| v.ty.shape.elements() < 10_000);
            if small && verify(&graph).is_ok() {
                let zeros = |id: &ValueId| {
                    let ty = graph.ty(*id);
                    Tensor::from_unpacked(ty.dtype, ty.shape.clone(), vec![0; ty.byte_size()]).unwrap()
                };
                let inputs: Vec<Tensor> = graph.inputs().iter().map(zeros).collect();
                eval(&graph, &inputs).unwrap();
            }
        }
    }

    #[test]
    fn no_characters_make_the_parser_panic(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("graph @g {{\n{text}"));
        let _ = parse(&format!("graph @g {{\nconst %c: 4xf32 = {text}"));
        let _ = parse(&format!("graph @g {{\ninput %x: 4xf32\n%y = {text}"));
    }
}

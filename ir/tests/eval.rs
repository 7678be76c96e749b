//! Tests the results of operators, functions and steps against numbers computed by hand. Each file of `testdata/ops`
//! gives the exact outputs before its graph, as `; %value = contents`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use eightfold_ir::{DType, EvalError, Function, Op, Shape, Step, Tensor, eval, parse, print_full, verify};

fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/ops");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_stem().unwrap().display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// Prints the elements of a tensor as in the text form.
fn contents(tensor: &Tensor) -> String {
    let mut graph = eightfold_ir::Graph::new("contents");
    let id = graph.add_const("x", tensor.clone(), None);
    graph.add_output("x", id);
    let text = print_full(&graph);
    text.lines().find_map(|line| line.split_once(" = ")).unwrap().1.to_owned()
}

#[test]
fn operators_compute_what_was_worked_out_by_hand() {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let graph = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        verify(&graph).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        let expected: BTreeMap<&str, &str> =
            text.lines().filter_map(|line| line.strip_prefix("; %")?.split_once(" = ")).collect();
        let outputs = eval(&graph, &[]).unwrap();
        assert_eq!(expected.len(), outputs.len(), "{name}: each output has its line");
        for (output, tensor) in graph.outputs().iter().zip(outputs) {
            let expected = expected.get(&*output.name).unwrap_or_else(|| panic!("{name}: no %{}", output.name));
            let got = contents(&tensor);
            if got != *expected {
                wrong.push(format!("{name}: %{}: expected {expected}, got {got}", output.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_operator_function_and_step_has_numbers() {
    let (mut functions, mut steps, mut operators) = (Vec::new(), [false; 4], Vec::new());
    for text in files().values() {
        let graph = parse(text).unwrap();
        for node in graph.nodes() {
            operators.push(node.op.name());
            for step in &node.epilogue.steps {
                match step {
                    Step::Apply(function, _) => functions.push(*function),
                    Step::Cast(_) => steps[0] = true,
                    Step::Dequantize { .. } => steps[1] = true,
                    Step::Quantize { .. } => steps[2] = true,
                    Step::Table(_) => steps[3] = true,
                }
            }
        }
    }
    assert_eq!(steps, [true; 4]);
    let without: Vec<&str> = Function::ALL.iter().filter(|f| !functions.contains(f)).map(|f| f.name()).collect();
    assert_eq!(without, [""; 0], "functions");
    let without: Vec<&&str> = Op::NAMES.iter().filter(|name| !operators.contains(*name)).collect();
    assert_eq!(without, [&""; 0], "operators");
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let graph = parse("graph @g {\n  input %x: 2xf32\n  output %x\n}\n").unwrap();
    assert_eq!(eval(&graph, &[]), Err(EvalError::InputCount { expected: 1, got: 0 }));
    let wrong = Tensor::int(DType::I64, &[2], &[1, 2]);
    assert_eq!(eval(&graph, &[wrong]).unwrap_err().to_string(), "input \"x\" is 2xf32, got 2xi64");
    let right = Tensor::f32(&Shape::new(&[2]), &[1.0, 2.0]);
    assert_eq!(eval(&graph, std::slice::from_ref(&right)).unwrap(), [right]);
}

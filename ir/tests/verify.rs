//! Tests that the verifier rejects invalid graphs: each file of `testdata/verify` has the expected error on each line.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use eightfold_ir::verify::Rule;
use eightfold_ir::{parse, print_full, verify};

fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn errors_stand_on_the_lines_that_expect_them() {
    for (path, text) in files("verify") {
        let graph = parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let errors = verify(&graph).expect_err("the file says that it is wrong").errors;
        let mut got = String::new();
        for (number, line) in print_full(&graph).lines().enumerate() {
            got.push_str(line);
            for error in errors.iter().filter(|e| e.line.unwrap_or(1) == number + 1) {
                write!(got, " ; error: {}: expected {}, got {}", error.rule, error.expected, error.got).unwrap();
            }
            got.push('\n');
        }
        for (wanted, got) in text.lines().zip(got.lines()) {
            assert_eq!(got, wanted, "{}", path.display());
        }
        assert_eq!(got, text, "{}", path.display());
    }
}

#[test]
fn valid_graphs_verify() {
    for (path, text) in files("ir") {
        let graph = parse(&text).unwrap();
        if graph.outputs().is_empty() {
            continue;
        }
        if let Err(errors) = verify(&graph) {
            panic!("{}: {errors}", path.display());
        }
    }
}

#[test]
fn every_rule_has_a_file_or_a_test() {
    let text: String = files("verify").into_iter().map(|(_, text)| text).collect();
    // The parser rejects these violations. Tests inside the crate create them in memory.
    let unsaid = [Rule::Operands, Rule::Acyclic, Rule::Users, Rule::Types];
    for rule in Rule::ALL.iter().filter(|rule| !unsaid.contains(rule)) {
        assert!(text.contains(&format!("; error: {rule}: ")), "no file of testdata/verify breaks {rule}");
    }
}

#[test]
fn messages_name_the_place_inside_a_body() {
    let (_, text) = files("verify").into_iter().find(|(path, _)| path.ends_with("bodies.ir")).unwrap();
    let message = verify(&parse(&text).unwrap()).unwrap_err().to_string();
    let place = "line 14, %last = scan, body: %y = if, then: %n: layout: expected rank 3 or more for nhwc, got 2";
    assert!(message.contains(place), "{message}");
}

#[test]
fn messages_name_line_value_origin_and_rule() {
    let (_, text) = files("verify").into_iter().find(|(path, _)| path.ends_with("bias.ir")).unwrap();
    let graph = parse(&text).unwrap();
    assert_eq!(
        verify(&graph).unwrap_err().to_string(),
        "graph \"bias\" is not valid\n  line 10, %a = conv (from \"/Conv\"): bias: expected scale=0.125 for channel 1, got 0.25"
    );
}

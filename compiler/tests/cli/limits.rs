//! Memory limits, names with control characters, and graphs that name passes themselves.

use std::process::Command;

use crate::sandbox::{Ended, Sandbox};

const LARGE: &str =
    "graph @large {\n  input %x: 4096x4096xf32\n  %y = map(%x) |> relu : 4096x4096xf32\n  output %y\n}\n";

#[test]
fn a_limit_on_memory_names_the_tensor_that_is_too_large() {
    let sandbox = Sandbox::new();
    sandbox.write("large.ir", LARGE.as_bytes());
    let error = "tensor \"x\" (4096x4096xf32) takes 64.0 MiB, the limit is 50.0 MiB
  hint: --max-memory SIZE sets another limit, --dim NAME=N smaller extents";
    for verb in ["compile --emit program -o out.program", "inspect", "inspect --roofline", "opt"] {
        sandbox.fails(&format!("{verb} --max-memory 50M large.ir"), 3, error);
    }
    assert_eq!(sandbox.run("inspect --max-memory 64M large.ir").code, Some(0));
    assert_eq!(sandbox.run("inspect --max-memory 0 large.ir").code, Some(2));
}

#[test]
fn names_are_printed_without_characters_that_command_the_terminal() {
    let sandbox = Sandbox::new();
    let text = "graph @g {\n  input %\"a\\u{1b}[2J\\u{202e}\\nb\": 2xf32\n  \
                %y = map(%\"a\\u{1b}[2J\\u{202e}\\nb\") |> relu : 2xf32 ; \"n\\u{9b}\\u{2067}\"\n  output %y\n}\n";
    sandbox.write("names.ir", text.as_bytes());
    sandbox.stdout("compile names.ir -o names.o --emit object,header --target x86-64-v2");
    let header = std::fs::read_to_string(sandbox.path("names.h")).unwrap();
    let printed = ["inspect names.ir", "inspect names.ir --format json", "opt names.ir", "opt names.ir --format json"];
    // Remarks and dumps; errors in both formats.
    let said = ["opt --passes f32 --dump-after all names.ir", "run names.ir", "run names.ir --format json"];
    let said = said.map(|arguments| sandbox.run(arguments).stderr);
    assert!(said.iter().all(|text| text.contains("202e")), "{said:?}");
    for text in printed.iter().map(|arguments| sandbox.stdout(arguments)).chain([header]).chain(said) {
        let bad = text.chars().find(|c| *c != '\n' && *c != '\t' && eightfold_ir::misleads(*c));
        assert_eq!(bad, None, "{text}");
    }
    assert!(sandbox.stdout("inspect names.ir").contains("  input   a\\u{1b}[2J\\u{202e}\\nb  2xf32\n"));
    let json = sandbox.json("inspect names.ir");
    assert_eq!(json["inputs"][0]["name"], "a\u{1b}[2J\u{202e}\nb");
}

#[test]
fn a_graph_that_says_what_to_run_is_a_test_in_one_command() {
    let sandbox = Sandbox::new();
    let case = "; run: fuse\ngraph @g {\n  input %x: 2xf32\n  %a = map(%x) |> exp : 2xf32 ; \"/Exp\"\n  \
                %y = map(%a) |> neg : 2xf32 ; \"/Neg\"\n  output %y\n}\n";
    sandbox.write("case.ir", case.as_bytes());
    sandbox.stdout("opt case.ir -o case.expected.ir");
    let expected = std::fs::read_to_string(sandbox.path("case.expected.ir")).unwrap();
    assert!(expected.contains("map(%x) |> exp |> neg"), "{expected}");
    assert_eq!(sandbox.stdout("opt case.ir --check case.expected.ir"), "the same graph as in case.expected.ir\n");

    sandbox.write("case.expected.ir", format!("; a comment\n{}", expected.replace("neg", "abs")).as_bytes());
    let ended = sandbox.run("opt case.ir --check case.expected.ir");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("error: the result differs from case.expected.ir: line 4 is "), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("  hint: if the new graph is right, write it with -o case.expected.ir"),
        "{}",
        ended.stderr
    );

    sandbox.write("case.ir", case.replace("; run: fuse", "; run: fuse\n; target: pdp-11").as_bytes());
    let error = "case.ir: invalid line `; target: pdp-11`\n  hint: eightfold opt --help lists the valid lines";
    sandbox.fails("opt case.ir", 4, error);
}

#[test]
fn a_calibration_table_goes_with_any_limit_on_rewrites() {
    let sandbox = Sandbox::new();
    // `fuse` names a tensor that the model does not have: the normalization's result.
    sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz --samples 0..16 -o digits.calibration");
    let table = std::fs::read_to_string(sandbox.path("digits.calibration")).unwrap();
    assert!(table.contains('#'), "a tensor that only a fusion makes:\n{table}");
    for limit in [0, 1, 5] {
        let compile = format!("compile digits.onnx --calibration-table digits.calibration --pass-limit {limit}");
        sandbox.stdout(&format!("{compile} --target x86-64-v3 -o digits.o"));
    }
}

#[test]
fn a_limit_on_rewrites_tells_how_many_there_are_and_which_was_the_last() {
    let sandbox = Sandbox::new();
    let case = "graph @g {\n  input %x: 2xf32\n  %a = map(%x) |> exp : 2xf32 ; \"/Exp\"\n  \
                %b = map(%a) |> neg : 2xf32 ; \"/Neg\"\n  %y = map(%b) |> tanh : 2xf32 ; \"/Tanh\"\n  output %y\n}\n";
    sandbox.write("case.ir", case.as_bytes());
    let told = |limit: usize| sandbox.run(&format!("opt case.ir --passes fuse --pass-limit {limit}")).stderr;
    assert!(told(0).contains("--pass-limit: 0 of 2 rewrites\n"), "{}", told(0));
    let last = "--pass-limit: 1 of 2 rewrites, the last is fuse: epilogue at \"/Exp\", \"/Neg\"\n";
    assert!(told(1).contains(last), "{}", told(1));
    assert!(told(9).contains("--pass-limit: 2 of 2 rewrites, the last is fuse: epilogue at "), "{}", told(9));
}

#[test]
fn dumps_in_a_folder_are_models_to_go_on_from() {
    let sandbox = Sandbox::new();
    sandbox.stdout("opt digits.onnx --passes f32 --dump-after all --dump-dir dumps");
    let dumps = std::fs::read_dir(sandbox.path("dumps")).unwrap();
    let names: Vec<String> = dumps.map(|dump| dump.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert_eq!(sandbox.run(&format!("inspect dumps/{name}")).code, Some(0), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow_is_one_error_about_the_output() {
    let sandbox = Sandbox::new();
    sandbox.write("large.ir", LARGE.replace("4096x4096", "64x64").as_bytes());
    let ones = eightfold_ir::Tensor::f32(&[64, 64], &[1.0; 4096]);
    sandbox.write_npz("x.npz", &[("x", ones)]);
    let run = format!("{} run large.ir --reference --input x.npz -o y.npz", env!("CARGO_BIN_EXE_eightfold"));
    let limited = format!("trap '' XFSZ; ulimit -f 8; exec {run}");
    let ended: Ended =
        Command::new("sh").args(["-c", &limited]).current_dir(sandbox.path("")).output().expect("a shell").into();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.starts_with("error: cannot write y.npz\n  caused by: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("ZipWriter"), "{}", ended.stderr);
    assert_eq!(sandbox.new_files(), ["large.ir", "x.npz"]);
}

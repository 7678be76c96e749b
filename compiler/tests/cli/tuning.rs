//! Measured choices of kernels: timed, stored, reused, and written by hand.

use std::fs;

use eightfold_codegen::target::TARGETS;

use crate::sandbox::Sandbox;

/// A tuning file written by hand, for a target with 8 lanes.
const BY_HAND: &str = "\
eightfold tuning 3
target x86-64-v3
cpu \"none\"  # by hand

gemm input=f32 strides=1x1 runs=0:3/10:3/20:3 n=32 f32[1x32x8x8:0,1,320,32] = f32[1x1x8x8:0,0,10,1] : tile=3x8 rows=2
gemm input=f32 strides=1x1 runs=0:32 n=64 f32[1x64x4x4:0,1,256,64] = f32[1x32x4x4:0,1,128,32] : tile=2x40 rows=1  # the pointwise one
gemm input=f32 strides=1x1 runs=0:32 n=65 f32[1x64x4x4:0,1,256,64] = f32[1x32x4x4:0,1,128,32] : tile=2x40 rows=1
";

#[test]
fn what_was_timed_is_taken_up_again() {
    let sandbox = Sandbox::new();
    let report = sandbox.json("compile digits.onnx --tune -o net.so");
    let tuning = &report["tuning"];
    assert_eq!((&tuning["products"], &tuning["known"], &tuning["timed"]), (&5.into(), &5.into(), &5.into()));
    assert!(tuning["best_us"].as_f64() <= tuning["model_us"].as_f64(), "{tuning}");
    assert_eq!(sandbox.new_files(), ["net.so", "net.tuning"]);
    let file = fs::read_to_string(sandbox.path("net.tuning")).unwrap();
    assert!(file.starts_with("eightfold tuning 3\ntarget x86-64-v"), "{file}");
    assert_eq!(file.lines().filter(|line| line.starts_with("gemm input=f32 ") && line.contains(" us=")).count(), 5);

    // The same file gives the same bytes, and nothing in the file is timed again.
    let again = sandbox.json("compile digits.onnx --tuning-file net.tuning --name net -o again.so");
    assert_eq!((&again["tuning"]["known"], &again["tuning"]["timed"]), (&5.into(), &0.into()));
    assert!(fs::read(sandbox.path("net.so")).unwrap() == fs::read(sandbox.path("again.so")).unwrap());
    let again = sandbox.json("compile digits.onnx --tune -o net.so");
    assert_eq!((&again["tuning"]["timed"], &again["tuning"]["file"]), (&0.into(), &"net.tuning".into()));
    assert_eq!(fs::read_to_string(sandbox.path("net.tuning")).unwrap(), file);
    assert!(sandbox.stdout("inspect net.so").contains("tuning      measured on "));

    // The results equal those of any other choice bit for bit.
    sandbox.stdout("compile digits.onnx -o usual.so");
    let measures = |file: &str| {
        let mut report = sandbox.json(&format!("compare digits.onnx {file} --data digits_test.npz"));
        report["outputs"].take()
    };
    assert!(measures("net.so").is_array());
    assert_eq!(measures("net.so"), measures("usual.so"));

    let report = sandbox.json("bench digits.onnx --tune");
    assert_eq!(report["products"].as_array().map(Vec::len), Some(5));
    assert!(report["products"][0]["predicted_us"].as_f64() > Some(0.0), "{report}");
    let error = &report["cost_model"];
    assert_eq!(error["decisions"], 5);
    assert!(error["median"].as_f64() <= error["p90"].as_f64() && error["over_best"].as_f64() >= Some(1.0), "{error}");
    let text = sandbox.stdout("bench digits.onnx --tune --no-bands");
    let line = text.lines().find(|line| line.starts_with("cost model: median |error| ")).expect("a line");
    assert!(line.contains("%, p90 ") && line.contains("% over 5 products; choices within "), "{line}");
    assert!(line.ends_with("x of the best (geometric mean)"), "{line}");
    assert!(report["products"][0]["tried"].as_array().is_some_and(|tried| tried.len() > 5), "{report}");
}

/// An inverted residual block; each of its tensors exceeds L1.
const CHAIN: &str = include_str!("../../../testdata/programs/bands.ir");

#[test]
fn chains_are_timed_and_taken_up_again() {
    let sandbox = Sandbox::new();
    sandbox.write("net.ir", CHAIN.as_bytes());
    let tuning = sandbox.json("compile net.ir --tune -o net.so")["tuning"].take();
    let chains = &tuning["chains"];
    assert!(chains["timed"].as_u64() >= Some(1) && chains["timed"].as_u64() >= chains["distinct"].as_u64(), "{tuning}");
    assert_eq!(chains["known"], chains["distinct"]);
    assert_eq!(tuning["splits"]["distinct"], 0);
    let file = fs::read_to_string(sandbox.path("net.tuning")).unwrap();
    let is_chain = |line: &&str| line.starts_with("chain gemm input=f32 ") && line.contains(" : height=");
    assert!(file.lines().filter(is_chain).all(|line| line.contains(" us=") && line.contains(" model_us=")), "{file}");
    let text = sandbox.stdout("compile net.ir --tuning-file net.tuning --name net -o again.so");
    assert!(text.contains(" chains by net.tuning"), "{text}");
    assert!(fs::read(sandbox.path("net.so")).unwrap() == fs::read(sandbox.path("again.so")).unwrap());

    // Band heights written by hand; the first four layers are the chain that the cost model proposes.
    let by_hand = |choice: &str| {
        let line = |line: &str| match line.split_once(" : ") {
            Some((key, _)) if key.starts_with("chain") && key.matches(" ; ").count() == 3 => {
                format!("{key} : {choice}")
            }
            _ if line.starts_with("chain") => String::new(),
            _ => line.to_owned(),
        };
        sandbox.write("hand.tuning", file.lines().map(line).collect::<Vec<_>>().join("\n").as_bytes());
        sandbox.stdout("compile net.ir --tuning-file hand.tuning --emit program -o net.program");
        fs::read_to_string(sandbox.path("net.program")).unwrap()
    };
    let program = by_hand("height=7");
    assert!(program.contains("  ; as measured, in 7 bands of 7 rows, "), "{program}");
    let program = by_hand("height=whole");
    assert!(!program.contains("  ; as measured, in "), "{program}");

    let report = sandbox.json("bench net.ir --tune");
    let tried = &report["chains"]["decisions"][0]["tried"];
    assert!(tried.as_array().is_some_and(|tried| tried.iter().any(|one| one["choice"] == "height=whole")), "{report}");
    assert!(report["chains"]["loss"].is_number() && report["splits"]["decisions"] == serde_json::json!([]));
}

#[test]
fn splits_are_timed_and_taken_up_again() {
    let sandbox = Sandbox::new();
    sandbox.write("net.ir", CHAIN.as_bytes());
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let error = format!(
        "64 threads cannot be timed on {cpus} cpus
  hint: tune fewer threads, or on a machine with more cpus, then compile with --tuning-file here"
    );
    if cpus < 64 {
        sandbox.fails("compile net.ir -o net.so --tune --threads 64", 2, &error);
    }
    if cpus < 2 {
        return;
    }
    let tuning = sandbox.json("compile net.ir --tune --threads 2 -o net.so")["tuning"].take();
    let splits = &tuning["splits"];
    assert!(splits["timed"].as_u64() >= Some(4) && splits["known"] == splits["distinct"], "{tuning}");
    assert_eq!(tuning["chains"]["distinct"], 0);
    let file = fs::read_to_string(sandbox.path("net.tuning")).unwrap();
    assert!(
        file.contains("\nsplit threads=2 gemm input=f32 ") && file.contains("\nsplit threads=2 depthwise input=f32 ")
    );
    let again = sandbox.json("compile net.ir --tuning-file net.tuning --threads 2 --name net -o again.so");
    assert_eq!(again["tuning"]["splits"]["timed"], 0);
    assert!(fs::read(sandbox.path("net.so")).unwrap() == fs::read(sandbox.path("again.so")).unwrap());

    let by_hand = |choice: &str| {
        let line = |line: &str| match line.split_once(" : ") {
            Some((key, _)) if key.starts_with("split") => format!("{key} : {choice}"),
            _ => line.to_owned(),
        };
        sandbox.write("hand.tuning", file.lines().map(line).collect::<Vec<_>>().join("\n").as_bytes());
        sandbox.stdout("compile net.ir --tuning-file hand.tuning --threads 2 --no-bands --emit program -o net.program");
        fs::read_to_string(sandbox.path("net.program")).unwrap().matches(" thread 1 {\n").count()
    };
    assert_eq!(by_hand("axis=none"), 0);
    assert!(by_hand("axis=2") >= 4);
    let report = sandbox.json("bench net.ir --tune --threads 2");
    assert!(report["splits"]["decisions"].as_array().is_some_and(|splits| splits.len() >= 4), "{report}");
}

#[test]
fn choices_by_hand_are_obeyed() {
    let sandbox = Sandbox::new();
    sandbox.write("net.tuning", BY_HAND.as_bytes());
    let arguments = "compile digits.onnx --target x86-64-v3 --tuning-file net.tuning --emit program -o net.program";
    let text = sandbox.stdout(arguments);
    assert!(text.contains("tuning      2 of 5 products"), "{text}");
    let program = fs::read_to_string(sandbox.path("net.program")).unwrap();
    let has = |result: &str, rest: &str| program.lines().any(|line| line.contains(result) && line.contains(rest));
    assert!(has("[1x32x8x8 :", "n=32, tile=3x8x1, row_block=2}"), "{program}");
    assert!(has("[1x64x4x4 :", "n=64, tile=2x40x1, row_block=1}"), "{program}");
}

#[test]
fn files_that_do_not_fit_are_errors() {
    let sandbox = Sandbox::new();
    sandbox.write("net.tuning", BY_HAND.as_bytes());
    let arguments = "compile digits.onnx -o net.so --tuning-file net.tuning --target";
    let error =
        "the tuning file is for x86-64-v3, the target is x86-64-v2\n  hint: give --target, or another --tuning-file";
    sandbox.fails(&format!("{arguments} x86-64-v2"), 2, error);
    sandbox.write("net.tuning", BY_HAND.replace("3x8 rows=2", "3x9 rows=2").as_bytes());
    let error = "cannot parse net.tuning
  caused by: line 5: expected a tile of at most 16 accumulator vectors whose channels are a multiple of 8, got 3x9";
    sandbox.fails(&format!("{arguments} x86-64-v3"), 4, error);
    let arguments = "compile digits.onnx -o net.so --tune --target";
    if let Some(elsewhere) = TARGETS.iter().find(|target| !target.runs_here()) {
        let error = format!(
            "this cpu does not run {}, so its kernels cannot be timed here
  hint: tune on a machine that supports the target, then compile with --tuning-file here",
            elsewhere.name
        );
        fs::remove_file(sandbox.path("net.tuning")).unwrap();
        sandbox.fails(&format!("{arguments} {}", elsewhere.name), 2, &error);
        assert_eq!(sandbox.new_files(), [""; 0]);
    }
    if TARGETS.iter().any(|target| target.name == "x86-64-v3" && target.runs_here()) {
        sandbox.write("net.tuning", BY_HAND.as_bytes());
        let ended = sandbox.run(&format!("{arguments} x86-64-v3"));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("the tuning file holds measurements of \"none\", this cpu is "), "{ended:?}");
    }
}

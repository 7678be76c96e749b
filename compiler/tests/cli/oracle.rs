//! `eightfold compare --oracle tract`, in builds with and without tract.

use crate::sandbox::Sandbox;

const COMPARE: &str = "compare digits.onnx --oracle tract --data digits_test.npz --samples 0..50";

#[cfg(feature = "oracle")]
#[test]
fn compiled_models_are_compared_with_tract() {
    use serde_json::Value;

    let sandbox = Sandbox::new();
    let logits = |report: &Value| {
        assert_eq!((&report["samples"], &report["outputs"][0]["name"]), (&50.into(), &"logits".into()), "{report}");
        report["outputs"][0]["sqnr_db"].as_f64().expect("a difference")
    };
    // The model without a compiled file.
    assert!(logits(&sandbox.json(COMPARE)) > 100.0);
    let compile = "compile digits.onnx --target x86-64-v3 --calibration-data digits_calibration.npz -o digits.so";
    sandbox.stdout(compile);
    let report = sandbox.json(&COMPARE.replace("digits.onnx", "digits.onnx digits.so"));
    assert!((25.0..60.0).contains(&logits(&report)), "{report}");
    assert!(report["outputs"][0]["top1_agreement"].as_f64() > Some(0.95), "{report}");
    let text = sandbox.stdout(&COMPARE.replace("digits.onnx", "digits.onnx digits.so"));
    assert!(text.contains("logits") && text.contains("SQNR dB"), "{text}");

    // Another batch size than the file declares.
    sandbox.stdout("compile digits.onnx --dim batch=2 --precision f32 -o two.so");
    assert!(logits(&sandbox.json(&COMPARE.replace("digits.onnx", "digits.onnx two.so --dim batch=2"))) > 100.0);
}

#[cfg(feature = "oracle")]
#[test]
fn what_tract_does_not_run_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.stdout("compile digits.onnx --precision f32 -o digits.ir");
    let ended = sandbox.run(&COMPARE.replace("digits.onnx", "digits.ir"));
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("error: tract does not run digits.ir\n  caused by: "), "{ended:?}");
}

#[cfg(not(feature = "oracle"))]
#[test]
fn a_program_without_tract_says_how_to_build_one_with_it() {
    let error = "this eightfold was built without tract\n  \
                 hint: build it with tract: cargo build --release --package eightfold-compiler --features oracle";
    Sandbox::new().fails(COMPARE, 2, error);
}

#[test]
fn an_oracle_stands_in_for_the_compiled_model_and_for_the_reference() {
    let sandbox = Sandbox::new();
    let refused = |arguments: &str| {
        let ended = sandbox.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments}: {ended:?}");
        ended.stderr
    };
    assert!(refused("compare digits.onnx --data digits_test.npz").contains("<ARTIFACT>"));
    assert!(refused(&format!("{COMPARE} --layers")).contains("ARTIFACT"));
    assert!(refused(&format!("{COMPARE} --reference")).contains("--reference"));
    assert!(sandbox.stdout("compare --help").contains("--oracle <NAME>"));
}

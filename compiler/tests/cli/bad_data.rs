//! Data that does not fit the model, or is not finite.

use eightfold_ir::{DType, Tensor};

use crate::sandbox::Sandbox;

/// Images of the digits model, all of the same brightness.
fn images(count: usize, value: f32) -> Tensor {
    Tensor::f32(&[count, 1, 8, 8], &vec![value; count * 64])
}

/// Labels that are all 3.
fn labels(count: usize) -> Tensor {
    Tensor::int(DType::I64, &[count], &vec![3; count])
}

/// Evaluates the digits model on these arrays, which must fail with this error.
#[track_caller]
fn eval_fails(arrays: &[(&str, Tensor)], code: i32, error: &str) {
    let sandbox = Sandbox::new();
    sandbox.write_npz("bad.npz", arrays);
    sandbox.fails("eval digits.onnx --reference --data bad.npz", code, error);
}

#[test]
fn an_input_of_another_name() {
    let arrays = [("picture", images(2, 0.5)), ("labels", labels(2))];
    eval_fails(&arrays, 4, "bad.npz: expected an array for each input (`image`), got `labels`, `picture`");
    let sandbox = Sandbox::new();
    sandbox.write_npz("one.npz", &[("picture", images(1, 0.5))]);
    let error = "--input: expected one of `image`, got `picture`";
    sandbox.fails("run digits.onnx --reference --input one.npz", 2, error);
    sandbox.fails("run digits.onnx --reference", 2, "--input: expected `image` once, got it 0 times");
}

#[test]
fn an_input_of_another_shape() {
    let narrow = Tensor::f32(&[2, 1, 8, 7], &[0.0; 112]);
    let error = "bad.npz: array `image`: expected shape Nx1x8x8 or Nx1x1x8x8, got 2x1x8x7";
    eval_fails(&[("image", narrow), ("labels", labels(2))], 4, error);
}

#[test]
fn an_input_of_another_type() {
    let bytes = Tensor::int(DType::U8, &[2, 1, 8, 8], &[7; 128]);
    let error = "bad.npz: array `image`: expected elements of type f32, got u8";
    eval_fails(&[("image", bytes), ("labels", labels(2))], 4, error);
}

#[test]
fn numbers_that_are_none() {
    let mut values = vec![0.5; 128];
    values[100] = f32::NAN;
    let arrays = [("image", Tensor::f32(&[2, 1, 8, 8], &values)), ("labels", labels(2))];
    eval_fails(&arrays, 4, "bad.npz: array `image`, sample 1: expected finite numbers, got NaN");
    values[3] = f32::NEG_INFINITY;
    let arrays = [("image", Tensor::f32(&[2, 1, 8, 8], &values)), ("labels", labels(2))];
    eval_fails(&arrays, 4, "bad.npz: array `image`, sample 0: expected finite numbers, got -inf");
}

#[test]
fn no_samples_at_all() {
    let sandbox = Sandbox::new();
    sandbox.write_npz("empty.npz", &[("image", images(0, 0.0))]);
    let error = "empty.npz: expected at least one sample, got none";
    sandbox.fails("calibrate digits.onnx --data empty.npz -o table", 4, error);
    sandbox.fails("compile digits.onnx --target x86-64-v3 --calibration-data empty.npz -o out.so", 4, error);
    sandbox.fails("eval digits.onnx --reference --data empty.npz", 4, error);
    assert_eq!(sandbox.new_files(), ["empty.npz"]);
}

#[test]
fn samples_that_are_not_there() {
    let sandbox = Sandbox::new();
    let error = "samples 600..700 do not exist: there are 600 samples";
    sandbox.fails("eval digits.onnx --reference --data digits_test.npz --samples 600..700", 2, error);
}

#[test]
fn labels_that_are_missing_or_too_few() {
    let error = "bad.npz has no labels: expected an array `labels`, or a labels.csv with images";
    eval_fails(&[("image", images(2, 0.5))], 4, error);
    let error = "bad.npz: array `labels`: expected 2 samples as in `image`, got 1";
    eval_fails(&[("image", images(2, 0.5)), ("labels", labels(1))], 4, error);
}

#[test]
fn data_of_no_known_form() {
    let sandbox = Sandbox::new();
    let error = "digits.onnx: expected a .npz or .npy file, or a folder of images";
    sandbox.fails("eval digits.onnx --reference --data digits.onnx", 2, error);
    let error = "cannot read absent.npz\n  caused by: No such file or directory (os error 2)";
    sandbox.fails("eval digits.onnx --reference --data absent.npz", 2, error);
    sandbox.write("broken.npz", b"PK\x03\x04 and then nothing");
    let ended = sandbox.run("eval digits.onnx --reference --data broken.npz");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("error: cannot read broken.npz\n  caused by: "), "{ended:?}");
}

#[test]
fn labels_that_are_no_classes() {
    for (label, row) in [(10, 1), (-1, 0)] {
        let labels = if row == 0 { [label, 3] } else { [3, label] };
        let error = format!(
            "bad.npz: label {label} of row {row} is none of the 10 classes of output \"logits\", 0 to 9
  hint: --label-offset N is added to each label, --output names another output of the model"
        );
        eval_fails(&[("image", images(2, 0.5)), ("labels", Tensor::int(DType::I64, &[2], &labels))], 4, &error);
    }
}

#[test]
fn calibration_data_that_is_one_number() {
    let sandbox = Sandbox::new();
    for value in ["0", "0.5"] {
        sandbox.write_npz("flat.npz", &[("image", images(16, value.parse().unwrap()))]);
        let error = format!(
            "calibration data is constant: all elements of input \"image\" are {value}
  hint: give real samples of the model's inputs"
        );
        sandbox.fails("calibrate digits.onnx --data flat.npz -o table", 4, &error);
        sandbox.fails("compile digits.onnx --target x86-64-v3 --calibration-data flat.npz -o out.so", 4, &error);
    }
    assert_eq!(sandbox.new_files(), ["flat.npz"]);
}

#[test]
fn few_samples_are_a_warning() {
    let sandbox = Sandbox::new();
    let warning = "warning: calibration on 7 samples: real values may lie far outside their ranges; 100 are usual\n";
    for (samples, warns) in [("0..7", true), ("0..8", false)] {
        let ended =
            sandbox.run(&format!("calibrate digits.onnx --data digits_calibration.npz --samples {samples} -o table"));
        assert_eq!((ended.code, ended.stderr.contains(warning)), (Some(0), warns), "{ended:?}");
    }
}

#[test]
fn options_of_calibration_that_nothing_would_read() {
    let sandbox = Sandbox::new();
    sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz --calibrator minmax -o table");
    let table = "compile digits.onnx --target x86-64-v3 -o out.so --calibration-table table";
    let data = "compile digits.onnx --target x86-64-v3 -o out.so --calibration-data digits_calibration.npz";
    for (arguments, error) in [
        (
            format!("{table} --calibrator minmax"),
            "--calibrator is for --calibration-data, the table has its ranges already",
        ),
        (
            format!("{table} --percentile 99"),
            "--percentile is for --calibration-data, the table has its ranges already",
        ),
        ("compile digits.onnx -o out.so --calibrator minmax".to_owned(), "--calibrator is for --calibration-data"),
        ("compile digits.onnx -o out.so --preprocess crop=8".to_owned(), "--preprocess is for --calibration-data"),
        (format!("{data} --momentum 0.5"), "--momentum is for --calibrator moving-average, the calibrator is mse"),
        (
            format!("{data} --calibrator percentile --deviations 3"),
            "--deviations is for --calibrator std-dev, the calibrator is percentile",
        ),
    ] {
        sandbox.fails(&arguments, 2, error);
    }
}

#[test]
fn a_calibration_table_of_another_model() {
    let sandbox = Sandbox::new();
    sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz --calibrator minmax -o table");
    let table = std::fs::read_to_string(sandbox.path("table")).unwrap();
    let compile = "compile digits.onnx --target x86-64-v3 --calibration-table changed -o out.so";
    let hint = "\n  hint: make a table for this model with eightfold calibrate, or correct the lines";

    // Another file with the same tensors can be intended, for instance after retraining.
    let hash = table.lines().find(|line| line.starts_with("hash ")).unwrap();
    sandbox.write("changed", table.replace(hash, "hash 0").as_bytes());
    let ended = sandbox.run(compile);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.stderr.contains("warning: changed: the table was made of another model file (digits)\n"),
        "{ended:?}"
    );

    sandbox.write("changed", table.replace("\ntensor image ", "\ntensor picture ").as_bytes());
    let error = format!("changed was made of another model (digits): the model has no tensor \"picture\"{hint}");
    sandbox.fails(compile, 4, &error);
    sandbox.fails("opt digits.onnx --passes insert_qdq --calibration-table changed", 4, &error);
    sandbox.fails("quantize digits.onnx --calibration-table changed -o out.onnx", 4, &error);

    // A missing line keeps a tensor in float.
    let without: String =
        table.lines().filter(|line| !line.starts_with("tensor image ")).map(|l| format!("{l}\n")).collect();
    sandbox.write("changed", without.as_bytes());
    sandbox.stdout(compile);

    sandbox.write("changed", format!("{table}\n").replace("\nmean image ", "\nmean image 1.0 ").as_bytes());
    let error = format!("changed: expected 1 means for tensor \"image\", one for each channel, got 2{hint}");
    sandbox.fails(compile, 4, &error);
}

#[test]
fn a_calibration_table_that_does_not_parse() {
    let sandbox = Sandbox::new();
    sandbox.write("table", b"this is no table\n");
    let ended = sandbox.run("compile digits.onnx --target x86-64-v3 --calibration-table table -o out.so");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("error: cannot parse table\n  caused by: line 1"), "{ended:?}");
}

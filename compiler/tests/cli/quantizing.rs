//! Quantization from the command line: models of one layer, reference evaluation, and exports that are exact on any
//! CPU.

use eightfold::dataset::read_npz;
use eightfold::{ImportOptions, Model};
use eightfold_ir::{DType, Graph, Tensor};

use crate::sandbox::Sandbox;

/// The imported graph of a file.
fn graph(sandbox: &Sandbox, file: &str) -> Graph {
    let Model { graph, .. } =
        eightfold::load(&sandbox.path(file), &ImportOptions::default()).expect("the model imports");
    graph
}

#[test]
fn a_model_that_needs_ranges_of_its_inputs_alone_is_quantized() {
    let sandbox = Sandbox::new();
    let image = "  input %x: 1x4x6x6xf32\n  const %w: 3x4x3x3xf32 = rand(seed=1)\n";
    let models = [
        (
            "matmul",
            "  input %x: 4x36xf32\n  const %w: 36x3xf32 = rand(seed=1)\n  %y = matmul(%x, %w) : 4x3xf32 ; \"m\"\n"
                .to_owned(),
        ),
        ("conv", format!("{image}  %y = conv(%x, %w) : 1x3x4x4xf32 ; \"c\"\n")),
        ("conv_transpose", format!("{image}  %y = conv_transpose(%x, %w) : 1x3x8x8xf32 ; \"t\"\n")),
        (
            "average",
            "  input %x: 1x4x6x6xf32\n  %y = pool(%x) {kind=average, kernel=[2, 2]} : 1x4x5x5xf32 ; \"p\"\n".to_owned(),
        ),
        (
            "two_readers",
            format!(
                "{image}  %y = conv(%x, %w) : 1x3x4x4xf32 ; \"c\"\n  %z = conv(%x, %w) |> relu : 1x3x4x4xf32 ; \"d\"\n  \
                 output %z\n"
            ),
        ),
    ];
    let numbers: Vec<f32> = (0..8 * 144).map(|i| (i % 23) as f32 / 11.0 - 1.0).collect();
    for (name, nodes) in &models {
        let shape: &[usize] = if *name == "matmul" { &[8, 4, 36] } else { &[8, 1, 4, 6, 6] };
        sandbox.write_npz("x.npz", &[("x", Tensor::f32(shape, &numbers))]);
        sandbox.write("net.ir", format!("graph @{name} {{\n{nodes}  output %y\n}}\n").as_bytes());
        assert_eq!(sandbox.json("calibrate net.ir --data x.npz -o net.table")["tensors"], 1, "{name}");
        let report = sandbox.json("compile net.ir --calibration-data x.npz -o net.so");
        assert_eq!((&report["precision"], &report["float_nodes"]), (&"int8".into(), &serde_json::json!([])), "{name}");
        let alike = sandbox.json("compare net.ir net.so --data x.npz");
        assert!(alike["outputs"][0]["mean_sqnr_db"].as_f64() > Some(30.0), "{name}: {alike}");
        let report = sandbox.json("quantize net.ir --calibration-table net.table -o net.onnx");
        assert_eq!(report["quantized_tensors"], 1, "{name}");
    }
}

/// Products with scales of 0.1 are halfway between two steps of 0.2, where float arithmetic rounds either way.
const TIES: &str = "graph @ties {
  qparams #0 = u8 per_tensor scale=0.1 zero_point=0
  qparams #1 = i8 per_tensor scale=0.1 zero_point=0
  qparams #2 = u8 per_tensor scale=0.2 zero_point=0
  input %x: 256x1xu8 #0
  const %wq: 1x4xi8 #1 = [1, 3, 5, 7]
  %xd = dequantize_linear(%x) : 256x1xf32 ; \"dq\"
  %w = dequantize_linear(%wq) : 1x4xf32 ; \"dq_w\"
  %p = matmul(%xd, %w) : 256x4xf32 ; \"matmul\"
  %y = quantize_linear(%p) : 256x4xu8 #2 ; \"q\"
  output %y
}
";

#[test]
fn the_reference_is_the_compiled_graph_or_the_model() {
    let sandbox = Sandbox::new();
    sandbox.write("ties.ir", TIES.as_bytes());
    sandbox.write_npz("x.npz", &[("x", Tensor::int(DType::U8, &[256, 1], &(0..256).collect::<Vec<_>>()))]);
    let outputs = |arguments: &str| {
        sandbox.stdout(&format!("run ties.ir {arguments} --input x.npz -o y.npz"));
        read_npz(&sandbox.path("y.npz")).expect("outputs")["y"].to_ints().expect("integers")
    };
    let compiled = outputs("");
    assert_eq!(outputs("--reference"), compiled);
    assert_eq!(outputs("--reference=compiled"), compiled);
    let model = outputs("--reference=model");
    let apart: Vec<i64> = model.iter().zip(&compiled).map(|(a, b)| (a - b).abs()).collect();
    let differing = apart.iter().filter(|steps| **steps > 0).count();
    assert!((1..100).contains(&differing) && apart.iter().all(|steps| *steps <= 1), "{differing} differ");

    sandbox.stdout("compile ties.ir -o ties.so");
    sandbox.write_npz("rows.npz", &[("x", Tensor::int(DType::U8, &[1, 256, 1], &(0..256).collect::<Vec<_>>()))]);
    let compare = |flag: &str| {
        let report = sandbox.json(&format!("compare ties.ir ties.so {flag} --data rows.npz"));
        report["outputs"][0]["max_abs"].as_f64().expect("a number")
    };
    assert_eq!(compare("--reference"), 0.0);
    assert!(compare("--reference=model") > 0.1);
}

#[test]
fn narrow_and_unsigned_weights_keep_sums_in_onnx_runtime_from_saturating() {
    let sandbox = Sandbox::new();
    sandbox.stdout("calibrate digits.onnx --data digits_calibration.npz --samples 0..16 -o table");
    let quantize = |options: &str, output: &str| {
        let arguments = format!("quantize digits.onnx --calibration-table table {options} -o {output} --format json");
        let ended = sandbox.run(&arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("one JSON value");
        (report["products_that_saturate_without_vnni"].as_u64().expect("a count"), ended.stderr)
    };
    let (saturating, warning) = quantize("", "signed.onnx");
    assert!(saturating > 0);
    let expected = format!("{saturating} of 6 products have i8 weights beyond +-64");
    assert!(warning.contains(&expected) && warning.contains("quantize with --weight-type u8"), "{warning}");
    for (weights, output) in [("i7", "narrow.onnx"), ("u8", "unsigned.onnx")] {
        let (saturating, warning) = quantize(&format!("--weight-type {weights}"), output);
        assert!(saturating == 0 && !warning.contains("warning"), "{weights}: {warning}");
    }
    let ended = sandbox.run("quantize digits.onnx --calibration-table table --weight-type i4 -o x.onnx");
    assert!(ended.code == Some(2) && ended.stderr.contains("[possible values: i8, i7, u8]"), "{ended:?}");

    // The integers differ only by the offset of 128.
    let weights = |file: &str, dtype: DType| {
        let graph = graph(&sandbox, file);
        let constants = graph.values().filter_map(|(id, _)| Some((id, graph.constant(id)?)));
        let of_type = constants.filter(|(_, tensor)| tensor.dtype() == dtype);
        let less_zero = of_type.map(|(id, tensor)| {
            let zero_point = i64::from(graph.quant(id).expect("quantized").zero_point[0]);
            tensor.to_ints().expect("integers").iter().map(|weight| weight - zero_point).collect::<Vec<_>>()
        });
        less_zero.collect::<Vec<_>>()
    };
    let signed = weights("signed.onnx", DType::I8);
    assert_eq!(signed.len(), 6);
    assert_eq!(weights("unsigned.onnx", DType::U8), signed);
    let greatest = |weights: &[Vec<i64>]| weights.iter().flatten().map(|weight| weight.abs()).max();
    assert_eq!((greatest(&signed), greatest(&weights("narrow.onnx", DType::I8))), (Some(127), Some(64)));
    for file in ["signed", "unsigned"] {
        sandbox.stdout(&format!("compile {file}.onnx -o {file}.so"));
    }
    let image: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
    sandbox.write_npz("in.npz", &[("image", Tensor::f32(&[1, 1, 8, 8], &image))]);
    let logits = |file: &str| {
        sandbox.stdout(&format!("run {file}.so --input in.npz -o out.npz"));
        read_npz(&sandbox.path("out.npz")).expect("outputs")["logits"].clone()
    };
    assert_eq!(logits("signed"), logits("unsigned"));
}

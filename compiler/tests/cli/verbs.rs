//! Every verb on the digits model: files, figures, and the names of fields that scripts rely on.

use std::fs;

use eightfold::dataset::read_npz;
use eightfold_ir::Tensor;
use serde_json::{Value, json};

use crate::sandbox::{Sandbox, assert_failed};

/// The figures below are for this target.
const TARGET: &str = "--target x86-64-v3";

/// A sandbox with the digits model compiled in int8.
fn compiled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.stdout(&format!("compile digits.onnx {TARGET} --calibration-data digits_calibration.npz -o digits.so"));
    sandbox
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().expect("an array").iter().map(|item| item["name"].as_str().expect("a name")).collect()
}

#[test]
fn compile_in_int8() {
    let sandbox = Sandbox::new();
    let arguments = format!(
        "compile digits.onnx {TARGET} --emit shared,header,ir,program --calibration-data digits_calibration.npz \
         --require-int8 99% --name net -o out"
    );
    let report = sandbox.json(&arguments);
    assert_eq!((&report["precision"], &report["target"]), (&"int8".into(), &"x86-64-v3".into()));
    assert_eq!((&report["symbol"], &report["macs"]), (&"net_query".into(), &1_236_096.into()));
    assert_eq!((&report["int8_mac_share"], &report["float_nodes"]), (&1.0.into(), &Value::Array(vec![])));
    assert_eq!((&report["calibration"]["calibrator"], &report["calibration"]["samples"]), (&"mse".into(), &128.into()));
    assert_eq!(sandbox.new_files(), ["out.h", "out.ir", "out.program", "out.so"]);
    let text = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    assert!(text("out.h").contains("const eightfold_model *net_query(void);"));
    assert!(text("out.program").contains("target=x86-64-v3"));
    let graph = eightfold_ir::parse(&text("out.ir")).expect("the graph reads back");
    assert_eq!(graph.nodes().filter(|node| node.op.name() == "conv").count(), 5);
}

/// By default the target decides about the range of weights: targets that add products in 16 bits reduce it.
#[test]
fn the_range_of_weights_is_the_targets_unless_it_is_given() {
    let sandbox = Sandbox::new();
    let calibration = "--calibration-data digits_calibration.npz --calibration-samples 0..8";
    for (options, reduced) in [
        ("--target x86-64-v3", true),
        ("--target x86-64-v3 --reduce-range=never", false),
        ("--target x86-64-v4-vnni", false),
        ("--target x86-64-v4-vnni --reduce-range", true),
    ] {
        let report = sandbox.json(&format!("compile digits.onnx {options} {calibration} --emit ir -o out.ir"));
        assert_eq!(report["reduced_range"], reduced, "{options}");
    }
}

#[test]
fn compile_in_bf16() {
    let sandbox = Sandbox::new();
    let arguments = format!("compile digits.onnx {TARGET} --precision bf16 --emit shared,program -o out");
    let report = sandbox.json(&arguments);
    assert_eq!((&report["precision"], &report["bf16_mac_share"]), (&"bf16".into(), &1.0.into()));
    let program = fs::read_to_string(sandbox.path("out.program")).unwrap();
    assert!(program.contains("gemm {input=bf16, "), "{program}");
    let described = sandbox.json("inspect out.so");
    let text = described.to_string();
    assert!(text.contains("\"precision\":\"bf16\"") && text.contains("\"bf16_mac_share\":1.0"), "{text}");
    let top1 = sandbox.json("eval out.so --data digits_test.npz")["top1"].as_f64().expect("a number");
    assert!(top1 >= 0.995, "{top1}");

    let ended = sandbox.run(&arguments);
    let note = "x86-64-v3 has no products of bf16: f32 instructions compute them, no faster than f32";
    assert!(ended.stderr.contains(note), "{ended:?}");
    let error = "calibration is for int8, the precision is bf16
  hint: leave --precision out, or the calibration";
    let arguments = "compile digits.onnx --precision bf16 --calibration-data digits_calibration.npz -o x.so";
    sandbox.fails(&format!("{arguments} {TARGET}"), 2, error);
}

#[test]
fn compile_with_weights_of_8_bits() {
    let sandbox = Sandbox::new();
    let float = sandbox.json(&format!("compile digits.onnx {TARGET} --precision f32 -o f32.so"));
    let arguments = format!("compile digits.onnx {TARGET} --precision weight-int8");
    let report = sandbox.json(&format!("{arguments} --emit shared,program -o out"));
    assert_eq!(report["precision"], "weight-int8");
    let share = report["weight_int8_mac_share"].as_f64().expect("a number");
    assert!((0.9..1.0).contains(&share), "the depthwise convolution stays in f32: {share}");
    assert!(report.to_string().contains("it is depthwise"), "{report}");
    let program = fs::read_to_string(sandbox.path("out.program")).unwrap();
    assert!(program.contains("gemm {input=f32, format=i8, "), "{program}");
    let bytes = |report: &serde_json::Value| report["weight_bytes"].as_f64().expect("a number");
    assert!(bytes(&report) < 0.3 * bytes(&float), "{} of {} bytes", bytes(&report), bytes(&float));
    let described = sandbox.json("inspect out.so").to_string();
    assert!(described.contains("\"precision\":\"weight-int8\""), "{described}");
    let top1 = sandbox.json("eval out.so --data digits_test.npz")["top1"].as_f64().expect("a number");
    assert!(top1 >= 0.995, "{top1}");

    let error = "--require-int8 is for arithmetic in int8, and weight-int8 computes in f32";
    sandbox.fails(&format!("{arguments} --require-int8 95% -o x.so"), 2, error);
    let report = sandbox.json(&format!("{arguments} --keep-float * -o none.so"));
    assert_eq!(report["weight_int8_mac_share"], 0.0);
    let error = "calibration is for int8, the precision is weight-int8
  hint: leave --precision out, or the calibration";
    sandbox.fails(&format!("{arguments} --calibration-data digits_calibration.npz -o x.so"), 2, error);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let sandbox = compiled();
    let first = fs::read(sandbox.path("digits.so")).unwrap();
    let again = compiled();
    assert!(first == fs::read(again.path("digits.so")).unwrap());
    // Also through a calibration table.
    again.stdout("calibrate digits.onnx --data digits_calibration.npz -o table");
    again.stdout(&format!("compile digits.onnx {TARGET} --calibration-table table -o digits.so"));
    assert!(first == fs::read(again.path("digits.so")).unwrap());
}

#[test]
fn int8_without_ranges_is_an_error_that_names_the_flag() {
    let sandbox = Sandbox::new();
    let error = "int8 needs the ranges of the tensors: the model has no QuantizeLinear and there is neither \
                 --calibration-data nor --calibration-table
  hint: give --calibration-data DATA, or compile with --precision f32";
    sandbox.fails(&format!("compile digits.onnx {TARGET} --precision int8 -o out.so"), 2, error);
    assert_eq!(sandbox.new_files(), [""; 0]);
}

#[test]
fn a_requirement_that_is_not_met_ends_with_1_and_names_what_is_in_float() {
    let sandbox = Sandbox::new();
    let arguments = format!("compile digits.onnx {TARGET} --precision f32 --require-int8 95% -o out.so");
    let ended = sandbox.run(&arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let expected = "error: 0.00% of the multiply-accumulates are in int8, 95.00% are required; in float:\n  conv at 5 nodes (\"stem/conv";
    assert!(ended.stderr.contains(expected), "{ended:?}");
    assert!(ended.stderr.contains(" and 2 more), 1235456 MACs: "), "{ended:?}");
    assert!(ended.stderr.contains("\n  matmul at node \"head/linear\", 640 MACs: "), "{ended:?}");
    let ended = sandbox.run(&format!("{arguments} --verbose"));
    assert!(ended.stderr.contains("\n  head/linear (matmul, 640 MACs): "), "{ended:?}");
    assert_eq!(sandbox.new_files(), [""; 0]);
}

#[test]
fn targets_that_do_not_exist() {
    let sandbox = Sandbox::new();
    let error = "no target is called \"pentium\", expected native or one of generic, x86-64-v2, x86-64-v3, \
                 x86-64-v3-vnni, x86-64-v4, x86-64-v4-vnni, x86-64-v4-vbmi, x86-64-v4-bf16, aarch64, \
                 aarch64-dotprod, aarch64-i8mm, aarch64-bf16
  hint: eightfold list targets describes them";
    sandbox.fails("compile digits.onnx --target pentium -o out.so", 2, error);
}

#[test]
fn calibrate_writes_a_table_for_each_calibrator() {
    let sandbox = Sandbox::new();
    for calibrator in ["minmax", "moving-average", "percentile", "std-dev", "entropy", "mse"] {
        let arguments =
            format!("calibrate digits.onnx --data digits_calibration.npz --calibrator {calibrator} -o table");
        let report = sandbox.json(&arguments);
        assert_eq!((&report["calibrator"], &report["samples"]), (&calibrator.into(), &128.into()));
        let table = fs::read_to_string(sandbox.path("table")).unwrap();
        let head = "eightfold calibration table 1\nmodel digits\nhash ";
        assert!(table.starts_with(head) && table.contains(&format!("\ncalibrator {calibrator}\n")), "{table}");
        assert_eq!(table.lines().filter(|line| line.starts_with("tensor ")).count() as u64, report["tensors"]);
        assert!(table.contains("\ntensor image 0.0 "), "{table}");
        assert!(table.contains("\nmean image "), "{table}");
    }
    sandbox.json("calibrate digits.onnx --data digits_calibration.npz --no-bias-correction -o table");
    let table = fs::read_to_string(sandbox.path("table")).unwrap();
    assert!(table.contains("\ntensor image 0.0 ") && !table.contains("\nmean "), "{table}");
    let error = "cannot calibrate
  caused by: no calibrator is called `best`, expected one of minmax, moving-average, percentile, std-dev, entropy, mse
  hint: eightfold list calibrators describes them";
    sandbox.fails("calibrate digits.onnx --data digits_calibration.npz --calibrator best -o table", 2, error);
}

#[test]
fn quantize_writes_a_model_that_compiles_to_int8_without_data() {
    let sandbox = compiled();
    let report = sandbox.json("quantize digits.onnx --calibration-data digits_calibration.npz -o quantized.onnx");
    assert!(report["quantized_tensors"].as_u64() >= Some(9), "{report}");
    let compiled = sandbox.json(&format!("compile quantized.onnx {TARGET} -o quantized.so"));
    assert_eq!((&compiled["precision"], &compiled["int8_mac_share"]), (&"int8".into(), &1.0.into()));
    let ours = sandbox.json("eval digits.so --data digits_test.npz");
    let theirs = sandbox.json("eval quantized.so --data digits_test.npz");
    assert_eq!(ours["top1"], theirs["top1"]);
    let program = |options: &str| {
        let data = "--calibration-data digits_calibration.npz --target x86-64-v3 --emit program";
        sandbox.json(&format!("compile digits.onnx {data} {options} -o program.txt"));
        fs::read_to_string(sandbox.path("program.txt")).unwrap()
    };
    let extra = |program: String| {
        // A list for each vector of channels; most are empty.
        let lists = program.split("extra=").skip(1).filter_map(|rest| rest.split(", ").next());
        lists.filter(|lists| lists.contains(|c: char| c.is_ascii_digit())).count()
    };
    let (full, reduced) = (extra(program("--reduce-range=never")), extra(program("")));
    assert!(full > reduced, "extra products for {full} and {reduced} of the calls");
    sandbox.fails(
        "quantize digits.onnx -o out.onnx",
        2,
        "quantizing needs the ranges of the tensors: give --calibration-data or --calibration-table",
    );
}

#[test]
fn opt_prints_a_graph_that_reads_back_and_says_what_fired() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run("opt --passes fold_constants,fuse,eliminate_dead --full digits.onnx");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("fuse: fired at \"stem/conv\", \"stem/batch_norm\""), "{}", ended.stderr);
    sandbox.write("fused.ir", ended.stdout.as_bytes());
    let again = sandbox.json("opt --full fused.ir");
    assert_eq!(again["ir"].as_str(), Some(ended.stdout.as_str()));
    let limited = sandbox.json("opt --passes simplify --pass-limit 1 digits.onnx");
    assert_eq!(
        limited["remarks"]
            .as_array()
            .map(|remarks| { remarks.iter().filter(|remark| remark["kind"] == "fired").count() }),
        Some(1)
    );
    let dumped = sandbox.run("opt --passes simplify --dump-after fuse --time-passes digits.onnx");
    assert!(dumped.stderr.contains("; after fuse\ngraph @"), "{}", dumped.stderr);
    let ended = sandbox.run("opt --passes tidy_up digits.onnx");
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("error: no pass is called `tidy_up`, expected one of assign_precision, "),
        "{ended:?}"
    );
}

#[test]
fn inspect_shows_the_precision_that_a_node_is_given() {
    let sandbox = Sandbox::new();
    let node = |name, precision| format!("  %{name} = conv(%x, %w){precision} : 1x1x2x2xf32\n  output %{name}\n");
    let nodes: String =
        [("a", ""), ("b", " in int8"), ("c", " in bf16"), ("d", " in f32")].map(|(n, p)| node(n, p)).concat();
    let constant = "const %w: 1x1x1x1xf32 = [0.5]";
    sandbox.write("g.ir", format!("graph @g {{\n  input %x: 1x1x2x2xf32\n  {constant}\n{nodes}}}\n").as_bytes());
    let nodes = sandbox.json("inspect g.ir")["nodes"].take();
    let nodes = nodes.as_array().expect("a list of nodes");
    let precisions: Vec<&str> = nodes.iter().filter_map(|node| node["precision"].as_str()).collect();
    assert_eq!(precisions, ["f32", "int8", "bf16", "f32"]);
}

#[test]
fn inspect_a_model_and_an_artifact() {
    let sandbox = compiled();
    let model = sandbox.json("inspect digits.onnx");
    assert_eq!(
        (&model["opset"], &model["macs"], &model["parameters"]),
        (&17.into(), &1_236_096.into(), &22_090.into())
    );
    assert_eq!((&model["inputs"][0]["name"], &model["inputs"][0]["type"]), (&"image".into(), &"1x1x8x8xf32".into()));
    assert_eq!(model["nodes"].as_array().map(Vec::len), Some(20));
    let artifact = sandbox.json("inspect digits.so");
    assert_eq!((&artifact["symbol"], &artifact["int8_mac_share"]), (&"digits_query".into(), &1.0.into()));
    assert_eq!(artifact["float_nodes"], Value::Array(vec![]));
    let variant = &artifact["variants"][0];
    assert_eq!((&variant["target"], &variant["threads"]), (&"x86-64-v3".into(), &1.into()));
    assert_eq!((names(&variant["inputs"]), names(&variant["outputs"])), (vec!["image"], vec!["logits"]));
    let provenance = &artifact["provenance"];
    assert_eq!((&provenance["target"], &provenance["options"]["precision"]), (&"x86-64-v3".into(), &"int8".into()));
    assert_eq!(provenance["model_sha256"], model["sha256"]);
    let text = sandbox.stdout("inspect digits.so");
    assert!(text.contains("\n  int8            100.00% of 1.24 M MACs"), "{text}");
    assert!(text.contains("\n  bias_correction true\n"), "{text}");
}

#[test]
fn threads_are_told_and_change_no_bytes() {
    let sandbox = compiled();
    let options = "--target x86-64-v3 --calibration-data digits_calibration.npz";
    let report = sandbox.json(&format!("compile digits.onnx -o two.so --threads 2 {options}"));
    assert_eq!(report["threads"], 2);
    let variant = &sandbox.json("inspect two.so")["variants"][0];
    // Such a small model runs on the first thread alone.
    assert_eq!((&variant["threads"], &variant["workers"]), (&2.into(), &0.into()));
    assert!(sandbox.stdout("inspect two.so").contains("2 threads (no call is worth sharing: the first does all)"));
    assert_eq!(sandbox.json("bench two.so --duration 0.01 --warmup 0")["threads"], 2);
    assert_eq!(sandbox.json("inspect two.so")["provenance"]["options"]["threads"], "2");
    assert!(sandbox.json("inspect digits.so")["provenance"]["options"].get("threads").is_none());
    let image: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
    sandbox.write_npz("in.npz", &[("image", Tensor::f32(&[1, 1, 8, 8], &image))]);
    for (threads, output) in [("", "one.npz"), ("--threads 2", "two.npz")] {
        sandbox.stdout(&format!("run digits.onnx {threads} --input in.npz -o {output}"));
    }
    let logits = |file: &str| read_npz(&sandbox.path(file)).unwrap()["logits"].clone();
    assert_eq!(logits("one.npz"), logits("two.npz"));
    for (command, says) in [
        ("compile digits.onnx -o x.so --threads 0", "invalid value '0' for '--threads <N>'"),
        ("compile digits.onnx -o x.so --threads 200", "200 is not in 1..=64"),
        ("run digits.onnx --dim batch=1 --dim batch=2", "--dim batch: expected once, got batch=1 and batch=2"),
        ("run two.so --threads 2 --input in.npz", "a compiled model has its own"),
        ("run digits.onnx --reference --threads 2 --input in.npz", "the reference evaluator runs on one"),
    ] {
        let ended = sandbox.run(command);
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{command}: {ended:?}");
    }
}

#[test]
fn run_writes_outputs_and_the_reference_agrees() {
    let sandbox = compiled();
    let image: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
    sandbox.write_npz("in.npz", &[("image", Tensor::f32(&[1, 1, 8, 8], &image))]);
    let outputs = |model: &str| {
        sandbox.stdout(&format!("run {model} --input in.npz -o out.npz"));
        read_npz(&sandbox.path("out.npz")).unwrap()["logits"].to_f32s().unwrap().to_vec()
    };
    let reference = outputs("digits.onnx --reference");
    let far = |other: Vec<f32>| {
        let scale = reference.iter().fold(0.0_f32, |scale, x| scale.max(x.abs()));
        reference.iter().zip(&other).fold(0.0_f32, |far, (a, b)| far.max((a - b).abs())) / scale
    };
    assert_eq!(reference.len(), 10);
    assert!(far(outputs("digits.onnx")) <= 1e-4);
    assert!(far(outputs("digits.so")) <= 0.1);
}

#[test]
fn eval_counts_what_is_right() {
    let sandbox = compiled();
    let float = sandbox.json("eval digits.onnx --data digits_test.npz");
    let int8 = sandbox.json("eval digits.so --data digits_test.npz --metric top1,top5");
    assert_eq!((&float["samples"], &int8["samples"]), (&600.into(), &600.into()));
    let top1 = |report: &Value| report["top1"].as_f64().expect("a fraction");
    assert_eq!((600.0 * top1(&float)).round(), 598.0);
    assert!(top1(&float) - top1(&int8) <= 0.005, "{int8}");
    assert!(int8["top5"].as_f64() >= Some(0.99));
    let few = sandbox.json("eval digits.onnx --reference --data digits_test.npz --samples 10..20 --metric top1");
    assert_eq!((&few["samples"], few.get("top5")), (&10.into(), None));
}

#[test]
fn bench_measures_at_least_one_run() {
    let sandbox = compiled();
    let report = sandbox.json("bench digits.so --duration 0.01 --warmup 0");
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).expect("a number");
    assert!(number("/latency_ms/min") > 0.0 && number("/latency_ms/min") <= number("/latency_ms/median"));
    assert!(number("/latency_ms/median") <= number("/latency_ms/p99"));
    assert_eq!((&report["threads"], &report["target"]), (&1.into(), &"x86-64-v3".into()));
    assert!(report["peak_memory_bytes"].as_u64() > Some(0) && report["runs"].as_u64() > Some(0));
    assert_eq!(report["macs"], 1_236_096);
    let at_peak = number("/macs") / number("/macs_per_second");
    assert!((1e3 * at_peak / number("/latency_ms/median") - 1.0).abs() < 1e-9 && number("/share_of_peak") > 0.0);
    let text = sandbox.stdout("bench digits.so --duration 0.01 --warmup 0");
    assert!(text.contains(" GMAC/s, ") && text.contains("% of the peak (1.24 M MACs an inference)"), "{text}");
}

#[test]
fn compare_by_output_and_by_layer() {
    let sandbox = compiled();
    let report = sandbox.json("compare digits.onnx digits.so --data digits_test.npz --samples 0..50 --layers");
    assert_eq!((&report["samples"], names(&report["outputs"])), (&50.into(), vec!["logits"]));
    let sqnr = |row: &Value| row["sqnr_db"].as_f64().expect("a difference");
    assert!((25.0..60.0).contains(&sqnr(&report["outputs"][0])), "{report}");
    assert!(report["outputs"][0]["cosine"].as_f64() > Some(0.99));
    let layers = report["layers"].as_array().unwrap();
    let worst_first: Vec<f64> = layers.iter().map(sqnr).collect();
    assert!(worst_first.is_sorted(), "{worst_first:?}");
    let layers = names(&report["layers"]);
    assert!(
        ["stem/relu/output", "block1/relu2/output", "logits"].iter().all(|name| layers.contains(name)),
        "{layers:?}"
    );

    sandbox.stdout(&format!("compile digits.onnx {TARGET} --precision f32 --dim batch=2 -o two.so"));
    let ended = sandbox.run("compare digits.onnx two.so --data digits_test.npz");
    let error = "the two models cannot be compared: one takes image 1x1x8x8xf32, the other image 2x1x8x8xf32";
    assert_failed(&ended, "compare", 2, error);
}

#[test]
fn list_knows_everything_there_is() {
    let sandbox = Sandbox::new();
    let rows = |what: &str| -> Vec<String> {
        let list = sandbox.json(&format!("list {what}"));
        names(&list).into_iter().map(str::to_owned).collect()
    };
    assert!(["Conv", "QLinearConv", "QuantizeLinear"].iter().all(|op| rows("ops").iter().any(|row| row == op)));
    let operators = sandbox.json("list ops");
    let conv = operators.as_array().unwrap().iter().find(|row| row["name"] == "Conv").unwrap();
    assert_eq!(conv["types"], "f32 bf16 i8 u8");
    assert!(["sin", "relu"].iter().all(|function| rows("functions").iter().any(|row| row == function)));
    assert!(rows("passes").iter().any(|pass| pass == "insert_qdq"));
    assert!(rows("kernels").iter().any(|family| family == "gemm"));
    let targets =
        ["x86-64-v2", "x86-64-v3", "x86-64-v3-vnni", "x86-64-v4", "x86-64-v4-vnni", "x86-64-v4-vbmi", "x86-64-v4-bf16"];
    let arm = ["aarch64", "aarch64-dotprod", "aarch64-i8mm", "aarch64-bf16"];
    assert_eq!(rows("targets"), [&["generic"], &targets[..], &arm].concat());
    let listed = sandbox.json("list targets");
    assert_eq!(listed[8]["tested"], "by all tests, in QEMU");
    assert_eq!([&listed[8]["architecture"], &listed[8]["runs_here"]], [&json!("aarch64"), &json!(false)]);
    assert_eq!(rows("calibrators"), ["minmax", "moving-average", "percentile", "std-dev", "entropy", "mse"]);
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let sandbox = Sandbox::new();
    let precision = sandbox.run("compile digits.onnx -o x.so --precision fp16").stderr;
    assert!(
        precision.contains("[possible values: auto, f32, bf16, int8, weight-int8]") && !precision.contains("similar"),
        "{precision}"
    );
    for arguments in ["", "compile", "frobnicate", "compile digits.onnx -o x --emit=film", "list everything"] {
        let ended = sandbox.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments}: {ended:?}");
    }
    let json = |arguments: &str| -> Value {
        let ended = sandbox.run(&format!("{arguments} --format json"));
        assert_eq!(ended.stdout, "", "{ended:?}");
        serde_json::from_str(ended.stderr.lines().last().expect("an error")).expect("one line of JSON")
    };
    let error = &json("compile absent.onnx -o x.so")["error"];
    assert_eq!((&error["message"], &error["exit_code"]), (&"cannot read absent.onnx".into(), &2.into()));
    assert_eq!(error["causes"], serde_json::json!(["No such file or directory (os error 2)"]));
    let error = &json("compile digits.onnx -o x.so --precision fp16")["error"];
    assert!(error["message"].as_str().is_some_and(|text| text.starts_with("invalid value 'fp16'")), "{error}");
    assert_eq!((&error["fault"], &error["exit_code"]), (&"usage".into(), &2.into()));
    let help = sandbox.stdout("--help");
    assert!(help.contains("\n  3  unsupported model\n"), "{help}");
    let verbs = ["compile", "calibrate", "quantize", "opt", "inspect", "run", "bench", "eval", "compare", "list"];
    assert!(verbs.iter().all(|verb| help.contains(&format!("\n  {verb} "))), "{help}");
}

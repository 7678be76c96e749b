//! Peaks, profiles and rooflines: tables, fields and errors, but no times.

use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const TARGET: &str = "--target x86-64-v3";
const INT8: &str = "--target x86-64-v3 --calibration-data digits_calibration.npz";

/// Peaks that make all times easy: a multiply-accumulate takes 1 ns, an operation 1 ns, a byte 1 us.
fn peaks(target: &str) -> Vec<u8> {
    let level = |name: &str, bytes: Value| json!({"name": name, "bytes": bytes, "read_bytes_per_second": 1e6});
    let machine = json!({
        "cpu": "slow", "target": target,
        "int8_macs_per_second": 1e9, "bf16_macs_per_second": 2e8, "f32_macs_per_second": 1e8, "operations_per_second": 1e9,
        "levels": [level("L1", json!(32768)), level("memory", Value::Null)],
    });
    machine.to_string().into_bytes()
}

fn sum(rows: &Value, field: &str) -> f64 {
    rows.as_array().expect("rows").iter().map(|row| row[field].as_f64().expect("a number")).sum()
}

fn named<'v>(rows: &'v Value, kernel: &str, layer: &str) -> &'v Value {
    let fits = |row: &&Value| {
        row["kernel"].as_str().unwrap().starts_with(kernel) && row["name"].as_str().unwrap().contains(layer)
    };
    rows.as_array().expect("rows").iter().find(fits).unwrap_or_else(|| panic!("no {kernel} of {layer} in {rows}"))
}

#[test]
fn a_machine_has_peaks() {
    let sandbox = Sandbox::new();
    let machine = sandbox.json(&format!("bench --machine {TARGET}"));
    assert_eq!(machine["target"], "x86-64-v3");
    for peak in ["int8_macs_per_second", "f32_macs_per_second", "operations_per_second"] {
        assert!(machine[peak].as_f64() > Some(0.0), "{peak}: {machine}");
    }
    let levels = machine["levels"].as_array().expect("levels");
    assert!(levels.iter().all(|level| level["read_bytes_per_second"].as_f64() > Some(0.0)), "{machine}");
    let last = levels.last().expect("memory");
    assert_eq!((&last["name"], &last["bytes"]), (&"memory".into(), &Value::Null));
    let text = sandbox.stdout(&format!("bench --machine {TARGET}"));
    sandbox.stdout(&format!("bench --machine {TARGET} -o peaks.json"));
    assert_eq!(sandbox.json(&format!("inspect digits.onnx --roofline {TARGET} --peaks peaks.json"))["macs"], 1_236_096);
    for words in ["GMAC/s", "epilogue", "GB/s", "memory", "one core of ", ", x86-64-v3"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_profile_has_a_row_for_each_call() {
    let sandbox = Sandbox::new();
    let report = sandbox.json(&format!("bench digits.onnx --profile {INT8} --duration 0.01"));
    assert_eq!((&report["precision"], &report["target"]), (&"int8".into(), &"x86-64-v3".into()));
    assert_eq!((&report["model"], &report["macs"]), (&"digits".into(), &1_236_096.into()));
    let calls = &report["calls"];
    assert_eq!(sum(calls, "macs"), 1_236_096.0);
    assert!((sum(calls, "share") - 1.0).abs() < 1e-9 && report["runs"].as_u64() >= Some(3));
    assert!((sum(calls, "bound_ms") / report["bound_ms"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    let conv = named(calls, "gemm_u8_4x16c4", "block1/conv1");
    assert_eq!((&conv["shape"], &conv["macs"]), (&"64x288x32".into(), &589_824.into()));
    assert_eq!((&conv["input_bytes"], &conv["output_bytes"]), (&2048.into(), &2048.into()));
    assert!(conv["weight_bytes"].as_u64() >= Some(9216) && conv["arithmetic"] == "int8");
    assert!(conv["executed_macs"].as_u64() >= Some(589_824) && conv["macs_per_byte"].as_f64() > Some(20.0));
    assert!(conv["min_ms"].as_f64() > Some(0.0) && conv["min_ms"].as_f64() <= conv["median_ms"].as_f64());
    let ratio = conv["compute_ms"].as_f64().unwrap() / conv["median_ms"].as_f64().unwrap();
    assert!((conv["share_of_peak"].as_f64().unwrap() - ratio).abs() < 1e-9);
    let limits = ["compute", "epilogue", "memory", "padding", "overhead"];
    assert!(calls.as_array().unwrap().iter().all(|row| limits.contains(&row["limit"].as_str().unwrap())));
    assert_eq!(named(calls, "pool", "max_pool")["share_of_peak"], Value::Null);
    assert_eq!(report["machine"]["target"], "x86-64-v3");

    let text = sandbox.stdout(&format!("bench digits.onnx --profile --calls {TARGET} --precision f32 --duration 0.01"));
    assert!(text.starts_with("digits, f32, x86-64-v3: ") && text.contains("of the peak\n"), "{text}");
    assert!(report["total_min_ms"].as_f64() <= report["total_ms"].as_f64());
    let header = text.lines().find(|line| line.contains("kernel")).expect("a header");
    let columns: Vec<&str> = header.split_whitespace().collect();
    let expected = "kernel shape us time MACs padding in weights out MAC/B peak bound us limit layer";
    assert_eq!(columns.join(" "), expected);
    assert!(text.contains("gemm_f32_6x16c1  64x288x32 "), "{text}");
    assert!(text.lines().last().expect("totals").trim_start().starts_with("total "), "{text}");
}

/// A layer has one row, however many calls it has, and the slowest layers come first.
#[test]
fn a_profile_and_a_roofline_have_a_row_for_each_layer() {
    let sandbox = Sandbox::new();
    sandbox.write("peaks.json", &peaks("x86-64-v3"));
    for (verb, time) in [
        (format!("bench digits.onnx --profile {INT8} --duration 0.01"), "median_ms"),
        (format!("inspect digits.onnx --roofline --peaks peaks.json {INT8}"), "bound_ms"),
    ] {
        let report = sandbox.json(&verb);
        let (layers, calls) = (report["layers"].as_array().unwrap(), report["calls"].as_array().unwrap());
        assert_eq!(layers.iter().map(|layer| layer["calls"].as_u64().unwrap()).sum::<u64>(), calls.len() as u64);
        assert_eq!(sum(&report["layers"], "macs"), 1_236_096.0);
        assert!((sum(&report["layers"], time) / sum(&report["calls"], time) - 1.0).abs() < 1e-9, "{report}");
        assert!(layers.iter().map(|layer| layer[time].as_f64().unwrap()).is_sorted_by(|a, b| a >= b), "{report}");
        let names: Vec<&str> = layers.iter().map(|layer| layer["name"].as_str().unwrap()).collect();
        let once: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(once.len(), names.len(), "{names:?}");

        let text = sandbox.stdout(&format!("{verb} --top 2"));
        let table: Vec<&str> = text.lines().skip_while(|line| !line.contains("layer  ")).collect();
        assert_eq!(table.len(), 5, "{text}");
        assert!(
            table[3].trim_start().starts_with("total ") && table[4].ends_with("--calls each kernel call"),
            "{text}"
        );
    }
}

/// A model is compiled first, as eightfold compile would.
#[test]
fn a_model_is_timed_like_its_library() {
    let sandbox = Sandbox::new();
    let report =
        sandbox.json(&format!("bench digits.onnx {INT8} --threads 2 --dim batch=4 --duration 0.01 --warmup 0"));
    assert_eq!((&report["threads"], &report["macs"]), (&2.into(), &(4 * 1_236_096).into()));
    let ratio = report["samples_per_second"].as_f64().unwrap() / report["per_second"].as_f64().unwrap();
    assert!((ratio - 4.0).abs() < 1e-9 && report.get("file_bytes").is_none(), "{report}");
    let text = sandbox.stdout(&format!("bench digits.onnx {TARGET} --duration 0.01 --warmup 0"));
    for words in [" ms p50, ", " ms p90, ", " ms p99, ", " ms least of ", " inferences a second on 1 thread"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    sandbox.stdout(&format!("compile digits.onnx {TARGET} -o digits.so"));
    for option in ["--threads 2", "--precision int8", "--tuning-file x", "--dim batch=1"] {
        let name = option.split(' ').next().unwrap();
        let error = format!("{name} is for models that are compiled first, digits.so is compiled already");
        sandbox.fails(&format!("bench digits.so {option}"), 2, &error);
    }
}

#[test]
fn int8_without_ranges_takes_noise_where_only_time_counts() {
    let sandbox = Sandbox::new();
    sandbox.write("peaks.json", &peaks("x86-64-v3"));
    let ended = sandbox.run(&format!("inspect digits.onnx --roofline --peaks peaks.json {TARGET} --precision int8"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("calibration: on noise, as only the time is measured"), "{ended:?}");
    assert!(ended.stdout.starts_with("digits, int8, x86-64-v3: at least "), "{ended:?}");
}

#[test]
fn a_roofline_counts_before_anything_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("peaks.json", &peaks("x86-64-v3"));
    let report = sandbox.json(&format!("inspect digits.onnx --roofline --peaks peaks.json {INT8}"));
    assert_eq!((&report["kind"], &report["macs"]), (&"roofline".into(), &1_236_096.into()));
    let calls = &report["calls"];
    let bound = report["bound_ms"].as_f64().unwrap();
    assert!((sum(calls, "bound_ms") / bound - 1.0).abs() < 1e-9, "{report}");
    // Which tile it has depends on the peaks.
    let conv = named(calls, "gemm_u8_", "block1/conv1");
    let number = |field: &str| conv[field].as_f64().unwrap();
    let close = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 1e-9, "{got} {expected}");
    // With a reduced range, four products are added by five instructions instead of six.
    close(number("compute_ms"), 0.589_824 * 5.0 / 6.0);
    close(number("epilogue_ms"), 1e-6 * number("operations"));
    let bytes = number("input_bytes") + number("weight_bytes") + number("output_bytes");
    close(number("memory_ms"), 1e-3 * bytes);
    assert_eq!((&conv["limit"], &conv["bound_ms"]), (&"memory".into(), &conv["memory_ms"]));
    let text = sandbox.stdout(&format!("inspect digits.onnx --roofline --calls --peaks peaks.json {TARGET}"));
    assert!(text.starts_with("digits, f32, x86-64-v3: at least "), "{text}");
    let header = text.lines().find(|line| line.contains("kernel")).expect("a header");
    let expected = "kernel shape MACs padding bytes compute us epilogue us memory us bound us limit layer";
    assert_eq!(header.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    // Any target of which there are peaks.
    sandbox.write("newer.json", &peaks("x86-64-v4-vbmi"));
    let newer = "inspect digits.onnx --roofline --target x86-64-v4-vbmi --peaks newer.json";
    assert_eq!(sandbox.json(newer)["target"], "x86-64-v4-vbmi");
}

/// With peaks of a slow second-level cache and of no caches, other kernels are chosen, and the results stay the same.
#[test]
fn cost_models_go_by_the_peaks_of_a_machine() {
    let sandbox = Sandbox::new();
    sandbox.write("peaks.json", &peaks("x86-64-v3"));
    let program = |peaks: &str| {
        sandbox.stdout(&format!("compile digits.onnx {INT8} {peaks} --name digits --emit=shared,program -o net.so"));
        std::fs::read_to_string(sandbox.path("net.program")).expect("written")
    };
    let usual = program("");
    assert!(!sandbox.stdout("inspect net.so").contains(" measured on "));
    let outputs = || sandbox.json("compare digits.onnx net.so --data digits_test.npz --samples 0..8")["outputs"].take();
    let before = outputs();
    assert_ne!(program("--peaks peaks.json"), usual);
    assert!(sandbox.stdout("inspect net.so").contains(" measured on slow, sha256 "));
    assert_eq!(outputs(), before);
    let library = std::fs::read(sandbox.path("net.so")).expect("written");
    program("--peaks peaks.json");
    assert_eq!(std::fs::read(sandbox.path("net.so")).expect("written"), library);

    sandbox.write("newer.json", &peaks("x86-64-v4"));
    let error = "the peaks are for x86-64-v4, the target is x86-64-v3
  hint: give --target, or peaks that were measured with it";
    sandbox.fails(&format!("compile digits.onnx {TARGET} --peaks newer.json -o other.so"), 2, error);
}

#[test]
fn what_cannot_be_told_says_what_to_give() {
    let sandbox = Sandbox::new();
    sandbox.stdout(&format!("compile digits.onnx {TARGET} -o digits.so"));
    let error = "digits.so is a compiled model, which does not record its calls
  hint: give the source model instead, with the flags of eightfold compile";
    sandbox.fails("bench digits.so --profile", 2, error);
    sandbox.fails("inspect digits.so --roofline", 2, error);

    sandbox.write("newer.json", &peaks("x86-64-v4"));
    let error = "the peaks are for x86-64-v4, the target is x86-64-v3
  hint: give --target, or peaks that were measured with it";
    sandbox.fails(&format!("inspect digits.onnx --roofline --peaks newer.json {TARGET}"), 2, error);
    let hint = "\n  hint: eightfold bench --machine -o FILE saves the peaks of a machine; compile, bench and inspect read them \
                with --peaks FILE";
    sandbox.write("none.json", b"{\"target\": 3}");
    let ended = sandbox.run(&format!("inspect digits.onnx --roofline --peaks none.json {TARGET}"));
    assert_eq!(ended.code, Some(4));
    assert!(ended.stderr.contains("error: none.json does not hold the peaks of a machine"), "{ended:?}");
    assert!(ended.stderr.trim_end().ends_with(hint), "{ended:?}");
    let stopped = String::from_utf8(peaks("x86-64-v3")).unwrap().replace("100000000.0", "0.0");
    sandbox.write("stopped.json", stopped.as_bytes());
    let error = format!("stopped.json: expected rates above zero, and memory as the last level{hint}");
    sandbox.fails(&format!("inspect digits.onnx --roofline --peaks stopped.json {TARGET}"), 4, &error);

    for arguments in [
        "bench",
        "bench digits.so --machine",
        "bench digits.so --precision int8",
        "bench --machine --precision int8",
        "inspect digits.onnx --precision int8",
        "inspect digits.onnx --peaks newer.json",
    ] {
        let ended = sandbox.run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments}: {ended:?}");
    }
}

#[test]
fn a_target_that_does_not_run_here_needs_its_peaks() {
    let newest = eightfold_codegen::target::TARGETS.last().expect("targets");
    if newest.runs_here() {
        eprintln!("SKIPPED: this machine runs all targets");
        return;
    }
    let sandbox = Sandbox::new();
    let error = format!(
        "this cpu does not run {}, so it cannot be measured here
  hint: eightfold bench --machine -o FILE saves the peaks of a machine; compile, bench and inspect read them with \
         --peaks FILE",
        newest.name
    );
    for verb in ["bench --machine", "bench digits.onnx --profile", "inspect digits.onnx --roofline"] {
        sandbox.fails(&format!("{verb} --target {}", newest.name), 2, &error);
    }
}

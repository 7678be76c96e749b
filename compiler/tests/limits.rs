//! Limits for any model size, real or claimed: steps, calls, code, memory. Also: damaged artifacts and passes that stop
//! early do no harm.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use eightfold::artifact::{Artifact, ArtifactError};
use eightfold::dataset::{Dataset, DatasetOptions, Sample};
use eightfold::{
    CalibrateOptions, Compiled, Error, Executable, Fault, ImportOptions, MemoryLimit, Model, OptimizeOptions,
    PrecisionRequest,
};
use eightfold_codegen::choice::Prefer;
use eightfold_codegen::lower::lower;
use eightfold_codegen::object::Linker;
use eightfold_codegen::target::{Target, X86_64};
use eightfold_ir::{Graph, Shape, Tensor, eval, verify};
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use tempfile::TempDir;

fn target(name: &str) -> &'static Target {
    Target::find(name).expect("a target")
}

/// Parses a model from text.
fn model(text: &str) -> Model {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.ir");
    fs::write(&path, text).expect("written");
    eightfold::load(&path, &ImportOptions::default()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn compiled(text: &str, target: &'static Target) -> (Graph, Compiled) {
    let optimized = eightfold::optimize(&model(text), None, &OptimizeOptions::new(target), &mut ()).expect("optimized");
    let compiled = eightfold::compile(&optimized, "limits", Default::default()).expect("compiled");
    (optimized.graph, compiled)
}

/// Size in bytes of the longest function in an object file.
fn longest_function(object: &[u8]) -> u64 {
    let file = object::File::parse(object).expect("an object file");
    let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    functions.map(|symbol| symbol.size()).max().expect("functions")
}

/// `count` pointwise nodes in sequence.
fn chain(count: usize, step: &str) -> String {
    let mut text = "graph @chain {\n  input %x: 2x64xf32\n".to_owned();
    for node in 0..count {
        let operand = if node == 0 { "x".to_owned() } else { format!("t{}", node - 1) };
        _ = writeln!(text, "  %t{node} = map(%{operand}) |> {step} : 2x64xf32 ; \"/{node}\"");
    }
    text + &format!("  output %t{}\n}}\n", count - 1)
}

#[test]
fn a_long_chain_becomes_nodes_of_at_most_32_steps_and_a_remark_says_so() {
    let optimized =
        eightfold::optimize(&model(&chain(1000, "sigmoid")), None, &OptimizeOptions::new(target("x86-64-v3")), &mut ());
    let optimized = optimized.expect("optimized");
    let steps: Vec<usize> = optimized.graph.nodes().map(|node| node.epilogue.steps.len()).collect();
    assert_eq!(steps.len(), 1000_usize.div_ceil(32));
    assert_eq!((steps.iter().sum::<usize>(), steps.iter().max()), (1000, Some(&32)));
    let told = optimized.remarks.iter().filter(|remark| remark.message.ends_with("steps, at most 32 are fused"));
    assert_eq!(told.count(), steps.len() - 1);
}

#[test]
fn remarks_about_a_chain_that_becomes_one_node_do_not_list_it_at_each_step() {
    let text = chain(1000, "relu");
    let optimized = eightfold::optimize(&model(&text), None, &OptimizeOptions::new(target("x86-64-v3")), &mut ());
    let optimized = optimized.expect("optimized");
    assert_eq!(optimized.graph.nodes().map(|node| node.origin.names().count()).collect::<Vec<_>>(), [1000]);
    let longest = optimized.remarks.iter().map(|remark| remark.origin.len()).max();
    assert!(longest.is_some_and(|bytes| bytes < 512), "{longest:?} bytes");
}

#[test]
fn nodes_of_equal_steps_share_their_code_and_long_steps_are_called() {
    for name in ["x86-64-v2", "x86-64-v3"] {
        let code = |count| compiled(&chain(count, "sigmoid"), target(name)).1.code_bytes();
        let [short, long] = [code(64), code(640)];
        assert!(long < short + (8 << 10) && long < 64 << 10, "{name}: {short} and {long} bytes");
    }
}

#[test]
fn a_function_with_a_dozen_instructions_for_each_product_is_no_megabyte_behind_a_change_of_layout() {
    let text = "graph @mish {
  qparams #0 = u8 per_tensor scale=0.1 zero_point=128
  input %x: 1x16x17x19xu8 #0
  %n = relayout(%x) {to=nhwc} : 1x16x17x19xu8 nhwc #0
  %y = map(%n) |> dequantize {scale=0.1, zero_point=128} |> softplus |> tanh : 1x16x17x19xf32
  output %y
}
";
    let (_, compiled) = compiled(text, target("x86-64-v2"));
    assert!(compiled.code_bytes() < 64 << 10, "{}", compiled.code_bytes());
}

#[test]
fn thousands_of_outputs_are_written_by_functions_of_bounded_length() {
    const COUNT: usize = 700;
    let mut text = format!("graph @split {{\n  input %x: {COUNT}x2xf32\n");
    for row in 0..COUNT {
        _ = writeln!(text, "  %y{row} = slice(%x) {{starts=[{row}, 0], sizes=[1, 2]}} : 1x2xf32");
    }
    (0..COUNT).for_each(|row| _ = writeln!(text, "  output %y{row}"));
    text += "}\n";
    let (_, compiled) = compiled(&text, target("x86-64-v3"));
    assert_eq!(compiled.program.calls().len(), COUNT);
    let longest = longest_function(compiled.object.code());
    assert!(longest < 16 << 10, "{longest} bytes");

    let numbers: Vec<f32> = (0..2 * COUNT).map(|i| i as f32).collect();
    let inputs = [Tensor::f32(&[COUNT, 2], &numbers)];
    let model = model(&text);
    let outputs = Executable::compile(&model, &mut ()).expect("compiled").run(&inputs).expect("runs");
    assert_eq!(outputs, eval(&model.graph, &inputs).expect("evaluates"));
}

#[test]
fn calls_of_a_transposed_convolution_follow_the_kernel_and_not_the_stride() {
    let text = "graph @sparse {
  input %x: 1x2x3x3xf32
  const %w: 3x2x2x3xf32 = rand(seed=1)
  const %b: 3xf32 = [0.5, -1.0, 2.0]
  const %r: 1x3x82x83xf32 = rand(seed=2)
  %y = conv_transpose(%x, %w, %b) {strides=[40, 40]} |> relu |> add %r : 1x3x82x83xf32
  output %y
}
";
    let (_, compiled) = compiled(text, target("x86-64-v3"));
    let calls = compiled.program.calls().len();
    assert!(calls < 6 + 10, "{calls} calls\n{}", compiled.program);

    let model = model(text);
    let inputs = [Tensor::f32(&[1, 2, 3, 3], &(0..18).map(|i| (i as f32 - 7.0) * 0.3).collect::<Vec<_>>())];
    let outputs = Executable::compile(&model, &mut ()).expect("compiled").run(&inputs).expect("runs");
    let expected = eval(&model.graph, &inputs).expect("evaluates");
    let [got, expected] = [&outputs[0], &expected[0]].map(|tensor| tensor.to_f32s().expect("floats"));
    assert!(got.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-5), "other numbers");
}

#[test]
fn tensors_beyond_the_limit_are_refused_by_name_before_memory_is_asked_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("large.ir");
    let text = "graph @large {\n  input %x: 1x1xf32\n  %wide = expand(%x) {shape=[1000000, 1000000]} : 1000000x1000000xf32\n  \
                %y = reduce(%wide) {kind=max, axes=[0, 1], keepdims=true} : 1x1xf32\n  output %y\n}\n";
    fs::write(&path, text).expect("written");
    let options = ImportOptions { memory: MemoryLimit(1 << 30), ..ImportOptions::default() };
    let error = eightfold::load(&path, &options).expect_err("too large");
    assert_eq!(
        (error.to_string().as_str(), error.fault()),
        ("tensor \"wide\" (1000000x1000000xf32) takes 3.6 TiB, the limit is 1.0 GiB", Fault::Unsupported)
    );
}

#[test]
fn a_model_whose_tensors_fit_one_by_one_may_still_be_too_large_together() {
    let mut text = "graph @wide {\n  input %x: 256x256xf32\n".to_owned();
    (0..8).for_each(|i| _ = writeln!(text, "  %y{i} = map(%x) |> add {i}.5 : 256x256xf32"));
    (0..8).for_each(|i| _ = writeln!(text, "  output %y{i}"));
    let mut model = model(&(text + "}\n"));
    model.memory = MemoryLimit(2 << 20);
    let optimized =
        eightfold::optimize(&model, None, &OptimizeOptions::new(target("x86-64-v3")), &mut ()).expect("optimized");
    let error = eightfold::compile(&optimized, "wide", Default::default()).expect_err("too large");
    let message =
        "the compiled model, with its arena, inputs, outputs and weights, takes 2.2 MiB, the limit is 2.0 MiB";
    assert!(matches!(error, Error::TooLarge(_)) && error.to_string() == message, "{error}");
}

/// Winograd needs sixteen words of weights for nine bytes.
#[test]
fn whoever_prefers_size_gets_weights_of_about_a_byte_each() {
    let text = "graph @unet {
  input %x: 1x32x16x16xf32
  const %w: 64x32x3x3xf32 = rand(seed=1, std=0.1)
  %y = conv(%x, %w) {pads=[1, 1, 1, 1]} |> relu : 1x64x16x16xf32 ; \"/conv\"
  const %v: 64x64x3x3xf32 = rand(seed=2, std=0.1)
  %z = conv(%y, %v) {pads=[1, 1, 1, 1]} : 1x64x16x16xf32 ; \"/conv2\"
  output %z
}
";
    let model = model(text);
    let options = OptimizeOptions { precision: PrecisionRequest::Int8, ..OptimizeOptions::new(target("x86-64-v3")) };
    let sample = [Ok(Sample::noise(&model.inputs()))].into_iter();
    let table = eightfold::calibrate(&model, sample, &CalibrateOptions::new(options.clone()), &mut ()).expect("ranges");
    let weights = |prefer| {
        let options = OptimizeOptions { prefer, ..options.clone() };
        let optimized = eightfold::optimize(&model, Some(table.clone()), &options, &mut ()).expect("optimized");
        let compiled = eightfold::compile(&optimized, "unet", Default::default()).expect("compiled");
        let named = compiled.provenance.options.iter().any(|(name, value)| name == "prefer" && value == "size");
        assert_eq!(named, prefer == Prefer::Size);
        compiled.provenance.weight_bytes
    };
    let numbers = (32 + 64) * 64 * 9;
    let [size, speed] = [Prefer::Size, Prefer::Speed].map(weights);
    // Only the second convolution uses Winograd.
    assert!(size < numbers * 5 / 4 && speed > 2 * numbers, "{size} and {speed} bytes for {numbers} numbers");
}

/// A linked artifact; `None`, with a message, if there is no C compiler.
fn artifact() -> Option<(TempDir, PathBuf)> {
    let (_, compiled) = compiled(&chain(3, "tanh"), target("x86-64-v2"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chain.so");
    match compiled.link(&Linker::from_env(&X86_64), &path) {
        Err(Error::Object(_)) => {
            eprintln!("skipped: no C compiler");
            None
        }
        linked => linked.map(|()| Some((folder, path))).expect("linked"),
    }
}

#[test]
fn an_artifact_with_one_wrong_bit_is_refused_before_it_is_loaded() {
    let Some((folder, path)) = artifact() else { return };
    Artifact::load(&path).expect("whole");
    let bytes = fs::read(&path).expect("there");
    let spoiled = folder.path().join("spoiled.so");
    let (mut refused, mut by_checksum) = (0, 0);
    for at in (0..bytes.len()).step_by(61) {
        let mut other = bytes.clone();
        other[at] ^= 1 << (at % 8);
        fs::write(&spoiled, other).expect("written");
        let error = Artifact::load(&spoiled).expect_err("one bit is wrong");
        refused += 1;
        by_checksum += usize::from(error.to_string().contains("its bytes have changed since it was written"));
    }
    assert!(refused > 100 && by_checksum > refused / 2, "{refused} and {by_checksum}");
}

#[test]
fn an_artifact_that_another_linker_has_made_has_no_checksum_and_loads() {
    let (_, compiled) = compiled(&chain(3, "tanh"), target("x86-64-v2"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("chain.so");
    let linked = Linker::from_env(&X86_64).link_shared(&compiled.object, &compiled.interface.query_symbol(), &path);
    if linked.is_err() {
        return eprintln!("skipped: no C compiler");
    }
    let loaded: Result<Artifact, ArtifactError> = Artifact::load(&path);
    assert!(loaded.is_ok());
}

/// If passes stop at any rewrite, the graph verifies and compiles, so that a wrong result can be bisected to one
/// rewrite.
#[test]
fn int8_stopped_after_any_rewrite_compiles() {
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/models/digits");
    let model = eightfold::load(&digits.join("digits.onnx"), &ImportOptions::default()).expect("imported");
    let images = Dataset::open(&digits.join("digits_calibration.npz"), &model.inputs(), &DatasetOptions::default());
    let images = images.expect("images");
    let image = images.sample(0).expect("an image").inputs;
    for name in ["x86-64-v2", "x86-64-v3", "x86-64-v4-vnni"] {
        let target = target(name);
        let options = OptimizeOptions { precision: PrecisionRequest::Int8, ..OptimizeOptions::new(target) };
        let samples = images.iter().take(8);
        let table =
            eightfold::calibrate(&model, samples, &CalibrateOptions::new(options.clone()), &mut ()).expect("ranges");
        let stopped = |pass_limit| {
            let options = OptimizeOptions { pass_limit, ..options.clone() };
            eightfold::optimize(&model, Some(table.clone()), &options, &mut ())
                .unwrap_or_else(|e| panic!("{pass_limit:?}: {e:?}"))
        };
        let whole = stopped(None);
        let total: usize = whole.reports.iter().map(|report| report.rewrites).sum();
        assert!(total > 40, "{total}");
        let class = |graph: &Graph| {
            let logits = eval(graph, &image).expect("evaluates")[0].to_f32s().expect("floats");
            (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]))
        };
        for limit in 0..=total {
            let graph = stopped(Some(limit)).graph;
            verify(&graph).unwrap_or_else(|errors| panic!("{limit}: {errors}"));
            lower(verify(&graph).expect("verifies"), target)
                .unwrap_or_else(|error| panic!("{name}, {limit} of {total}: {error}"));
            assert_eq!(class(&graph), class(&whole.graph), "{limit}");
        }
        assert_eq!(stopped(Some(total)).graph, whole.graph);
    }
    assert_eq!(Shape::new(&[1, 1, 8, 8]), *image[0].shape());
}

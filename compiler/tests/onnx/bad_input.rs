//! Bad models found in the wild: each either agrees with ONNX Runtime, or causes an error that says whose fault it is
//! and where.

use std::path::Path;

use eightfold::Executable;
use eightfold::onnx::{self, ErrorKind, ImportOptions};
use eightfold_ir::{Tensor, eval};

use crate::outside::{distance, named, onnxruntime, random_inputs, shared};

/// The expected outcome of a model.
enum Outcome {
    /// It agrees with ONNX Runtime.
    Agrees,
    /// It is valid here, but not in ONNX Runtime.
    Runs,
    /// It is rejected with this text.
    Refused(ErrorKind, &'static str),
}
use ErrorKind::{Broken, Unsupported, Usage};
use Outcome::{Agrees, Refused, Runs};

/// Values of symbolic dimensions.
type Dims = &'static [(&'static str, usize)];

/// The shared bad models, with their dimensions.
const SHARED: &[(&str, Dims, Outcome)] = &[
    ("bad_names", &[], Refused(Broken, "the model's ir_version is 0, expected 3 or newer")),
    (
        "bert_toy_not_topologically_sorted",
        &[],
        Refused(Usage, "axis 1 of input \"input_ids\": give --dim max_seq_len_in_batch=N"),
    ),
    ("bert_toy_not_topologically_sorted", &[("max_seq_len_in_batch", 5)], Agrees),
    (
        "bias_softmax_fusion_middleones_badaxis",
        &[("d_1", 2), ("d_2", 3), ("d_3", 1), ("d_4", 1), ("d_5", 1), ("d_6", 2), ("d_7", 1), ("d_8", 2)],
        Agrees,
    ),
    ("corrupt-model", &[], Refused(Broken, "not an ONNX model: it is text")),
    (
        "custom_ops_type_inference_fails_0",
        &[("X.1", 4)],
        Refused(Unsupported, "onnx_extented.ortops.tutorial.cpu::CustomGemmFloat8E4M3FN (opset 1) at node"),
    ),
    ("dup_qdq", &[], Agrees),
    ("dup_qdq_bfloat16", &[], Runs),
    ("dup_qdq_float16", &[], Agrees),
    (
        "hotdog_squeezenet_zipmap_imagescaler",
        &[],
        Refused(Unsupported, "ImageScaler (opset 7) at node \"scalerPreprocessor\""),
    ),
    ("invalid_dim_param_value_repetition", &[], Agrees),
    ("matmul_add_missing_shape", &[], Refused(Usage, "input \"C\" has no shape: give --dim C.AXIS=N for each axis")),
    ("matmul_add_missing_shape", &[("C.0", 2), ("C.1", 2)], Agrees),
    ("model_with_invalid_ort_config_json", &[], Agrees),
    ("stft_negative_frame_length", &[], Refused(Unsupported, "STFT (opset 17) at node \"STFT_0\"")),
    ("stft_negative_frame_step", &[], Refused(Unsupported, "STFT (opset 17) at node \"STFT_0\"")),
    ("style_starry_night_fp16", &[], Refused(Broken, "the model's ir_version is 1, expected 3 or newer")),
    ("super_resolution_espcn", &[], Refused(Broken, "the model's ir_version is 1, expected 3 or newer")),
    ("transpose_matmul_4d_fusion_invalid_perm", &[], Agrees),
    ("transpose_to_reshape_invalid", &[], Agrees),
];

fn options(dims: &[(&str, usize)]) -> ImportOptions {
    let dims = dims.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
    ImportOptions { dims, ..ImportOptions::default() }
}
/// Checks that the model compiles in f32 and computes the same as ONNX Runtime.
fn compiled(path: &Path, dims: &[(&str, usize)], data: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    let text = |error: eightfold::Error| format!("compiled: {error:?}");
    let model = eightfold::load(path, &options(dims)).map_err(text)?;
    let got = Executable::compile(&model, &mut ()).and_then(|mut executable| executable.run(data)).map_err(text)?;
    let far = got.iter().zip(expected).map(|(got, expected)| distance(got, expected)).fold(0.0, f64::max);
    if far <= 1e-4 { Ok(()) } else { Err(format!("compiled: {far:e} off")) }
}

fn judge(name: &str, path: &Path, dims: &[(&str, usize)], outcome: &Outcome) -> Result<(), String> {
    let imported = match (onnx::load(path, &options(dims)), outcome) {
        (Err(error), Refused(kind, says)) if error.kind() == *kind && error.to_string().contains(says) => return Ok(()),
        (Err(error), _) => return Err(format!("{name}: {:?}: {error}", error.kind())),
        (Ok(_), Refused(..)) => return Err(format!("{name}: imported")),
        (Ok(imported), _) => imported,
    };
    let graph = &imported.graph;
    let data = random_inputs(graph, 1);
    let ours = eval(graph, &data).map_err(|error| format!("{name}: {error}"))?;
    if matches!(outcome, Runs) {
        return Ok(());
    }
    // Without optimizations, because these move roundings.
    let Some(theirs) = onnxruntime(path, &named(graph, &data), &["--optimization", "none"]) else { return Ok(()) };
    for (output, ours) in graph.outputs().iter().zip(&ours) {
        let far = distance(ours, &theirs[&*output.name]);
        if far > 1e-5 {
            return Err(format!("{name}: output {} is {far:e} off", output.name));
        }
    }
    compiled(path, dims, &data, &ours).map_err(|reason| format!("{name}: {reason}"))
}

#[test]
fn shared_bad_models_agree_with_onnx_runtime_or_are_refused_with_the_reason() {
    let judged = SHARED.iter().filter_map(|(name, dims, outcome)| {
        let path = shared(&format!("models/badinput/{name}.onnx"))?;
        judge(name, &path, dims, outcome).err()
    });
    let wrong: Vec<String> = judged.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Exported models compute the same function as the graph, in our own import and in ONNX Runtime.

use std::path::{Path, PathBuf};

use eightfold::dataset::{Dataset, DatasetOptions};
use eightfold::onnx::{self, ErrorKind, ImportOptions, OnnxError};
use eightfold::options::target::target;
use eightfold::report::similarity::Similarity;
use eightfold::{CalibrateOptions, OptimizeOptions, ReduceRange, Saturation};
use eightfold_ir::{DType, Graph, Shape, Tensor, eval, parse};
use eightfold_passes::{PassOptions, Pipeline, SIMPLIFY, WeightType};

use crate::outside::{digits, distance, named, onnxruntime, python, random_inputs, shared, workspace, zoo};

fn simplified(path: &Path) -> Graph {
    let imported = onnx::load(path, &ImportOptions::default());
    let mut graph = imported.unwrap_or_else(|error| panic!("{}: {error}", path.display())).graph;
    let pipeline = Pipeline::new(SIMPLIFY).expect("known passes");
    pipeline.run(&mut graph, &PassOptions::default(), &mut |_, _| {}).expect("passes run");
    graph
}

fn reimported(graph: &Graph) -> Graph {
    let bytes = onnx::export(graph).expect("the graph has a form in ONNX");
    onnx::from_bytes(&bytes, &ImportOptions::default()).expect("what is exported can be imported").graph
}

/// Writes the exported graph to a file for ONNX Runtime.
fn written(graph: &Graph) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("exported.onnx");
    std::fs::write(&path, onnx::export(graph).expect("the graph has a form in ONNX")).expect("the file is written");
    (folder, path)
}

fn names(graph: &Graph) -> (Vec<&str>, Vec<&str>) {
    let input = |id: &eightfold_ir::ValueId| graph.value(*id).name.as_deref().unwrap_or_default();
    (graph.inputs().iter().map(input).collect(), graph.outputs().iter().map(|o| &*o.name).collect())
}

/// Checks that the exported graph agrees with the original up to a rounding, and with ONNX Runtime within `bound`.
fn assert_same(graph: &Graph, bound: f64) {
    let inputs = random_inputs(graph, 1);
    let expected = eval(graph, &inputs).expect("the graph evaluates");
    let again = reimported(graph);
    assert_eq!(names(&again), names(graph));
    let got = eval(&again, &inputs).expect("the exported graph evaluates");
    for (index, output) in graph.outputs().iter().enumerate() {
        // A bias added after a product of higher rank causes one more rounding.
        let far = distance(&got[index], &expected[index]);
        assert!(far <= 1e-6, "output {} of {} is {far:e} from its graph's", output.name, graph.name);
    }
    let (_folder, path) = written(graph);
    let Some(theirs) = onnxruntime(&path, &named(graph, &inputs), &[]) else { return };
    for (output, ours) in graph.outputs().iter().zip(&expected) {
        let far = distance(ours, &theirs[&*output.name]);
        assert!(far <= bound, "output {} of {} is {far:e} from ONNX Runtime's", output.name, graph.name);
    }
}

#[test]
fn every_operator_and_step_has_a_form() {
    for name in ["operators", "steps", "quantized", "table"] {
        let path = workspace().join(format!("testdata/export/{name}.ir"));
        let graph = parse(&std::fs::read_to_string(&path).expect("the text is there")).expect("the text parses");
        assert_same(&graph, 1e-6);
    }
}

#[test]
fn the_digits_model_survives_simplified_and_exported() {
    assert_same(&simplified(&digits()), 1e-5);
}

#[test]
fn quantized_constants_become_integer_initializers() {
    let text = std::fs::read_to_string(workspace().join("testdata/export/quantized.ir")).expect("the text is there");
    let graph = reimported(&parse(&text).expect("the text parses"));
    let quantized = |name: &str| {
        let id = graph.find(name).unwrap_or_else(|| panic!("no tensor {name}"));
        let params = graph.quant(id).unwrap_or_else(|| panic!("{name} is not quantized"));
        (graph.constant(id).is_some(), params.storage.name(), params.granularity, params.scale.to_vec())
    };
    use eightfold_ir::Granularity::{PerChannel, PerTensor};
    assert_eq!(quantized("w"), (true, "i8", PerChannel { axis: 0 }, vec![0.25, 0.5]));
    assert_eq!(quantized("b"), (true, "i32", PerChannel { axis: 0 }, vec![0.0125, 0.025]));
    assert_eq!(quantized("xq"), (false, "u8", PerTensor, vec![0.05]));
    assert_eq!(graph.nodes().filter(|n| n.op.name() == "quantize_linear").count(), 2);
}

#[test]
fn sums_on_integers_have_no_form_and_are_named() {
    let text = "graph @g {\n  qparams #0 = u8 per_tensor scale=0.1 zero_point=3\n  input %x: 2x3xu8 #0\n  const %w: \
                3x4xi8 = splat(1)\n  %y = matmul(%x, %w) : 2x4xi32 ; \"/fc\"\n  output %y\n}";
    let error = onnx::export(&parse(text).expect("the text parses")).expect_err("no form in ONNX");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.to_string(), "node \"/fc\" (matmul) cannot be written as ONNX: it computes on u8");
    assert!(matches!(error, OnnxError::Inexpressible { op: "matmul", .. }));
}

/// ONNX Runtime's results for the exported model and the original.
fn assert_runtime_agrees(path: &Path, arguments: &[&str], bound: f64) {
    let graph = simplified(path);
    let (_folder, exported) = written(&graph);
    let inputs = random_inputs(&graph, 1);
    let run = |path: &Path| onnxruntime(path, &named(&graph, &inputs), arguments);
    let (Some(expected), Some(got)) = (run(path), run(&exported)) else { return };
    for output in graph.outputs() {
        let far = distance(&got[&*output.name], &expected[&*output.name]);
        assert!(far <= bound, "{}: output {} is {far:e} off", path.display(), output.name);
    }
}

#[test]
fn networks_mean_the_same_to_onnx_runtime_when_exported() {
    if python().is_none() {
        return;
    }
    let networks = ["resnet18", "mobilenet_v2", "efficientnet_b0", "shufflenet_v2_x1_0", "squeezenet1_1"];
    networks.iter().filter_map(|name| zoo(name)).for_each(|path| assert_runtime_agrees(&path, &[], 1e-4));
    let models = ["ultraface_rfb320", "yolox_nano", "fastestdet", "mlperf_resnet8_cifar10", "mnist_burn"];
    let paths = models.iter().filter_map(|name| shared(&format!("models/{name}.onnx")));
    paths.for_each(|path| assert_runtime_agrees(&path, &[], 1e-4));
}

#[test]
fn quantized_models_mean_the_same_to_onnx_runtime_when_exported() {
    if python().is_none() {
        return;
    }
    // Without optimizations, because these move roundings.
    let models = ["micro_kws_m_qdq", "mlperf_resnet8_cifar10_int8_qdq", "mobilenet_v1_025_128_qat_qdq"];
    let paths = models.iter().filter_map(|name| shared(&format!("models/{name}.onnx")));
    paths.for_each(|path| assert_runtime_agrees(&path, &["--optimization", "none"], 1e-6));
}

/// In ONNX Runtime, sums of u8 x i8 products saturate on x86 CPUs without VNNI: weights up to 127 leave only 16 dB.
#[test]
fn squeezenet_with_weights_that_do_not_saturate_keeps_28_db_in_onnx_runtime_on_any_cpu() {
    if python().is_none() {
        return;
    }
    let Some(path) = shared("models/squeezenet1.1.onnx") else { return };
    let Some(folder) = shared("data/imagenet500") else { return };
    let recipe = "resize=256,crop=224,color=rgb,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw";
    let model = eightfold::load(&path, &ImportOptions::default()).expect("the model imports");
    let data = DatasetOptions { preprocess: Some(recipe.parse().expect("a recipe")), label_offset: 0 };
    let images = Dataset::open(&folder, &model.inputs(), &data).expect("the photographs are read");
    let options = OptimizeOptions {
        reduce_range: ReduceRange::Never,
        ..OptimizeOptions::new(target("native").expect("this machine runs a target"))
    };
    let seen: Vec<_> = (0..16).map(|index| images.sample(index * 31)).collect();
    let calibrate = CalibrateOptions::new(options.clone());
    let table = eightfold::calibrate(&model, seen.into_iter(), &calibrate, &mut ()).expect("the model is calibrated");
    let fresh = (0..8).map(|index| images.sample(index * 62 + 7).expect("a photograph").inputs.swap_remove(0));
    let bytes: Vec<u8> = fresh.flat_map(|image| image.bytes().to_vec()).collect();
    let image = Tensor::new(DType::F32, Shape::new(&[8, 3, 224, 224]), bytes).expect("eight images");
    let logits = |path: &Path| {
        let outputs = onnxruntime(path, &[("data", &image)], &["--batch", "1", "--optimization", "all"])?;
        outputs["logits"].to_f32s()
    };
    let Some(float) = logits(&path) else { return };
    for weight_type in [WeightType::U8, WeightType::I7] {
        let options = OptimizeOptions { weight_type, ..options.clone() };
        let (graph, _) = eightfold::quantize(&model, table.clone(), &options, &mut ()).expect("the model is quantized");
        assert_eq!(Saturation::of(&graph), Saturation { products: 26, saturating: 0 });
        let (_folder, exported) = written(&graph);
        let Some(int8) = logits(&exported) else { return };
        let mut similarity = Similarity::default();
        float.chunks_exact(1000).zip(int8.chunks_exact(1000)).for_each(|(float, int8)| similarity.add(float, int8));
        let (decibels, winners) = (similarity.sqnr_db(), similarity.same_winner());
        println!("{}: {decibels:.2} dB, same winner {winners}", weight_type.name());
        assert!(decibels >= 28.0 && winners >= 0.75, "{weight_type:?}: {decibels} dB, same winner {winners}");
    }
}

#[test]
fn a_function_keeps_its_shape_where_the_current_number_is_its_second_argument() {
    let text = "graph @g {\n  input %x: 2x3xf32\n  %y = map(%x) |> prelu(-2.0, _) : 2x3xf32\n  output %y\n}";
    assert_same(&parse(text).expect("a graph"), 1e-6);
}

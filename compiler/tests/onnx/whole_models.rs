//! Whole models in int8: compiled code against the reference evaluator on the same graph, byte for byte, on every
//! target that this machine or an emulator runs.
//!
//! A model with steps in float (a sigmoid between a convolution and its rounding, a final softmax) is compared node by
//! node, with the compiled values as operands: bit for bit if the node is exact, otherwise within one step, or within
//! the bound for floats.

use std::collections::BTreeMap;
use std::path::Path;

use eightfold::artifact::{Artifact, Session};
use eightfold::dataset::{Dataset, DatasetOptions, Sample};
use eightfold::{CalibrateOptions, ImportOptions, Model, OptimizeOptions, Optimized, PrecisionRequest, ReduceRange};
use eightfold_codegen::object::Linker;
use eightfold_codegen::target::Target;
use eightfold_ir::eval::eval_node;
use eightfold_ir::op::relayout::{Order, Relayout};
use eightfold_ir::{Array, Data, Def, Graph, Layout, Node, Origin, Step, Tensor, TensorType, ValueId};

use crate::emulated;
use crate::outside::{digits, shared, zoo};

/// The maximum difference of floats, as a share of the tensor's largest element.
const FLOAT_BOUND: f32 = 1e-4;

/// Images, or uniform numbers from 0 up to the second field.
#[derive(Clone, Copy)]
enum Samples {
    Photographs(&'static str),
    Drawn(f32),
}

const TORCHVISION: Samples = Samples::Photographs(
    "resize=256,crop=224,color=rgb,scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,layout=nchw,dtype=f32",
);
const TENSORFLOW_224: Samples = Samples::Photographs("resize=256,crop=224,color=rgb,layout=nhwc,dtype=u8");
const TENSORFLOW_128: Samples = Samples::Photographs("resize=146,crop=128,color=rgb,layout=nhwc,dtype=u8");

#[test]
fn squeezenet_equals_the_evaluator() {
    shared_model("squeezenet1.1", TORCHVISION);
}

#[test]
fn mobilenet_v2_equals_the_evaluator() {
    shared_model("mobilenetv2_1.0", TORCHVISION);
}

#[test]
fn imported_quantized_mobilenets_equal_the_evaluator() {
    shared_model("mobilenet_v1_025_128_qat_qdq", TENSORFLOW_128);
    shared_model("mobilenet_v2_tf_qat_qdq", TENSORFLOW_224);
}

#[test]
fn small_models_equal_the_evaluator() {
    equals_the_evaluator(&digits(), Samples::Drawn(16.0));
    for (name, data) in [
        ("micro_kws_m_fp32", Samples::Drawn(1.0)),
        ("micro_kws_m_qdq", Samples::Drawn(1.0)),
        ("micro_kws_m_qoperator", Samples::Drawn(1.0)),
        ("mlperf_ad01_autoencoder", Samples::Drawn(1.0)),
        ("mlperf_resnet8_cifar10", Samples::Drawn(255.0)),
        ("mlperf_resnet8_cifar10_int8_qdq", Samples::Drawn(256.0)),
        ("mlperf_vww_mobilenetv1", Samples::Drawn(1.0)),
        ("mlperf_vww_mobilenetv1_int8_qdq", Samples::Drawn(256.0)),
        ("mnist_burn", Samples::Drawn(1.0)),
        ("mnist_cnn_pytorch", Samples::Drawn(1.0)),
        ("mnist_cntk", Samples::Drawn(255.0)),
    ] {
        shared_model(name, data);
    }
}

#[test]
#[ignore = "takes minutes"]
fn detectors_equal_the_evaluator() {
    shared_model("fastestdet", Samples::Drawn(1.0));
    shared_model("ultraface_rfb320", Samples::Drawn(1.0));
    shared_model("yolox_nano", Samples::Drawn(255.0));
}

#[test]
#[ignore = "takes minutes"]
fn unet_equals_the_evaluator() {
    if let Some(path) = zoo("unet_256") {
        equals_the_evaluator(&path, Samples::Drawn(1.0));
    }
}

#[test]
#[ignore = "takes many minutes"]
fn benchmark_networks_equal_the_evaluator() {
    for name in [
        "densenet121",
        "efficientnet_b0",
        "inception_v3",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "resnet18",
        "resnet18_bn_dynbatch",
        "resnet50",
        "shufflenet_v2_x1_0",
        "squeezenet1_1",
    ] {
        if let Some(path) = zoo(name) {
            equals_the_evaluator(&path, Samples::Drawn(1.0));
        }
    }
}

fn shared_model(name: &str, data: Samples) {
    if let Some(path) = shared(&format!("models/{name}.onnx")) {
        equals_the_evaluator(&path, data);
    }
}

/// Three samples of the model's inputs; `None` without the photographs.
fn samples(model: &Model, data: Samples) -> Option<Vec<Sample>> {
    match data {
        Samples::Photographs(recipe) => {
            let folder = shared("data/imagenet500")?;
            let preprocess = Some(recipe.parse().expect("a recipe"));
            let options = DatasetOptions { preprocess, label_offset: 0 };
            let images = Dataset::open(&folder, &model.inputs(), &options).expect("photographs");
            Some([3, 141, 420].map(|index| images.sample(index).expect("an image")).into())
        }
        Samples::Drawn(below) => Some((1..=3).map(|seed| drawn(model, below, seed)).collect()),
    }
}

/// Uniform inputs from 0 up to `below`; bytes wrap around.
fn drawn(model: &Model, below: f32, seed: u64) -> Sample {
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let inputs = model.inputs().into_iter().map(|input| {
        let values: Vec<f32> = (0..input.shape.elements()).map(|_| below * unit()).collect();
        match input.dtype.integer_range() {
            None => Tensor::f32(&input.shape, &values),
            Some((min, _)) => {
                let integers: Vec<i64> = values.iter().map(|x| min + *x as i64).collect();
                Tensor::int(input.dtype, &input.shape, &integers)
            }
        }
    });
    Sample { inputs: inputs.collect(), labels: Vec::new(), rows: 1 }
}

fn equals_the_evaluator(path: &Path, data: Samples) {
    let model = eightfold::load(path, &ImportOptions::default()).unwrap_or_else(|error| panic!("{error}"));
    let Some(samples) = samples(&model, data) else { return };
    in_range(&model, &samples, ReduceRange::Never);
    if !model.is_quantized() {
        in_range(&model, &samples, ReduceRange::Always);
    }
}

fn in_range(model: &Model, samples: &[Sample], reduce_range: ReduceRange) {
    let mut expected: Option<Vec<Vec<Tensor>>> = None;
    for target in emulated::targets() {
        // Emulators are slow, and run one sample in one range of the weights.
        let count = if target.runs_here() { samples.len() } else { 1 };
        if !target.runs_here() && reduce_range == ReduceRange::Always {
            continue;
        }
        let what = format!("{} on {}, reduced range {reduce_range:?}", model.name, target.name);
        let options = OptimizeOptions { reduce_range, ..OptimizeOptions::new(target) };
        let optimized = in_int8(model, samples, options.clone());
        if !is_exact(&optimized) {
            each_node_is_right(&what, &optimized, &samples[0].inputs);
            continue;
        }
        let expected = expected.get_or_insert_with(|| {
            let in_order = in_int8(model, samples, OptimizeOptions { order_channels: false, ..options });
            let eval = |sample: &Sample| eightfold_ir::eval(&in_order.graph, &sample.inputs).expect("evaluates");
            samples.iter().map(eval).collect()
        });
        let mut compiled = Compiled::of(&optimized);
        for (index, (sample, expected)) in samples.iter().zip(&*expected).take(count).enumerate() {
            if compiled.run(&sample.inputs) != *expected {
                each_node_is_right(&what, &optimized, &sample.inputs);
                panic!("{what}: sample {index} differs, though with all values shown each node is right");
            }
        }
        if !target.runs_here() {
            continue;
        }
        let mut on_two = optimized.clone();
        on_two.threads = 2;
        let mut shared = Compiled::of(&on_two);
        for (index, (sample, expected)) in samples.iter().zip(&*expected).enumerate() {
            assert!(shared.run(&sample.inputs) == *expected, "{what}: sample {index} differs on two threads");
        }
    }
}

/// The model as its own Q/DQ quantize it, or with ranges from these samples.
fn in_int8(model: &Model, samples: &[Sample], options: OptimizeOptions) -> Optimized {
    let options = OptimizeOptions { precision: PrecisionRequest::Int8, ..options };
    let table = (!model.is_quantized()).then(|| {
        let seen = samples.iter().cloned().map(Ok);
        eightfold::calibrate(model, seen, &CalibrateOptions::new(options.clone()), &mut ()).expect("calibrates")
    });
    let optimized = eightfold::optimize(model, table, &options, &mut ()).expect("optimizes");
    assert!(optimized.coverage.int8_share() > 0.95, "{}: {:?}", model.name, optimized.coverage);
    optimized
}

/// Whether the evaluator's bits are the only correct ones: all integers, and steps of at most one IEEE operation.
fn is_exact(optimized: &Optimized) -> bool {
    let mut steps = optimized.graph.nodes().flat_map(|node| &node.epilogue.steps);
    optimized.coverage.float_nodes.is_empty() && steps.all(Step::is_exact)
}

/// Compares every value with the evaluator's result for the compiled operands of its node.
fn each_node_is_right(what: &str, optimized: &Optimized, inputs: &[Tensor]) {
    let mut shown = optimized.clone();
    let values: Vec<ValueId> = optimized.graph.nodes().map(Node::output).collect();
    show(&mut shown.graph, &values);
    let got = Compiled::of(&shown).run(inputs);

    let graph = &optimized.graph;
    let mut arrays: BTreeMap<ValueId, Array> = BTreeMap::new();
    let constants = graph.values().filter_map(|(id, value)| match &value.def {
        Def::Const(tensor) => Some((id, Array::from(tensor))),
        _ => None,
    });
    arrays.extend(constants);
    arrays.extend(graph.inputs().iter().copied().zip(inputs.iter().map(Array::from)));
    arrays.extend(values.iter().copied().zip(got[graph.outputs().len()..].iter().map(Array::from)));
    for node in graph.nodes() {
        let outputs = eval_node(graph, node, &|id| &arrays[&id]).expect("evaluates");
        let (got, expected) = (Tensor::from(&arrays[&node.output()]), Tensor::from(&outputs[0]));
        let floats = node.operand(0).is_some_and(|id| graph.ty(id).dtype.is_float());
        let exact = !floats && node.epilogue.steps.iter().all(Step::is_exact);
        let origin = node.origin.names().collect::<Vec<_>>().join(", ");
        assert!(agree(&got, &expected, exact), "{what}: {} ({origin}) differs", node.op.name());
    }
}

/// Bit for bit; after float arithmetic, integers within one step and floats within their bound.
fn agree(got: &Tensor, expected: &Tensor, exact: bool) -> bool {
    match (got.data(), expected.data()) {
        (got, expected) if exact => got == expected,
        (Data::Float(got), Data::Float(expected)) => {
            let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            got.iter().zip(&expected).all(|(g, e)| (g - e).abs() <= FLOAT_BOUND * largest)
        }
        (Data::Int(got), Data::Int(expected)) => got.iter().zip(&expected).all(|(g, e)| (g - e).abs() <= 1),
        _ => false,
    }
}

/// Adds `values` to the outputs, row-major like all outputs.
fn show(graph: &mut Graph, values: &[ValueId]) {
    for (index, &id) in values.iter().enumerate() {
        let shown = match graph.ty(id).layout {
            Layout::Nchw => id,
            Layout::Nhwc => {
                graph.add("", Relayout { to: Order::Nchw }, &[Some(id)], Origin::default()).expect("a tensor")
            }
        };
        graph.add_output(&format!("shown {index}"), shown);
    }
}

/// A library with machine code.
struct Compiled {
    /// The session of a library that this machine runs.
    session: Option<Session>,
    target: &'static Target,
    types: Vec<TensorType>,
    folder: tempfile::TempDir,
}

impl Compiled {
    fn of(optimized: &Optimized) -> Compiled {
        let compiled = eightfold::compile(optimized, "model", Default::default()).expect("compiles");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, target) = (folder.path().join("model.so"), optimized.target);
        compiled.link(&Linker::from_env(target.arch), &path).expect("links");
        let load = || Artifact::load(&path).expect("loads").session().expect("a session");
        let session = target.runs_here().then(load);
        let outputs = optimized.graph.outputs().iter();
        let types = outputs.map(|output| optimized.graph.ty(output.value).clone()).collect();
        Compiled { session, target, types, folder }
    }

    fn run(&mut self, inputs: &[Tensor]) -> Vec<Tensor> {
        let inputs: Vec<&[u8]> = inputs.iter().map(Tensor::bytes).collect();
        let outputs = match &mut self.session {
            Some(session) => {
                let mut outputs = session.output_buffers();
                session.run(&inputs, &mut outputs).expect("runs");
                outputs
            }
            None => {
                let path = self.folder.path().join("model.so");
                let bytes = emulated::run(self.target.arch, &path, "model_query", &inputs);
                let mut rest = &bytes[..];
                let take = |ty: &TensorType| {
                    let (own, behind) = rest.split_at(ty.byte_size());
                    rest = behind;
                    own.to_vec()
                };
                self.types.iter().map(take).collect()
            }
        };
        let tensors = self.types.iter().zip(outputs);
        tensors.map(|(ty, bytes)| Tensor::new(ty.dtype, ty.shape.clone(), bytes).expect("sized")).collect()
    }
}

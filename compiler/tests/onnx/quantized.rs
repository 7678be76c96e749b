//! Quantized models, computed on integers, against ONNX Runtime.
//!
//! ONNX Runtime runs with all optimizations, that is, on integers. Without them it computes in float between
//! dequantization and quantization, whose rounding errors decide results that are halfway between two steps.
//!
//! Layer by layer: each quantized tensor is computed from ONNX Runtime's values of the previous quantized tensors. It
//! must be equal in 99.9% of its elements, and never differ by more than one step. End to end: the quantized tensor
//! before the softmax differs by at most two steps, and the top-1 agrees for 99% of the inputs. The reference evaluator
//! computes the graph after [`INT8`]; other tests check that compiled code equals it.
//!
//! `cargo xtask test -p eightfold-compiler --test onnx quantized -- --include-ignored --nocapture` prints the figures.

use std::collections::BTreeMap;
use std::path::Path;

use eightfold::dataset::{Dataset, DatasetOptions, InputSpec};
use eightfold::onnx::{self, ImportOptions};
use eightfold_ir::eval::eval_node;
use eightfold_ir::{Array, DType, Data, Graph, Op, Precision, Shape, Tensor, ValueId, verify};
use eightfold_passes::{INT8, PassOptions, Pipeline};

use crate::outside::{onnxruntime, python, random_inputs, shared, skipped};

/// The inputs of a model.
#[derive(Clone, Copy)]
enum Inputs {
    /// Photographs preprocessed by this recipe, as bytes, or as bytes minus 128.
    Photographs(&'static str),
    /// Numbers that cover the range of the input's quantization.
    Drawn,
}
use Inputs::{Drawn, Photographs};

/// The number of inputs per run of ONNX Runtime, which keeps all their quantized tensors.
const AT_A_TIME: usize = 8;

/// The inputs with index `from..to`.
fn inputs(graph: &Graph, kind: Inputs, (from, to): (usize, usize)) -> Option<Vec<Tensor>> {
    let id = graph.inputs()[0];
    let ty = graph.ty(id);
    match kind {
        Photographs(recipe) => {
            let folder = shared("data/imagenet500")?;
            let preprocess = Some(recipe.parse().expect("a recipe"));
            let spec = InputSpec::new("image", DType::U8, &ty.shape);
            let options = DatasetOptions { preprocess, ..DatasetOptions::default() };
            let images = Dataset::open(&folder, &[spec], &options).expect("the photographs are read");
            let image = |index: usize| {
                // Spread over the folder, which is sorted by class.
                let sample = images.sample(index * images.len() / 64).expect("a photograph is read");
                let shift = if ty.dtype == DType::I8 { 0x80 } else { 0 };
                let bytes: Vec<u8> = sample.inputs[0].bytes().iter().map(|b| b ^ shift).collect();
                Tensor::new(ty.dtype, ty.shape.clone(), bytes).expect("as many bytes as before")
            };
            Some((from..to).map(image).collect())
        }
        Drawn => {
            let first = graph.nodes().find(|node| matches!(node.op, Op::QuantizeLinear(_)));
            let params = first.and_then(|node| graph.quant(node.output())).expect("the input is quantized");
            let reach = params.scale[0] * 60.0;
            let drawn = |seed: usize| {
                let normal = random_inputs(graph, seed as u64 + 1).swap_remove(0).to_f32s().expect("floats");
                Tensor::f32(&ty.shape, &normal.iter().map(|x| x * reach).collect::<Vec<_>>())
            };
            Some((from..to).map(drawn).collect())
        }
    }
}

/// The graph on integers.
fn lowered(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let options = PassOptions { precision: Precision::Int8, ..PassOptions::default() };
    Pipeline::new(INT8).expect("known passes").run(&mut graph, &options, &mut |_, _| {}).expect("passes run");
    verify(&graph).expect("the graph verifies");
    graph
}

/// Splits tensors that are concatenated along the first axis.
fn rows(joined: &Tensor, count: usize) -> Vec<Tensor> {
    let mut shape = joined.shape().to_vec();
    shape[0] /= count;
    let shape = Shape::new(&shape);
    let size = joined.bytes().len() / count;
    let row = |bytes: &[u8]| Tensor::new(joined.dtype(), shape.clone(), bytes).expect("an equal part");
    joined.bytes().chunks_exact(size).map(row).collect()
}

fn joined(parts: &[Tensor]) -> Tensor {
    let mut shape = parts[0].shape().clone();
    shape[0] *= parts.len();
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes()).copied().collect();
    Tensor::new(parts[0].dtype(), shape, bytes).expect("the sum of the parts")
}

/// Evaluates the graph; calls `see` with each of our tensors and ONNX Runtime's, then continues with the latter.
fn evaluate(
    graph: &Graph,
    input: &Tensor,
    theirs: &BTreeMap<ValueId, Tensor>,
    see: &mut dyn FnMut(ValueId, &Array, &Array),
) -> Vec<Option<Array>> {
    let mut env: Vec<Option<Array>> = vec![None; graph.value_count()];
    for (id, _) in graph.values() {
        if let Some(tensor) = graph.constant(id) {
            env[id.index()] = Some(Array::from(tensor));
        }
    }
    env[graph.inputs()[0].index()] = Some(Array::from(input));
    for node in graph.nodes() {
        let outputs = eval_node(graph, node, &|id| env[id.index()].as_ref().expect("in topological order"));
        for (id, ours) in node.outputs.iter().zip(outputs.expect("a verified graph evaluates")) {
            let array = match theirs.get(id) {
                Some(tensor) => {
                    let theirs = Array::from(tensor);
                    see(*id, &ours, &theirs);
                    theirs
                }
                None => ours,
            };
            env[id.index()] = Some(array);
        }
    }
    env
}

fn steps(ours: &Array, theirs: &Array) -> Vec<i64> {
    match (&ours.data, &theirs.data) {
        (Data::Int(a), Data::Int(b)) if a.len() == b.len() => a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect(),
        _ => panic!("{}x{} beside {}x{}", ours.shape, ours.dtype, theirs.shape, theirs.dtype),
    }
}

/// The last quantized tensor before the softmax, or before the outputs.
fn logits(graph: &Graph, compared: &BTreeMap<String, ValueId>) -> ValueId {
    let softmax = graph.nodes().find(|node| matches!(node.op, Op::Softmax(_)));
    let mut at = softmax.and_then(|node| node.operand(0)).unwrap_or(graph.outputs()[0].value);
    while !compared.values().any(|id| *id == at) {
        let producer = graph.producer(at).expect("something quantized lies before the output");
        at = producer.operand(0).expect("every operator has an operand");
    }
    at
}

fn winner(array: &Array) -> usize {
    let numbers = array.ints();
    let best = numbers.iter().max().expect("classes");
    numbers.iter().position(|x| x == best).expect("it is there")
}

/// The results of a model.
#[derive(Default)]
struct Figures {
    /// For each tensor: elements, equal elements, largest difference in steps.
    tensors: BTreeMap<String, (usize, usize, i64)>,
    /// Largest difference of the logits, end to end.
    logit_steps: i64,
    same_winner: usize,
    inputs: usize,
}

fn measured(path: &Path, kind: Inputs, count: usize) -> Option<Figures> {
    let imported = onnx::load(path, &ImportOptions::default()).expect("the model imports");
    let original = imported.graph;
    let graph = lowered(&original);
    // The tensors that the model quantizes: results with the same name, type and shape in its own graph.
    let named = |(id, value): (ValueId, &eightfold_ir::Value)| {
        let name = value.name.as_deref()?;
        let before = original.find(name)?;
        let same = original.ty(before).dtype == value.ty.dtype && original.ty(before).shape == value.ty.shape;
        let quantized = value.ty.quant.is_some() && value.ty.dtype.bits() == 8;
        (same && quantized && graph.producer(id).is_some()).then(|| (name.to_owned(), id))
    };
    let compared: BTreeMap<String, ValueId> = graph.values().filter_map(named).collect();
    assert!(!compared.is_empty(), "{}: no quantized tensor kept its name", path.display());
    let logits = logits(&graph, &compared);
    let mut figures = Figures::default();
    let flags: Vec<&str> = compared.keys().flat_map(|name| ["--tensor", name.as_str()]).collect();
    for from in (0..count).step_by(AT_A_TIME) {
        let batch = inputs(&original, kind, (from, (from + AT_A_TIME).min(count)))?;
        let name = original.value(original.inputs()[0]).name.clone().unwrap_or_default();
        let all = joined(&batch);
        let theirs = onnxruntime(
            path,
            &[(&*name, &all)],
            &[&["--batch", "1", "--optimization", "all"], flags.as_slice()].concat(),
        )?;
        let theirs: BTreeMap<ValueId, Vec<Tensor>> =
            compared.iter().map(|(name, id)| (*id, rows(&theirs[name], batch.len()))).collect();
        for (index, input) in batch.iter().enumerate() {
            let theirs: BTreeMap<ValueId, Tensor> = theirs.iter().map(|(id, t)| (*id, t[index].clone())).collect();
            evaluate(&graph, input, &theirs, &mut |id, ours, theirs| {
                let differences = steps(ours, theirs);
                let name = graph.value(id).name.as_deref().unwrap_or_default();
                let (elements, equal, most) = figures.tensors.entry(name.to_owned()).or_default();
                *elements += differences.len();
                *equal += differences.iter().filter(|d| **d == 0).count();
                *most = (*most).max(differences.iter().copied().max().unwrap_or(0));
            });
            let ours = evaluate(&graph, input, &BTreeMap::new(), &mut |_, _, _| {});
            let ours = ours[logits.index()].as_ref().expect("it was computed");
            let theirs = Array::from(&theirs[&logits]);
            figures.logit_steps = figures.logit_steps.max(steps(ours, &theirs).into_iter().max().unwrap_or(0));
            figures.same_winner += usize::from(winner(ours) == winner(&theirs));
            figures.inputs += 1;
        }
    }
    Some(figures)
}

fn agrees(model: &str, kind: Inputs, count: usize) {
    if python().is_none() {
        return;
    }
    let Some(path) = shared(&format!("models/{model}.onnx")) else { return };
    let Some(figures) = measured(&path, kind, count) else { return skipped(&format!("{model}: no data")) };
    let least = figures.tensors.values().map(|(n, equal, _)| *equal as f64 / *n as f64).fold(1.0, f64::min);
    let most = figures.tensors.values().map(|(_, _, most)| *most).max().unwrap_or(0);
    println!(
        "{model}: {} quantized tensors, at least {:.4}% equal, at most {most} steps off; end to end logits at most {} steps off, \
         same winner {}/{}",
        figures.tensors.len(),
        100.0 * least,
        figures.logit_steps,
        figures.same_winner,
        figures.inputs
    );
    let bad = |(name, (n, equal, most)): (&String, &(usize, usize, i64))| {
        (*most > 1 || (*equal as f64) < 0.999 * *n as f64)
            .then(|| format!("{name}: {equal} of {n} equal, {most} steps"))
    };
    let bad: Vec<String> = figures.tensors.iter().filter_map(bad).collect();
    assert!(bad.is_empty(), "{model}:\n{}", bad.join("\n"));
    assert!(figures.logit_steps <= 2, "{model}: logits {} steps off", figures.logit_steps);
    assert!(figures.same_winner as f64 >= 0.99 * figures.inputs as f64, "{model}: {} winners", figures.same_winner);
}

const RESNET8: &str = "resize=32,crop=32,color=rgb,layout=nhwc,dtype=u8";
const VWW: &str = "resize=96,crop=96,color=rgb,layout=nhwc,dtype=u8";
const MOBILENET_V1: &str = "resize=146,crop=128,color=rgb,layout=nhwc,dtype=u8";
const MOBILENET_V2: &str = "resize=256,crop=224,color=rgb,layout=nhwc,dtype=u8";

#[test]
fn small_quantized_models_agree_on_eight_inputs() {
    agrees("micro_kws_m_qdq", Drawn, 8);
    agrees("micro_kws_m_qoperator", Drawn, 8);
    agrees("mlperf_resnet8_cifar10_int8_qdq", Photographs(RESNET8), 8);
}

#[test]
#[ignore = "takes a while"]
fn micro_kws_agrees() {
    agrees("micro_kws_m_qdq", Drawn, 64);
}

#[test]
#[ignore = "takes a while"]
fn micro_kws_of_quantized_operators_agrees() {
    agrees("micro_kws_m_qoperator", Drawn, 64);
}

#[test]
#[ignore = "takes a while"]
fn resnet8_agrees() {
    agrees("mlperf_resnet8_cifar10_int8_qdq", Photographs(RESNET8), 64);
}

#[test]
#[ignore = "takes a while"]
fn vww_agrees() {
    agrees("mlperf_vww_mobilenetv1_int8_qdq", Photographs(VWW), 64);
}

#[test]
#[ignore = "takes a while"]
fn mobilenet_v1_agrees() {
    agrees("mobilenet_v1_025_128_qat_qdq", Photographs(MOBILENET_V1), 64);
}

#[test]
#[ignore = "takes minutes"]
fn mobilenet_v2_agrees() {
    agrees("mobilenet_v2_tf_qat_qdq", Photographs(MOBILENET_V2), 64);
}

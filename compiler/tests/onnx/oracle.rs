//! Float outputs of whole models against tract, which shares only the model file with us.
//!
//! Both the optimized graph (in the reference evaluator) and the compiled model must agree within 1e-4 of the largest
//! element of each output. The small models always run; run all others with `cargo xtask test -p eightfold-compiler
//! --test onnx -- --ignored`.

use std::path::Path;

use eightfold::dataset::InputSpec;
use eightfold::options::target::target;
use eightfold::{Executable, ImportOptions, Model, OptimizeOptions, PrecisionRequest};
use eightfold_ir::{Tensor, eval};
use tract_onnx::prelude::*;

use crate::outside::{digits, distance, onnxruntime, random_inputs, shared, skipped, zoo};

/// The maximum difference from tract, as a share of an output's largest element.
const BOUND: f64 = 1e-4;

/// tract's outputs; `Err` if tract does not support the model.
fn tract(path: &Path, inputs: &[InputSpec], data: &[Tensor]) -> TractResult<Vec<Tensor>> {
    let mut model = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_path(path)?;
    let mut feeds = TVec::new();
    // tract's inputs may be in another order, and include initializers.
    for id in model.input_outlets()?.to_vec() {
        let name = model.node(id.node).name.clone();
        let position = inputs.iter().position(|input| input.name == name);
        let position = position.ok_or_else(|| TractError::msg(format!("an input {name}")))?;
        let tensor = &data[position];
        let fact = f32::fact(tensor.shape().to_vec());
        model.set_input_fact(feeds.len(), fact.into())?;
        let numbers = tensor.to_f32s().ok_or_else(|| TractError::msg("an input that is not f32"))?;
        feeds.push(tract_onnx::prelude::Tensor::from_shape(tensor.shape(), &numbers)?.into_tvalue());
    }
    let outputs = model.into_optimized()?.into_runnable()?.run(feeds)?;
    let tensor = |value: &TValue| {
        Ok(Tensor::f32(
            value.shape(),
            value.to_plain_array_view::<f32>()?.as_slice().ok_or_else(|| TractError::msg("rows"))?,
        ))
    };
    outputs.iter().map(tensor).collect()
}

/// The expected outputs: from tract, or from ONNX Runtime if tract cannot run the model.
fn expected(path: &Path, model: &Model, data: &[Tensor]) -> Option<Vec<Tensor>> {
    let refusal = match tract(path, &model.inputs(), data) {
        Ok(outputs) => return Some(outputs),
        Err(error) => error,
    };
    let names = model.inputs();
    let inputs: Vec<(&str, &Tensor)> = names.iter().map(|input| input.name.as_str()).zip(data).collect();
    let theirs = onnxruntime(path, &inputs, &[]);
    if theirs.is_none() {
        skipped(&format!("{}: tract has no result for it: {refusal:#}", path.display()));
    }
    let outputs = model.graph.outputs().iter();
    theirs.map(|theirs| outputs.map(|output| theirs[&*output.name].clone()).collect())
}

/// Checks one model; its float inputs are normally distributed numbers times `scale`.
///
/// A model for pixels of 0..255 responds weakly to inputs around 1, so relative errors are large: there, even tract and
/// ONNX Runtime differ by more than the bound.
fn agrees(path: &Path, scale: f32) {
    let place = path.display();
    let model = eightfold::load(path, &ImportOptions::default()).unwrap_or_else(|error| panic!("{place}: {error}"));
    let scaled = |tensor: Tensor| match tensor.to_f32s() {
        Some(numbers) => Tensor::f32(tensor.shape(), &numbers.iter().map(|x| x * scale).collect::<Vec<_>>()),
        None => tensor,
    };
    let data: Vec<Tensor> = random_inputs(&model.graph, 1).into_iter().map(scaled).collect();
    let Some(expected) = expected(path, &model, &data) else { return };
    let check = |stage: &str, got: &[Tensor]| {
        for ((output, ours), theirs) in model.graph.outputs().iter().zip(got).zip(&expected) {
            let far = distance(ours, theirs);
            assert!(far <= BOUND, "{place}, {stage}: output {} is {far:e} off", output.name);
        }
    };
    let options = OptimizeOptions {
        precision: PrecisionRequest::F32,
        ..OptimizeOptions::new(target("native").expect("this machine runs a target"))
    };
    let optimized = eightfold::optimize(&model, None, &options, &mut ()).unwrap_or_else(|e| panic!("{place}: {e}"));
    check("evaluated", &eval(&optimized.graph, &data).expect("the graph evaluates"));
    let mut executable = Executable::compile(&model, &mut ()).unwrap_or_else(|error| panic!("{place}: {error:?}"));
    check("compiled", &executable.run(&data).expect("the artifact runs"));
}

#[test]
fn the_digits_model_agrees_with_tract() {
    agrees(&digits(), 1.0);
}

/// Checks models of the shared folder, each with the scale of its inputs.
fn models(list: &[(&str, f32)]) {
    for (name, scale) in list {
        if let Some(path) = shared(&format!("models/{name}.onnx")) {
            agrees(&path, *scale);
        }
    }
}

#[test]
fn small_models_agree_with_tract() {
    models(&[
        ("micro_kws_m_fp32", 1.0),
        ("mlperf_ad01_autoencoder", 1.0),
        ("mlperf_resnet8_cifar10", 64.0),
        ("mlperf_vww_mobilenetv1", 1.0),
        ("mnist_burn", 1.0),
        ("mnist_cnn_pytorch", 1.0),
        ("mnist_cntk", 64.0),
    ]);
}

#[test]
#[ignore = "takes a while"]
fn large_models_agree_with_tract() {
    models(&[
        ("fastestdet", 1.0),
        ("mobilenetv2_1.0", 1.0),
        ("squeezenet1.1", 1.0),
        ("ultraface_rfb320", 1.0),
        ("yolox_nano", 64.0),
    ]);
}

#[test]
#[ignore = "takes minutes"]
fn networks_agree_with_tract() {
    let small = ["efficientnet_b0", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "squeezenet1_1"];
    small.iter().filter_map(|name| zoo(name)).for_each(|path| agrees(&path, 1.0));
    let large = ["densenet121", "inception_v3", "resnet18", "resnet18_bn_dynbatch", "resnet50"];
    large.iter().filter_map(|name| zoo(name)).for_each(|path| agrees(&path, 1.0));
}

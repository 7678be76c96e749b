//! Finds the tensors that quantization changes most: compares the float build with the quantized one.

use eightfold_ir::{DType, Def, Precision};
use eightfold_passes::SIMPLIFY;
use eightfold_passes::calibrate::CalibrationTable;

use super::executable::{Executable, real, show};
use crate::dataset::{DatasetError, Sample};
use crate::error::Error;
use crate::options::{OptimizeOptions, PrecisionRequest};
use crate::report::similarity::Similarity;
use crate::stages::load::Model;
use crate::stages::optimize::{optimize, run_passes};
use crate::stages::progress::{Progress, Stage};

/// A tensor of the quantized graph, and its similarity to the float graph's.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSimilarity {
    /// The tensor's name.
    pub tensor: String,
    /// The operator that computes it.
    pub op: &'static str,
    /// The ONNX nodes that it came from, separated by commas.
    pub node: String,
    /// Its element type in the quantized graph.
    pub dtype: DType,
    /// The similarity.
    pub similarity: Similarity,
}

/// Runs `model` in f32 and as optimized with `options` and `calibration`, and compares every tensor that both compute.
/// Layers are in execution order; the error of each includes those of the layers before it.
///
/// # Errors
/// If a sample cannot be read, or one of the two cannot be compiled.
pub fn compare_layers<I>(
    model: &Model,
    calibration: Option<CalibrationTable>,
    options: &OptimizeOptions,
    samples: I,
    progress: &mut dyn Progress,
) -> Result<Vec<TensorSimilarity>, Error>
where
    I: ExactSizeIterator<Item = Result<Sample, DatasetError>>,
{
    let mut float = model.clone();
    run_passes(SIMPLIFY, &mut float.graph, &options.for_passes(Precision::F32, None), &mut ())?;
    // Tensors are compared element by element, so the float graph gets the channel order of the quantized one.
    let for_passes = options.for_passes(Precision::Int8, calibration.clone());
    run_passes(&["spread_channels"], &mut float.graph, &for_passes, &mut ())?;
    let in_order = OptimizeOptions { order_channels: false, ..options.clone() };
    let mut quantized = optimize(model, calibration, &in_order, progress)?;

    let mut layers = Vec::new();
    let (mut float_values, mut quantized_values) = (Vec::new(), Vec::new());
    for node in quantized.graph.nodes() {
        let id = node.output();
        let value = quantized.graph.value(id);
        let Some(name) = &value.name else { continue };
        let Some(twin) = float.graph.find(name) else { continue };
        let comparable = matches!(float.graph.value(twin).def, Def::Node { .. })
            && float.graph.ty(twin).shape == value.ty.shape
            && float.graph.ty(twin).dtype.is_float()
            && (value.ty.dtype.is_float() || value.ty.quant.is_some());
        if comparable {
            float_values.push(twin);
            quantized_values.push(id);
            layers.push(TensorSimilarity {
                tensor: name.to_string(),
                op: node.op.name(),
                node: node.origin.names().collect::<Vec<_>>().join(", "),
                dtype: value.ty.dtype,
                similarity: Similarity::default(),
            });
        }
    }
    if layers.is_empty() {
        return Ok(layers);
    }
    let options = OptimizeOptions { precision: PrecisionRequest::F32, ..options.clone() };
    let mut reference = Executable::showing(&float, &float_values, &options)?;
    show(&mut quantized.graph, &quantized_values);
    let mut executable = Executable::of(&quantized)?;

    progress.stage(Stage::Evaluate);
    let count = samples.len();
    for (index, sample) in samples.enumerate() {
        progress.samples(index, count);
        let sample = sample?;
        let expected = reference.run(&sample.inputs)?;
        let got = executable.run(&sample.inputs)?;
        for (position, layer) in layers.iter_mut().enumerate() {
            let expected = real(&reference.outputs()[position], &expected[position]);
            layer.similarity.add(&expected, &real(&executable.outputs()[position], &got[position]));
        }
    }
    progress.samples(count, count);
    Ok(layers)
}

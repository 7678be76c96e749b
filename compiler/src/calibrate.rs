//! Calibration: runs the compiled float build on samples while observers watch its tensors.
//!
//! This module is above the stages because it runs all of them: the float build is optimized and compiled like any
//! model.
//!
//! Invariants: memory does not grow with the number of samples; equal samples in equal order give an equal table.

use std::collections::BTreeMap;

use eightfold_ir::Precision;
use eightfold_ir::{Graph, Tensor, ValueId};
use eightfold_passes::calibrate::{Activations, CalibrationTable, Calibrator, ChannelMeans, observer};
use eightfold_passes::{SIMPLIFY, channel_axes, quantized_tensors, tensor_name};

use self::spread::Spread;
use crate::dataset::{DatasetError, Sample};
use crate::error::Error;
use crate::options::OptimizeOptions;
use crate::options::target::baseline;
use crate::report::similarity::to_f32;
use crate::session::executable::Executable;
use crate::stages::load::Model;
use crate::stages::optimize::run_passes;
use crate::stages::progress::{Progress, Stage};

mod ranges;
mod spread;
mod table;

pub use self::ranges::{CalibrationData, Ranges, warn_of_few};
pub use self::table::read_table;

/// The default calibrator.
pub const DEFAULT_CALIBRATOR: &str = "mse";

/// Options of a calibration.
#[derive(Clone, Debug)]
pub struct CalibrateOptions {
    /// The name of a row of [`OBSERVERS`](eightfold_passes::calibrate::OBSERVERS).
    pub calibrator: String,
    /// The number for its [`Setting`](eightfold_passes::calibrate::Setting); `None` is the default.
    pub setting: Option<f64>,
    /// The options that the model will be optimized with. They decide which tensors need a range.
    pub optimize: OptimizeOptions,
}

impl CalibrateOptions {
    /// The default calibrator, for a model that will be optimized with `optimize`.
    #[must_use]
    pub fn new(optimize: OptimizeOptions) -> Self {
        CalibrateOptions { calibrator: DEFAULT_CALIBRATOR.to_owned(), setting: None, optimize }
    }
}

/// Computes the range of each tensor that int8 needs and, for bias correction, channel means, from the model's values
/// on `samples`.
///
/// # Errors
/// If a sample cannot be read, a value is not finite, or the model cannot be compiled in f32.
pub fn calibrate<I>(
    model: &Model,
    samples: I,
    options: &CalibrateOptions,
    progress: &mut dyn Progress,
) -> Result<CalibrationTable, Error>
where
    I: ExactSizeIterator<Item = Result<Sample, DatasetError>>,
{
    progress.stage(Stage::Calibrate);
    let mut calibrator = Calibrator::new(observer(&options.calibrator)?, options.setting)?;
    // The target is the same on every machine, so that the ranges are the same.
    let optimize = OptimizeOptions { target: baseline()?, ..options.optimize.clone() };

    // The float graph that quantization starts from, with the tensors that need ranges as outputs.
    let mut simplified = model.clone();
    let for_passes = optimize.for_passes(Precision::Int8, None);
    run_passes(SIMPLIFY, &mut simplified.graph, &for_passes, &mut ())?;
    let wanted = quantized_tensors(&simplified.graph, &for_passes);
    if wanted.is_empty() {
        return Err(Error::NothingToCalibrate);
    }
    let inputs = observed_inputs(&simplified.graph, &wanted);
    let name = |id: ValueId| tensor_name(&simplified.graph, id);
    let corrects = channel_axes(&simplified.graph).into_iter().filter(|(id, _)| wanted.contains(id));
    let axes: BTreeMap<String, usize> = corrects.map(|(id, axis)| (name(id), axis)).collect();
    let mut means = ChannelMeans::default();
    let mut observe = |name: &str, tensor: &Tensor| {
        let values = to_f32(tensor.data());
        let Some(axis) = axes.get(name) else { return calibrator.observe(name, &values) };
        let sample = Activations::with_channels(&values, tensor.shape(), *axis);
        means.observe(name, sample)?;
        calibrator.observe(name, sample)
    };
    let computed: Vec<ValueId> = wanted.into_iter().filter(|id| simplified.graph.producer(*id).is_some()).collect();
    // A model of one layer needs ranges only of its inputs, so there is nothing to compute.
    let mut executable = match computed.as_slice() {
        [] => None,
        computed => Some(Executable::showing(&simplified, computed, &optimize)?),
    };

    let specs = model.inputs();
    let mut spread = Spread::of(&specs);
    let count = samples.len();
    for (index, sample) in samples.enumerate() {
        progress.samples(index, count);
        let Sample { inputs: tensors, .. } = sample?;
        spread.observe(&specs, &tensors);
        for (name, position) in &inputs {
            observe(name, &tensors[*position])?;
        }
        let Some(executable) = &mut executable else { continue };
        let outputs = executable.run(&tensors)?;
        for (output, description) in outputs.iter().zip(executable.outputs()) {
            observe(&description.name, output)?;
        }
    }
    progress.samples(count, count);
    spread.check(progress)?;
    let symmetry = options.optimize.activation_symmetry;
    let table = CalibrationTable::new(&model.name, &model.sha256, count as u64, &calibrator, symmetry)?;
    // Only bias correction needs the means.
    Ok(match options.optimize.bias_correction {
        true => CalibrationTable { means: means.means(), ..table },
        false => table,
    })
}

/// Names and positions of the graph's inputs that are among `wanted`.
fn observed_inputs(graph: &Graph, wanted: &[ValueId]) -> Vec<(String, usize)> {
    let name = |id: ValueId| tensor_name(graph, id);
    let inputs = graph.inputs().iter().enumerate().filter(|(_, id)| wanted.contains(id));
    inputs.map(|(position, id)| (name(*id), position)).collect()
}

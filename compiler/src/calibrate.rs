//! Calibration: the compiled float build runs on samples, observers watch its tensors.
//!
//! Invariant: memory is that of one sample, however many there are; equal samples in equal order give an equal table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use eightfold_ir::{Graph, Precision, Tensor, ValueId};
use eightfold_passes::calibrate::{Activations, CalibrationTable, Calibrator, ChannelMeans, ObserverOptions, observer};
use eightfold_passes::{PassOptions, SIMPLIFY, channel_axes, quantized_tensors, tensor_name};

use crate::dataset::{DatasetError, InputSpec, Sample};
use crate::driver::{OptimizeOptions, Progress, Stage, baseline, run_passes};
use crate::error::Error;
use crate::executable::Executable;
use crate::model::Model;
use crate::similarity::to_f32;

/// The calibrator that is used where none is named.
pub const DEFAULT_CALIBRATOR: &str = "mse";

/// How the ranges of tensors are found.
#[derive(Clone, Debug)]
pub struct CalibrateOptions {
    /// The name of a row of [`OBSERVERS`](eightfold_passes::calibrate::OBSERVERS).
    pub calibrator: String,
    /// What can be tuned about it.
    pub observer: ObserverOptions,
    /// The options that the model will be optimized with; which tensors need a range depends on them.
    pub optimize: OptimizeOptions,
}

impl CalibrateOptions {
    /// The default calibrator, for a model that will be optimized with these options.
    #[must_use]
    pub fn new(optimize: OptimizeOptions) -> Self {
        let (calibrator, observer) = (DEFAULT_CALIBRATOR.to_owned(), ObserverOptions::default());
        CalibrateOptions { calibrator, observer, optimize }
    }
}

/// The range of each tensor that int8 needs, and the mean of each channel where biases are to be corrected, as the model's
/// values on `samples` suggest.
///
/// # Errors
/// A sample cannot be read, a value is not finite, or the model cannot be compiled in f32.
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
    let mut calibrator = Calibrator::new(observer(&options.calibrator)?, options.observer)?;
    // The same on every machine, so that the ranges are the same everywhere.
    let optimize = OptimizeOptions { target: baseline()?, ..options.optimize.clone() };

    // The float graph that quantization starts from, with the tensors that it will ask about as outputs.
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
    // A model of one layer needs ranges of its inputs alone: then there is nothing to compute.
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
    // Means are for the bias correction alone.
    Ok(match options.optimize.bias_correction {
        true => CalibrationTable { means: means.means(), ..table },
        false => table,
    })
}

/// Checks that a table belongs to the model: all tensors that it names are there, and each mean has as many channels.
///
/// # Errors
/// [`Error::ForeignTable`], or a pass fails.
pub fn check_table(
    model: &Model,
    path: &Path,
    table: &CalibrationTable,
    options: &OptimizeOptions,
) -> Result<(), Error> {
    let mut graph = model.graph.clone();
    let names = |graph: &Graph| -> Vec<String> {
        let outputs = graph.nodes().map(|node| tensor_name(graph, node.output()));
        outputs.chain(graph.inputs().iter().map(|id| tensor_name(graph, *id))).collect()
    };
    let mut known: BTreeSet<String> = names(&graph).into_iter().collect();
    // The table was made without a limit on rewrites.
    let passes = PassOptions { limit: None, ..options.for_passes(Precision::Int8, None) };
    run_passes(SIMPLIFY, &mut graph, &passes, &mut ())?;
    known.extend(names(&graph));
    let named = table.ranges.keys().chain(table.means.keys());
    let unknown: BTreeSet<&String> = named.filter(|name| !known.contains(*name)).collect();
    if !unknown.is_empty() {
        let unknown = unknown.into_iter().cloned().collect();
        return Err(Error::ForeignTable { path: path.to_owned(), model: table.model.clone(), unknown });
    }
    for (id, axis) in channel_axes(&graph) {
        let (name, expected) = (tensor_name(&graph, id), graph.ty(id).shape[axis]);
        if let Some(got) = table.means.get(&name).map(Vec::len).filter(|got| *got != expected) {
            return Err(Error::TableMeans { path: path.to_owned(), tensor: name, expected, got });
        }
    }
    Ok(())
}

/// The least and the greatest number of each input of more than one number, over all samples.
struct Spread<'m> {
    inputs: Vec<(&'m str, f32, f32)>,
}

impl<'m> Spread<'m> {
    fn of(specs: &'m [InputSpec]) -> Self {
        let many = |spec: &&InputSpec| spec.shape.elements() > 1;
        let all = |spec: &'m InputSpec| (spec.name.as_str(), f32::INFINITY, f32::NEG_INFINITY);
        Spread { inputs: specs.iter().filter(many).map(all).collect() }
    }

    fn observe(&mut self, specs: &[InputSpec], tensors: &[Tensor]) {
        for (name, least, greatest) in &mut self.inputs {
            let Some(position) = specs.iter().position(|spec| spec.name == *name) else { continue };
            for value in to_f32(tensors[position].data()) {
                (*least, *greatest) = (least.min(value), greatest.max(value));
            }
        }
    }

    /// Ranges of data that is one number throughout mean nothing; where that is so of some inputs only, it may be meant.
    fn check(&self, progress: &mut dyn Progress) -> Result<(), Error> {
        let constant: Vec<_> = self.inputs.iter().filter(|(_, least, greatest)| least == greatest).collect();
        match constant.first() {
            None => Ok(()),
            Some((input, value, _)) if constant.len() == self.inputs.len() => {
                Err(Error::ConstantData { input: (*input).to_owned(), value: *value })
            }
            Some(_) => {
                for (input, value, _) in constant {
                    progress.note(&format!("warning: calibration: every number for input {input:?} is {value}"));
                }
                Ok(())
            }
        }
    }
}

/// Names and positions of the graph's inputs that are among `wanted`.
fn observed_inputs(graph: &Graph, wanted: &[ValueId]) -> Vec<(String, usize)> {
    let name = |id: ValueId| tensor_name(graph, id);
    let inputs = graph.inputs().iter().enumerate().filter(|(_, id)| wanted.contains(id));
    inputs.map(|(position, id)| (name(*id), position)).collect()
}

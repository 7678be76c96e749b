//! A model that runs on tensors: compiled code, the reference evaluator, or an oracle.

use std::path::Path;

use eightfold_codegen::interface::{Quantization, Tensor as TensorDescription, Variant};
use eightfold_codegen::llvm::artifact::CompileError;
use eightfold_codegen::llvm::resident::Resident;
use eightfold_codegen::program::Program;
use eightfold_codegen::target::TARGETS;
use eightfold_ir::op::relayout::{Order, Relayout};
use eightfold_ir::{Bytes, Graph, Layout, Origin, Output, Shape, Tensor, ValueId};
use eightfold_passes::tensor_name;
use eightfold_runtime::status::Status;

use super::oracle::Oracle;
use crate::artifact::{Artifact, RunError, Session, check_sizes};
use crate::dataset::InputSpec;
use crate::error::Error;
use crate::options::target::target;
use crate::options::{OptimizeOptions, PrecisionRequest};
use crate::report::similarity::to_f32;
use crate::stages::load::Model;
use crate::stages::lower::lower;
use crate::stages::optimize::{Optimized, optimize};
use crate::stages::progress::Progress;
use crate::stages::schedule::schedule;

/// A model that can be run.
#[derive(Debug)]
pub struct Executable {
    code: Code,
    variant: Variant,
}

#[derive(Debug)]
enum Code {
    /// An artifact.
    Loaded { session: Session, buffers: Vec<Vec<u8>> },
    /// Compiled in this process.
    Resident { code: Box<Resident>, buffers: Vec<Vec<u8>> },
    /// Run by the reference evaluator.
    Reference(Box<Graph>),
    /// Run by another implementation.
    Oracle(Box<Oracle>),
}

impl Executable {
    /// Loads a compiled model from a shared library.
    ///
    /// # Errors
    /// If the file is not an artifact, or this machine cannot run it.
    pub fn load(path: &Path) -> Result<Executable, Error> {
        let session = Artifact::load(path)?.session()?;
        let (variant, buffers) = (session.variant().clone(), session.output_buffers());
        Ok(Executable { code: Code::Loaded { session, buffers }, variant })
    }

    /// Compiles a model for this machine and one thread: in f32, or as quantized by the model.
    ///
    /// # Errors
    /// If the model cannot be compiled.
    pub fn compile(model: &Model, progress: &mut dyn Progress) -> Result<Executable, Error> {
        Executable::compile_for_threads(model, 1, progress)
    }

    /// Compiles a model for this machine and `threads` threads, at least one.
    ///
    /// # Errors
    /// If the model cannot be compiled, or the system cannot create the threads.
    pub fn compile_for_threads(
        model: &Model,
        threads: usize,
        progress: &mut dyn Progress,
    ) -> Result<Executable, Error> {
        let options = OptimizeOptions { threads, ..OptimizeOptions::new(target("native")?) };
        Executable::of(&optimize(model, None, &options, progress)?)
    }

    /// A model as imported, run by the reference evaluator: each operator is computed and rounded separately.
    #[must_use]
    pub fn reference(model: &Model) -> Executable {
        Executable::evaluated(&model.name, &model.graph)
    }

    /// The graph that [`compile`](Self::compile) generates code from, run by the reference evaluator. Compiled integers
    /// equal it bit for bit.
    ///
    /// # Errors
    /// If the model cannot be optimized.
    pub fn compiled_reference(model: &Model, progress: &mut dyn Progress) -> Result<Executable, Error> {
        let options = OptimizeOptions::new(target("native")?);
        let optimized = optimize(model, None, &options, progress)?;
        Ok(Executable::evaluated(&optimized.name, &optimized.graph))
    }

    /// The model file, run by tract; `model` is the same model, imported.
    ///
    /// # Errors
    /// If tract is not built in, or cannot run the model.
    pub fn oracle(path: &Path, model: &Model) -> Result<Executable, Error> {
        let code = Code::Oracle(Box::new(Oracle::load(path, model)?));
        Ok(Executable { code, variant: described(&model.name, &model.graph, "tract") })
    }

    /// A graph, run by the reference evaluator.
    fn evaluated(name: &str, graph: &Graph) -> Executable {
        Executable { code: Code::Reference(Box::new(graph.clone())), variant: described(name, graph, "reference") }
    }

    /// A simplified model, compiled in f32, whose outputs are exactly these values (at least one), with their names.
    pub(crate) fn showing(model: &Model, values: &[ValueId], options: &OptimizeOptions) -> Result<Executable, Error> {
        let mut model = model.clone();
        show(&mut model.graph, values);
        let options = OptimizeOptions { precision: PrecisionRequest::F32, ..options.clone() };
        Executable::of(&optimize(&model, None, &options, &mut ())?)
    }

    /// Compiles an optimized graph in this process.
    ///
    /// # Errors
    /// If this machine does not run the target, an operator has no kernel, or the system cannot create the threads.
    pub fn of(optimized: &Optimized) -> Result<Executable, Error> {
        if !optimized.target.runs_here() {
            return Err(Error::CannotRun { target: optimized.target.name });
        }
        let program = schedule(optimized, lower(optimized)?, &mut ())?;
        let variant = Variant::of(&optimized.graph, &program);
        let code = Box::new(Resident::new(program, &variant).map_err(CompileError::Machine)?);
        let size = |output: &TensorDescription| output.byte_size().unwrap_or_default();
        let buffers = variant.outputs.iter().map(|output| vec![0; size(output)]).collect();
        Ok(Executable { code: Code::Resident { code, buffers }, variant })
    }

    /// The description of the running variant.
    #[must_use]
    pub fn variant(&self) -> &Variant {
        &self.variant
    }

    /// The inputs, as specifications for data.
    #[must_use]
    pub fn inputs(&self) -> Vec<InputSpec> {
        self.variant.inputs.iter().map(|input| InputSpec::new(&input.name, input.dtype, &input.dims)).collect()
    }

    /// The outputs.
    #[must_use]
    pub fn outputs(&self) -> &[TensorDescription] {
        &self.variant.outputs
    }

    /// The index of the output with this name; without a name, of the last.
    ///
    /// # Errors
    /// [`Error::UnknownOutput`] lists the names.
    pub fn output(&self, name: Option<&str>) -> Result<usize, Error> {
        let outputs = self.outputs();
        let Some(name) = name else {
            return outputs.len().checked_sub(1).ok_or_else(|| Error::Usage("the model has no output".to_owned()));
        };
        let found = outputs.iter().position(|output| output.name == name);
        found.ok_or_else(|| Error::UnknownOutput {
            got: name.to_owned(),
            expected: outputs.iter().map(|output| output.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    /// Runs one inference; inputs and outputs are in the model's order.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        if let Code::Reference(graph) = &self.code {
            return Ok(eightfold_ir::eval(graph, inputs)?);
        }
        if let Code::Oracle(oracle) = &self.code {
            return oracle.run(inputs).and_then(|outputs| self.expected(outputs));
        }
        let unpacked: Vec<Bytes> = inputs.iter().map(Tensor::unpacked).collect();
        let bytes: Vec<&[u8]> = unpacked.iter().map(|bytes| &**bytes).collect();
        let buffers = self.run_bytes(&bytes)?.to_vec();
        let tensor = |(output, bytes): (&TensorDescription, Vec<u8>)| {
            let tensor = Tensor::from_unpacked(output.dtype, Shape::new(&output.dims), bytes);
            tensor.unwrap_or_else(|error| unreachable!("a buffer is as large as its output: {error}"))
        };
        Ok(self.variant.outputs.iter().zip(buffers).map(tensor).collect())
    }

    /// The outputs of another implementation, if they have the model's types and shapes.
    fn expected(&self, outputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
        let shapes = |described: &[TensorDescription]| -> Vec<String> {
            described.iter().map(|output| format!("{}x{}", Shape::new(&output.dims), output.dtype)).collect()
        };
        let expected = shapes(self.outputs());
        let got: Vec<String> = outputs.iter().map(|output| format!("{}x{}", output.shape(), output.dtype())).collect();
        if expected == got {
            return Ok(outputs);
        }
        let (expected, got, by) = (expected.join(", "), got.join(", "), &self.variant.target);
        Err(Error::Incomparable { reason: format!("the outputs are {expected}, those of {by} {got}") })
    }

    /// Runs one inference of compiled code on bytes, without conversion: benchmarks measure this.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn run_bytes(&mut self, inputs: &[&[u8]]) -> Result<&[Vec<u8>], Error> {
        match &mut self.code {
            Code::Loaded { session, buffers } => {
                session.run(inputs, buffers)?;
                Ok(buffers)
            }
            Code::Resident { code, buffers } => {
                check_sizes(&self.variant, inputs, buffers)?;
                match code.run(inputs, buffers) {
                    Status::OK => Ok(buffers),
                    status => Err(RunError::Status(status).into()),
                }
            }
            Code::Reference(_) => Err(Error::Usage("the reference evaluator runs on tensors alone".to_owned())),
            Code::Oracle(_) => Err(Error::Usage("the oracle runs on tensors alone".to_owned())),
        }
    }
}

/// The inputs and outputs of a graph that is not run by compiled code; `by` names what runs it.
fn described(name: &str, graph: &Graph, by: &str) -> Variant {
    // No code is generated, so the target does not matter.
    let program = Program::new(name, &TARGETS[0]);
    Variant { target: by.to_owned(), ..Variant::of(graph, &program) }
}

/// Makes `values` the outputs of the graph, with their names, row-major like all outputs.
pub(crate) fn show(graph: &mut Graph, values: &[ValueId]) {
    let mut outputs = Vec::with_capacity(values.len());
    for &id in values {
        let name = tensor_name(graph, id).into();
        let value = match graph.ty(id).layout {
            Layout::Nchw => id,
            Layout::Nhwc => graph
                .add("", Relayout { to: Order::Nchw }, &[Some(id)], Origin::default())
                .unwrap_or_else(|error| unreachable!("{error}")),
        };
        outputs.push(Output { name, value });
    }
    graph.set_outputs(outputs);
    graph.eliminate_dead();
}

/// The dequantized elements of a tensor with this description.
#[must_use]
pub fn real(description: &TensorDescription, tensor: &Tensor) -> Vec<f32> {
    let mut values = to_f32(tensor.data());
    if let Some(Quantization { axis, scale, zero_point }) = &description.quantization {
        let axis = axis.map(|axis| axis as usize);
        let inner: usize = axis.map_or(values.len(), |axis| description.dims[axis + 1..].iter().product());
        for (index, value) in values.iter_mut().enumerate() {
            let channel = (index / inner.max(1)) % scale.len();
            *value = (*value - zero_point[channel] as f32) * scale[channel];
        }
    }
    values
}

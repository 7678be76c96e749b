//! tract as an oracle.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eightfold_ir::{DType, Shape, Tensor};
use tract_onnx::prelude::{
    DatumType, Framework as _, InferenceFact, InferenceModelExt as _, IntoRunnable as _, TValue, TVec,
    Tensor as Theirs, TractError, TractResult, TypedRunnableModel,
};

use crate::error::Error;
use crate::stages::load::Model;

/// A model that tract runs.
pub(crate) struct Oracle {
    path: PathBuf,
    plan: Arc<TypedRunnableModel>,
    /// For each of tract's inputs, the index of the model's input.
    inputs: Vec<usize>,
}

impl std::fmt::Debug for Oracle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oracle").field("path", &self.path).field("inputs", &self.inputs).finish_non_exhaustive()
    }
}

/// The element types of the IR and of tract.
const TYPES: &[(DType, DatumType)] = &[
    (DType::F32, DatumType::F32),
    (DType::F16, DatumType::F16),
    (DType::F64, DatumType::F64),
    (DType::I8, DatumType::I8),
    (DType::U8, DatumType::U8),
    (DType::I16, DatumType::I16),
    (DType::U16, DatumType::U16),
    (DType::I32, DatumType::I32),
    (DType::U32, DatumType::U32),
    (DType::I64, DatumType::I64),
    (DType::U64, DatumType::U64),
    (DType::Bool, DatumType::Bool),
];

impl Oracle {
    /// Loads the model in a file; `model` is the same model, imported.
    ///
    /// # Errors
    /// [`Error::Oracle`] if tract cannot run the model.
    pub(crate) fn load(path: &Path, model: &Model) -> Result<Oracle, Error> {
        Oracle::planned(path, model).map_err(|error| refused(path, error))
    }

    fn planned(path: &Path, model: &Model) -> TractResult<Oracle> {
        // A model's declared output shapes may not hold for the dimensions that were set.
        let mut theirs = tract_onnx::onnx().with_ignore_output_shapes(true).model_for_path(path)?;
        let specs = model.inputs();
        let mut inputs = Vec::new();
        // tract's inputs may be in another order, and include initializers.
        for outlet in theirs.input_outlets()?.to_vec() {
            let name = theirs.node(outlet.node).name.clone();
            let ours = specs.iter().position(|spec| spec.name == name);
            let ours = ours.ok_or_else(|| TractError::msg(format!("it reads {name:?}, which is no input here")))?;
            let fact = InferenceFact::dt_shape(datum_type(specs[ours].dtype)?, specs[ours].shape.to_vec());
            theirs.set_input_fact(inputs.len(), fact)?;
            inputs.push(ours);
        }
        Ok(Oracle { path: path.to_owned(), plan: theirs.into_optimized()?.into_runnable()?, inputs })
    }

    /// Runs one inference; inputs and outputs are in the model's order.
    ///
    /// # Errors
    /// [`Error::Oracle`] if tract fails.
    pub(crate) fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let run = || -> TractResult<Vec<Tensor>> {
            let feeds = self.inputs.iter().map(|&ours| fed(&inputs[ours])).collect::<TractResult<TVec<TValue>>>()?;
            self.plan.run(feeds)?.iter().map(|value| ours(value)).collect()
        };
        run().map_err(|error| refused(&self.path, error))
    }
}

fn refused(path: &Path, error: TractError) -> Error {
    Error::Oracle { path: path.to_owned(), source: error.into() }
}

fn datum_type(dtype: DType) -> TractResult<DatumType> {
    let row = TYPES.iter().find(|(ours, _)| *ours == dtype);
    row.map(|(_, theirs)| *theirs).ok_or_else(|| TractError::msg(format!("it has no tensors of {dtype}")))
}

/// Converts an IR tensor to tract's type.
fn fed(tensor: &Tensor) -> TractResult<TValue> {
    let mut theirs = Theirs::zero_dt(datum_type(tensor.dtype())?, tensor.shape())?;
    theirs.as_bytes_mut().copy_from_slice(tensor.bytes());
    Ok(theirs.into())
}

/// Converts a tract tensor to the IR's type.
fn ours(theirs: &Theirs) -> TractResult<Tensor> {
    // tract's dimensions have a type of their own.
    let theirs = match theirs.datum_type() {
        DatumType::TDim => theirs.cast_to_dt(DatumType::I64)?,
        _ => std::borrow::Cow::Borrowed(theirs),
    };
    let kind = theirs.datum_type().unquantized();
    let row = TYPES.iter().find(|(_, theirs)| *theirs == kind);
    let (dtype, _) = row.ok_or_else(|| TractError::msg(format!("an output of its type {kind:?}")))?;
    Ok(Tensor::new(*dtype, Shape::new(theirs.shape()), theirs.as_bytes())?)
}

//! Calls: uses of kernels on views.
//!
//! A call is a producer with all its geometry, pointwise steps, and views that say where operands and the result lie. Calls of
//! equal geometry share one function: which bytes they touch is not part of it.

use eightfold_ir::DType;

use super::Producer;
use crate::step::Step;
use crate::view::{BufferId, ConstId, Storage, View};

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// What it computes.
    pub producer: Producer,
    /// The producer's operands, then those of the steps. Operands of steps have the result's extents.
    pub operands: Vec<View>,
    /// What happens to each element before it is stored.
    pub steps: Vec<Step>,
    /// Where the result goes.
    pub output: View,
    /// The ONNX nodes it came from, for profiles and dumps.
    pub origin: String,
}

impl Call {
    /// The element type of operand 0, or of the result if there is no operand.
    pub(crate) fn input_type(&self) -> DType {
        self.operands.first().map_or(self.output.dtype, |view| view.dtype)
    }

    /// The rank of an operand.
    pub(crate) fn rank(&self, operand: usize) -> usize {
        self.operands[operand].grid.dims.len()
    }

    /// The rank of the result.
    pub(crate) fn rank_of_output(&self) -> usize {
        self.output.grid.dims.len()
    }

    /// Elements of operand 0.
    pub(crate) fn inputs(&self) -> f64 {
        self.operands.first().map_or(0.0, |view| view.grid.elements() as f64)
    }

    /// Elements of the result.
    pub(crate) fn results(&self) -> f64 {
        self.output.grid.elements() as f64
    }

    /// The operands, then the result.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.operands.iter().chain([&self.output])
    }

    /// The same, to be changed.
    pub fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.operands.iter_mut().chain([&mut self.output])
    }

    /// The call without what one function can leave to its arguments: which bytes, and what for.
    #[must_use]
    pub fn geometry(&self) -> Call {
        let mut call = self.clone();
        for view in call.views_mut() {
            view.storage = match view.storage {
                Storage::Buffer(_) => Storage::Buffer(BufferId(0)),
                Storage::Const(_) => Storage::Const(ConstId(0)),
            };
            view.offset = 0;
            view.loops.clear();
        }
        call.origin.clear();
        call
    }
}

//! Plain constants: weights and biases as the model has them, before the schedule pass `pack` reorders them for the
//! kernels.
//!
//! Lowering gives a call with weights two constant operands after its input: the weights, as a view
//! `[channel, row, column, depth]` of the model's own bytes, and the bias, as a view `[channel]`. `pack` replaces them
//! by the packed weights and the initial values of the accumulators.

use eightfold_ir::{Bytes, DType, Elements, Shape, Tensor};

use super::attribute::Attribute;
use crate::cpu::LINE;
use crate::kernel::Call;
use crate::target::Target;
use crate::view::{Const, Grid, Storage, View};

/// The data of a call with plain constants that the constants themselves do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The zero point of the input.
    pub zero_point: i32,
    /// The channel of the weights and of the bias that belongs to the result's first channel; not 0 if the call is a
    /// part of another.
    pub first: usize,
}

/// `128@0`, the zero point and the first channel.
impl Attribute for Plain {
    fn text(&self) -> String {
        format!("{}@{}", self.zero_point, self.first)
    }

    fn parse(text: &str) -> Option<Self> {
        let (zero_point, first) = text.split_once('@')?;
        Some(Plain { zero_point: Attribute::parse(zero_point)?, first: Attribute::parse(first)? })
    }
}

/// Constants in the order and form in which a kernel reads them, for all channels of its plain weights.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Packed {
    /// The weights, in the form that the family's `pack` defines.
    pub(crate) weights: Vec<u8>,
    /// Initial values of the accumulators: one i32 or f32 per channel, padded to whole blocks.
    pub(crate) sums: Vec<u8>,
    /// For each vector of channels and each of its [extra groups](super::Gemm::extra): the distance of the group's
    /// first input element from the pixel's first.
    pub(crate) extra: Vec<Vec<isize>>,
}

/// A matrix within packed weights. Row `r` begins in block `r / block`. A row is stored in pieces of `together`
/// elements, which are `together * block` elements apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PackedMatrix {
    /// The plain weights.
    pub(crate) plain: View,
    /// Rows and columns.
    pub(crate) extents: [usize; 2],
    /// The number of adjacent elements of a row.
    pub(crate) together: usize,
    /// Rows per block.
    pub(crate) block: usize,
    /// Distance between blocks, in elements.
    pub(crate) distance: isize,
}

/// The plain constants of a call, as tensors.
pub(crate) struct Constants {
    weights: (View, Tensor),
    bias: (View, Tensor),
}

impl Constants {
    /// The constants of which operands 1 and 2 of a call are views.
    pub(crate) fn of(call: &Call, consts: &[Const]) -> Constants {
        let tensor = |view: &View| {
            let Storage::Const(id) = view.storage else { unreachable!("verified: plain operands are constants") };
            (view.clone(), tensor(view.dtype, &consts[id.0].bytes))
        };
        Constants { weights: tensor(&call.operands[1]), bias: tensor(&call.operands[2]) }
    }

    /// Weights of these extents that all equal `number`, and a zero bias.
    #[cfg(test)]
    pub(crate) fn splat(number: i8, dims: [usize; 4]) -> Constants {
        use crate::view::ConstId;
        let one = |dtype: DType, dims: &[usize], bytes: &[u8]| {
            let grid = Grid { dims: dims.to_vec(), strides: vec![0; dims.len()] };
            (View::new(Storage::Const(ConstId(0)), dtype, 0, grid), tensor(dtype, &Bytes::from(bytes.to_vec())))
        };
        let (weights, bias) = (one(DType::I8, &dims, &[number as u8]), one(DType::I32, &dims[..1], &[0; 4]));
        Constants { weights, bias }
    }

    /// Channels, rows, columns and depth of the weights.
    pub(crate) fn dims(&self) -> [usize; 4] {
        let dims = &self.weights.0.grid.dims;
        [dims[0], dims[1], dims[2], dims[3]]
    }

    /// A function that returns an integer weight.
    pub(crate) fn int(&self) -> impl Fn([usize; 4]) -> i32 + '_ {
        let elements = self.weights.1.elements();
        move |index| elements.int(position(&self.weights.0, &index)) as i32
    }

    /// A function that returns a float weight.
    pub(crate) fn float(&self) -> impl Fn([usize; 4]) -> f32 + '_ {
        let elements = self.weights.1.elements();
        move |index| elements.float(position(&self.weights.0, &index))
    }

    /// The integer bias of each channel.
    pub(crate) fn int_bias(&self) -> Vec<i64> {
        self.bias(|elements, at| elements.int(at))
    }

    /// The float bias of each channel.
    pub(crate) fn float_bias(&self) -> Vec<f32> {
        self.bias(|elements, at| elements.float(at))
    }

    fn bias<T>(&self, element: impl Fn(&Elements<'_>, usize) -> T) -> Vec<T> {
        let (view, tensor) = &self.bias;
        let elements = tensor.elements();
        (0..view.grid.dims[0]).map(|channel| element(&elements, position(view, &[channel]))).collect()
    }
}

/// The bytes of a constant as a tensor of rank 1, without an incomplete last element.
fn tensor(dtype: DType, bytes: &Bytes) -> Tensor {
    let count = bytes.len() / dtype.byte_size();
    let whole = bytes.part(0..count * dtype.byte_size()).and_then(|bytes| {
        let tensor = Tensor::from_unpacked(dtype, Shape::new(&[count]), bytes);
        tensor.ok()
    });
    whole.unwrap_or_else(|| unreachable!("whole elements"))
}

/// The index in the storage of an element of a view.
fn position(view: &View, index: &[usize]) -> usize {
    let distance: isize = index.iter().zip(&view.grid.strides).map(|(at, stride)| *at as isize * stride).sum();
    (view.offset as isize + distance) as usize
}

/// The rule that the constants of a plain call of `n` channels break, if any.
pub(crate) fn misfit(plain: Plain, call: &Call, n: usize) -> Option<&'static str> {
    let [weights, bias] = [1, 2].map(|index| &call.operands[index]);
    let consts = [weights, bias].iter().all(|view| matches!(view.storage, Storage::Const(_)) && view.loops.is_empty());
    if !consts || [weights, bias].map(|view| view.grid.dims.len()) != [4, 1] {
        return Some("plain weights must be constants of rank 4 and the bias a constant of rank 1");
    }
    let channels = weights.grid.dims[0];
    (bias.grid.dims[0] != channels || plain.first + n > channels)
        .then_some("plain weights and the bias must have all channels of the result")
}

/// A call whose constant operands are views as large as those that `pack` makes, without packing anything: for code
/// that is timed but whose results are not used. Calls without plain constants stay as they are.
pub(crate) fn as_if_packed(call: &Call, target: &Target) -> Call {
    let Some(Plain { first, .. }) = call.producer.def().plain() else { return call.clone() };
    let mut call = call.clone();
    let def = call.producer.def();
    let (types, bytes) = (def.packed_types(), def.packed_bytes(target));
    let n = call.output.grid.dims[1].max(1);
    for ((view, dtype), bytes) in call.operands[1..].iter_mut().zip(types).zip(bytes) {
        let size = dtype.byte_size();
        // Parts of one call read different weights.
        let before = (bytes / n * first).next_multiple_of(LINE);
        *view = View::new(view.storage, dtype, before / size, Grid::dense(&[bytes / size]));
    }
    call.producer.def_mut().forget_plain();
    call
}

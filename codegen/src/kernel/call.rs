//! Calls: uses of kernels on views.
//!
//! A call is a producer with all its geometry, pointwise steps, and views that say where operands and the result lie.
//! Calls of equal geometry share one function: the addresses are arguments of the function.

use eightfold_ir::DType;

use super::Producer;
use crate::step::Step;
use crate::view::{BufferId, ConstId, Storage, View};

/// One kernel call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The computation before the steps.
    pub producer: Producer,
    /// The producer's operands, then the step operands. Step operands have the result's extents.
    pub operands: Vec<View>,
    /// The steps that each element passes before it is stored.
    pub steps: Vec<Step>,
    /// The place of the result.
    pub output: View,
    /// The ONNX nodes that the call implements, for profiles and dumps.
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

    /// The same, mutable.
    pub fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.operands.iter_mut().chain([&mut self.output])
    }

    /// Everything that determines the time of the kernel, as text, without names and addresses: the family, its
    /// attributes, the result, and the kernel's operands except constant weights.
    ///
    /// `pool fold=max kernel=3x2 strides=2x2 dilations=1x1 pads=0x1 u8[1x8x4x4:0,1,32,8] = u8[1x8x9x9:0,1,72,8]`
    ///
    /// Choices are not part of the key, because they are looked up by it. Steps are not part of it either: they take
    /// the same time for every choice.
    #[must_use]
    pub fn key(&self) -> String {
        let kernel = self.producer.def();
        let attributes = kernel.key_attributes().into_iter().map(|(name, key)| format!(" {name}={key}"));
        // The bias follows the weights.
        let constants = kernel.weights().map_or(0..0, |weights| weights..weights + 2);
        let own = (0..kernel.operand_count()).filter(|index| !constants.contains(index));
        let operands = own.map(|index| format!(" {}", self.operands[index].key()));
        let (family, output) = (self.producer.family(), self.output.key());
        format!("{family}{} {output} ={}", attributes.collect::<String>(), operands.collect::<String>())
    }

    /// The call without the data that a function takes as arguments (addresses) and without its origin.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Gemm, Plain, Run, Tile};
    use crate::view::Grid;

    /// A convolution of 4 x 4 pixels: its input lies in this buffer at this offset.
    fn product(buffer: usize, offset: usize, tile: Option<Tile>, extra: Vec<Vec<isize>>) -> Call {
        let view = |storage, dims: &[usize]| View::new(storage, DType::U8, offset, Grid::channels_last(dims));
        let constant = view(Storage::Const(ConstId(buffer)), &[8, 1, 1, 16]);
        let gemm = Gemm {
            input: DType::U8,
            format: None,
            strides: [1; 2],
            runs: vec![Run { offset: 0, length: 16 }],
            n: 8,
            tile,
            extra,
            joined: false,
            row_block: tile.map_or(0, |_| 4),
            plain: tile.is_none().then_some(Plain { zero_point: 3, first: 0 }),
        };
        Call {
            producer: gemm.into(),
            operands: vec![view(Storage::Buffer(BufferId(buffer)), &[1, 16, 4, 4]), constant.clone(), constant],
            steps: vec![],
            output: view(Storage::Buffer(BufferId(buffer + 1)), &[1, 8, 4, 4]),
            origin: buffer.to_string(),
        }
    }

    #[test]
    fn calls_of_equal_geometry_have_equal_texts_wherever_they_lie() {
        let [one, other] = [(0, 0), (3, 64)].map(|(buffer, offset)| product(buffer, offset, None, vec![]));
        assert_ne!(one.to_string(), other.to_string());
        assert_eq!(one.geometry().to_string(), other.geometry().to_string());
        let tiled = product(0, 0, Some(Tile { mr: 4, nr: 8, kr: 4 }), vec![]);
        assert_ne!(one.geometry().to_string(), tiled.geometry().to_string());
    }

    #[test]
    fn keys_hold_what_decides_about_the_time_but_no_choice() {
        let key = product(0, 0, None, vec![]).key();
        assert_eq!(product(3, 64, Some(Tile { mr: 4, nr: 8, kr: 4 }), vec![vec![]]).key(), key);
        let extra = product(0, 0, None, vec![vec![], vec![4]]).key();
        assert_eq!(extra, key.replace(" n=8", " n=8 extra=some"));
        assert!(key.starts_with("gemm ") && key.ends_with(" u8[1x8x4x4:0,1,32,8] = u8[1x16x4x4:0,1,64,16]"), "{key}");
    }
}

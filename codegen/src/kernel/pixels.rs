//! The output pixels of a convolution or product: where each one's input, step operands and result lie, and what is done
//! to a pixel's sums before they are stored.
//!
//! Invariant: pixels are a grid of batch x rows x cols with one distance along each axis for every tensor involved; axes
//! that all tensors walk without a jump are joined into one, so that tiles do not end at the ends of rows.

use std::cell::RefCell;
use std::collections::BTreeMap;

use eightfold_ir::DType;

use crate::llvm::steps::{self, Operands};
use crate::llvm::vector::{Emitter, Int, Kind, Ptr, Vector};
use crate::program::{Call, Step};

/// The grid of pixels, distances in bytes.
pub(crate) struct Pixels<'c> {
    call: &'c Call,
    /// Pixels along batch, rows, cols; leading axes that were joined are 1.
    pub(crate) extents: [usize; 3],
    /// Distances of neighbours in the input.
    pub(crate) input: [isize; 3],
    output: [isize; 3],
    /// Positions in [`Call::operands`] of what steps read element by element, and their distances.
    operands: Vec<(usize, [isize; 3])>,
}

/// Where the input, the result and the step operands of one pixel lie.
#[derive(Clone, Debug)]
pub(crate) struct Place<'ctx> {
    pub(crate) input: Ptr<'ctx>,
    output: Ptr<'ctx>,
    /// As [`Pixels::operands`].
    operands: Vec<Ptr<'ctx>>,
    /// Pointers to all operands of the call.
    all: Vec<Ptr<'ctx>>,
    /// Operands that are the same for all pixels, as loaded for this place.
    loaded: RefCell<BTreeMap<usize, Vector<'ctx>>>,
}

impl<'c> Pixels<'c> {
    /// The pixels of a call whose operands 0 to 2 are input, weights and sums; strides are in elements.
    pub(crate) fn of(call: &'c Call, extents: [usize; 3], input: [isize; 3], output: [isize; 3]) -> Self {
        let bytes = |strides: [isize; 3], dtype: DType| strides.map(|s| s * dtype.byte_size() as isize);
        let is_table =
            |index: usize| call.steps.iter().any(|s| matches!(s, Step::Table { operand, .. } if *operand == index));
        let operands = (3..call.operands.len()).filter(|index| !is_table(*index)).map(|index| {
            let view = &call.operands[index];
            debug_assert_eq!(view.grid.dims.len(), 4, "operands of steps have axes N, C, H, W");
            let strides = &view.grid.strides;
            (index, bytes([strides[0], strides[2], strides[3]], view.dtype))
        });
        let mut pixels = Pixels {
            call,
            extents,
            input: bytes(input, call.operands[0].dtype),
            output: bytes(output, call.output.dtype),
            operands: operands.collect(),
        };
        pixels.join(1);
        pixels.join(0);
        // A batch over joined rows has become the rows.
        pixels.join(1);
        pixels
    }

    fn walks(&mut self) -> impl Iterator<Item = &mut [isize; 3]> {
        [&mut self.input, &mut self.output].into_iter().chain(self.operands.iter_mut().map(|(_, strides)| strides))
    }

    /// Joins `axis` into the next one where every tensor walks both as one.
    fn join(&mut self, axis: usize) {
        let [outer, inner] = [self.extents[axis], self.extents[axis + 1]];
        let one =
            |strides: &mut [isize; 3]| outer == 1 || inner == 1 || strides[axis] == strides[axis + 1] * inner as isize;
        if !self.walks().all(one) {
            return;
        }
        if inner == 1 {
            self.walks().for_each(|strides| strides[axis + 1] = strides[axis]);
        }
        self.extents[axis] = 1;
        self.extents[axis + 1] = outer * inner;
    }

    /// The first pixel and channel; `pointers` are those of the function.
    pub(crate) fn place<'ctx>(&self, pointers: &[Ptr<'ctx>]) -> Place<'ctx> {
        Place {
            input: pointers[0],
            output: pointers[self.call.operands.len()],
            operands: self.operands.iter().map(|(index, _)| pointers[*index]).collect(),
            all: pointers.to_vec(),
            loaded: RefCell::default(),
        }
    }

    /// The place `index * by` pixels further along `axis`.
    pub(crate) fn step<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        axis: usize,
        index: Int<'ctx>,
        by: usize,
    ) -> Place<'ctx> {
        let go = |pointer, stride: isize| e.offset_by(pointer, e.scale(index, stride * by as isize));
        let operands = place.operands.iter().zip(&self.operands);
        Place {
            input: go(place.input, self.input[axis]),
            output: go(place.output, self.output[axis]),
            operands: operands.map(|(pointer, (_, strides))| go(*pointer, strides[axis])).collect(),
            ..place.afresh()
        }
    }

    /// The place `index * by` channels further on in the result and what steps read.
    pub(crate) fn channels<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        index: Int<'ctx>,
        by: usize,
    ) -> Place<'ctx> {
        let go = |pointer, element: isize| e.offset_by(pointer, e.scale(index, element * by as isize));
        let operands = place.operands.iter().zip(&self.operands);
        Place {
            output: go(place.output, self.call.output.dtype.byte_size() as isize),
            operands: operands.map(|(pointer, (index, _))| go(*pointer, self.channel_stride(*index))).collect(),
            ..place.afresh()
        }
    }

    /// Bytes between neighbouring channels of an operand.
    fn channel_stride(&self, index: usize) -> isize {
        let view = &self.call.operands[index];
        view.grid.strides[1] * view.dtype.byte_size() as isize
    }

    /// Runs the steps on the sums of the pixel `pixel` columns after `place` and stores the first `channels` of them.
    pub(crate) fn finish<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        pixel: usize,
        sums: Vector<'ctx>,
        channels: usize,
    ) {
        let mut operands = PixelOperands { e, pixels: self, place, pixel: pixel as isize, channels, lanes: sums.lanes };
        let dtype = if sums.kind == Kind::F32 { DType::F32 } else { DType::I32 };
        let result = steps::apply(e, self.call, sums, dtype, &mut operands);
        let output = e.offset(place.output, pixel as isize * self.output[2]);
        e.store_first(output, result, channels);
    }
}

impl<'ctx> Place<'ctx> {
    fn afresh(&self) -> Self {
        Place { loaded: RefCell::default(), ..self.clone() }
    }
}

/// The operands of steps at one pixel.
struct PixelOperands<'p, 'm, 'ctx> {
    e: &'p Emitter<'m, 'ctx>,
    pixels: &'p Pixels<'p>,
    place: &'p Place<'ctx>,
    pixel: isize,
    channels: usize,
    lanes: usize,
}

impl<'ctx> Operands<'ctx> for PixelOperands<'_, '_, 'ctx> {
    fn load(&mut self, index: usize) -> Vector<'ctx> {
        let Some(position) = self.pixels.operands.iter().position(|(known, _)| *known == index) else {
            unreachable!("operand {index} belongs to a step")
        };
        let strides = self.pixels.operands[position].1;
        let same = strides == [0; 3];
        if let Some(vector) = self.place.loaded.borrow().get(&index).filter(|_| same) {
            return *vector;
        }
        let e = self.e;
        let pointer = e.offset(self.place.operands[position], self.pixel * strides[2]);
        let dtype = self.pixels.call.operands[index].dtype;
        let kind = steps::kind(dtype);
        let vector = match self.pixels.channel_stride(index) {
            0 => e.broadcast(pointer, kind, self.lanes),
            stride if stride == kind.bytes() as isize => e.load_first(pointer, kind, self.channels, self.lanes),
            stride => {
                let one = |channel: usize| e.load(e.offset(pointer, stride * channel as isize), kind, 1);
                let lanes: Vec<_> = (0..self.lanes).map(|lane| one(lane.min(self.channels - 1))).collect();
                e.concat(&lanes)
            }
        };
        if same {
            self.place.loaded.borrow_mut().insert(index, vector);
        }
        vector
    }

    fn table(&self, index: usize) -> Ptr<'ctx> {
        self.place.all[index]
    }
}

//! The output pixels of a convolution or product: the addresses of each pixel's input, step operands and result, and
//! the epilogue on its accumulators.
//!
//! Invariant: pixels are a grid of batch x rows x columns with one stride along each axis for each tensor. Axes that
//! are contiguous in all tensors are joined into one, so that tiles need not end at the ends of rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use eightfold_ir::DType;

use crate::kernel::Call;
use crate::kernel::steps::{self, Operands};
use crate::kernel::window::distances;
use crate::step::Step;
use crate::vector::{Emitter, Int, Kind, Ptr, Vector};

/// Bytes of a cache line.
const LINE: usize = 64;

/// The grid of pixels. All distances are in bytes.
pub(crate) struct Pixels<'c> {
    call: &'c Call,
    /// Pixels along batch, rows, columns; 1 for leading axes that were joined into the next.
    pub(crate) extents: [usize; 3],
    /// Distances between neighbouring pixels of the input, along each axis.
    pub(crate) input: [isize; 3],
    output: [isize; 3],
    /// Positions in [`Call::operands`] of the step operands with an element for each result, and their pixel distances.
    operands: Vec<(usize, [isize; 3])>,
    /// The position of the table that [`Pixels::look_up`] reads instead of [`Pixels::finish`], if any.
    later: Option<usize>,
}

/// The addresses of one pixel's input, result and step operands.
#[derive(Clone, Debug)]
pub(crate) struct Place<'ctx> {
    pub(crate) input: Ptr<'ctx>,
    output: Ptr<'ctx>,
    /// Pointers to the operands of [`Pixels::operands`].
    operands: Vec<Ptr<'ctx>>,
    /// Pointers to all operands of the call.
    all: Vec<Ptr<'ctx>>,
    /// Row and column of each pixel, if the pixels of the tile span several rows; empty if they are neighbours in one
    /// row.
    spots: Vec<[Int<'ctx>; 2]>,
    /// Operands that are the same for all pixels, cached once loaded.
    loaded: RefCell<BTreeMap<usize, Vector<'ctx>>>,
}

impl<'c> Pixels<'c> {
    /// The pixels of a call whose operands 0 to 2 are the input, the weights and the initial accumulators. `strides` is
    /// the distance of neighbouring pixels in rows and columns of the input.
    pub(crate) fn of(call: &'c Call, strides: [usize; 2]) -> Self {
        let mut pixels = Pixels::apart(call, strides);
        pixels.join(1);
        pixels.join(0);
        // If batch was joined into rows, rows may now join into columns.
        pixels.join(1);
        pixels
    }

    /// Like [`Pixels::of`], but without joined axes.
    pub(crate) fn apart(call: &'c Call, strides: [usize; 2]) -> Self {
        let bytes = |strides: [isize; 3], dtype: DType| strides.map(|s| s * dtype.byte_size() as isize);
        let is_table =
            |index: usize| call.steps.iter().any(|s| matches!(s, Step::Table { operand, .. } if *operand == index));
        let operands = (3..call.operands.len()).filter(|index| !is_table(*index)).map(|index| {
            let view = &call.operands[index];
            debug_assert_eq!(view.grid.dims.len(), 4, "operands of steps have axes N, C, H, W");
            (index, bytes(view.grid.pixel_strides(), view.dtype))
        });
        Pixels {
            call,
            extents: call.output.grid.pixels(),
            input: bytes(distances(&call.operands[0], strides), call.operands[0].dtype),
            output: bytes(call.output.grid.pixel_strides(), call.output.dtype),
            operands: operands.collect(),
            later: None,
        }
    }

    /// The same, but if the last step is a lookup from bytes to bytes, [`Pixels::finish`] stores the indices, and the
    /// caller must call [`Pixels::look_up`] to replace them by the entries.
    pub(crate) fn with_table_later(self) -> Self {
        let call = self.call;
        let byte = |dtype: DType| steps::kind(dtype) == Kind::I8;
        let later = match call.steps.as_slice() {
            [.., Step::Quantize { dtype, .. }, Step::Table { operand, dtype: to }]
                if byte(*dtype) && byte(*to) && *to == call.output.dtype =>
            {
                Some(*operand)
            }
            _ => None,
        };
        Pixels { later, ..self }
    }

    fn walks(&mut self) -> impl Iterator<Item = &mut [isize; 3]> {
        [&mut self.input, &mut self.output].into_iter().chain(self.operands.iter_mut().map(|(_, strides)| strides))
    }

    /// Joins `axis` into the next axis if both are contiguous in every tensor.
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

    /// The place of the first pixel and channel; `pointers` are the parameters of the function.
    pub(crate) fn place<'ctx>(&self, pointers: &[Ptr<'ctx>]) -> Place<'ctx> {
        Place {
            input: pointers[0],
            output: pointers[self.call.operands.len()],
            operands: self.operands.iter().map(|(index, _)| pointers[*index]).collect(),
            all: pointers.to_vec(),
            spots: Vec::new(),
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

    /// The place `index * by` channels further in the result and in the step operands.
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

    /// The place of a tile of `count` pixels that starts at pixel `first` of `place`; pixels are counted across rows.
    pub(crate) fn spots<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        first: Int<'ctx>,
        count: usize,
    ) -> Place<'ctx> {
        let spot = |pixel| {
            let (row, column) = e.quotient(e.plus(first, e.int(pixel)), self.extents[2]);
            [row, column]
        };
        Place { spots: (0..count).map(spot).collect(), ..place.afresh() }
    }

    /// The distance of a pixel of the tile from `place`, in a tensor with these strides.
    pub(crate) fn distance<'ctx>(
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        pixel: usize,
        strides: &[isize; 3],
    ) -> Int<'ctx> {
        match place.spots.get(pixel) {
            Some([row, column]) => e.plus(e.scale(*row, strides[1]), e.scale(*column, strides[2])),
            None => e.signed(pixel as isize * strides[2]),
        }
    }

    /// Prefetches into the first-level cache the results and step operands of `channels` channels of the first `count`
    /// pixels. Only 32-bit tensors are prefetched: each pixel has a cache line of its own in a block, too far from the
    /// next line for the CPU's own prefetching.
    pub(crate) fn fetch<'ctx>(&self, e: &Emitter<'_, 'ctx>, place: &Place<'ctx>, count: usize, channels: usize) {
        let operands = place.operands.iter().zip(&self.operands).filter(|(_, (index, strides))| {
            let numbers = self.call.operands[*index].dtype.byte_size() == 4;
            numbers && *strides != [0; 3] && self.channel_stride(*index) == 4
        });
        let result = (self.call.output.dtype.byte_size() == 4).then_some((place.output, &self.output));
        for (pointer, strides) in operands.map(|(pointer, (_, strides))| (*pointer, strides)).chain(result) {
            for pixel in 0..count {
                let first = e.offset_by(pointer, Self::distance(e, place, pixel, strides));
                (0..channels)
                    .step_by(LINE / 4)
                    .for_each(|channel| e.prefetch(e.offset(first, 4 * channel as isize), 1));
            }
        }
    }

    /// Bytes between neighbouring channels of an operand.
    fn channel_stride(&self, index: usize) -> isize {
        let view = &self.call.operands[index];
        view.grid.strides[1] * view.dtype.byte_size() as isize
    }

    /// Runs the steps on accumulators and stores the results. `sums` holds one vector for each pixel from `first` on;
    /// the first `channels` results of each vector are stored. `order` gives the channel of each lane, if lanes are not
    /// in channel order.
    pub(crate) fn finish<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        first: usize,
        sums: &[Vector<'ctx>],
        channels: usize,
        order: Option<&[usize]>,
    ) {
        let Vector { kind, lanes, .. } = sums[0];
        let dtype = if kind == Kind::F32 { DType::F32 } else { DType::I32 };
        // Four registers of 32-bit numbers make one register of bytes.
        let together = if self.call.output.dtype.bits() == 8 { (4 * e.lanes() / lanes).max(1) } else { 1 };
        for (chunk, sums) in sums.chunks(together).enumerate() {
            let first = first + chunk * together;
            let pixels = first..first + sums.len();
            let mut operands = PixelOperands { e, pixels: self, place, at: pixels.clone(), channels, lanes, order };
            let results = match self.later {
                None => steps::apply(e, self.call, e.concat(sums), dtype, &mut operands),
                Some(_) => {
                    let before = &self.call.steps[..self.call.steps.len() - 1];
                    steps::through(e, self.call, before, (e.concat(sums), dtype), &mut operands).0
                }
            };
            for (pixel, result) in pixels.zip(e.split(results, lanes)) {
                let lane_of = |order: &[usize], channel| order.iter().position(|c| *c == channel).unwrap_or(channel);
                let result = match order {
                    Some(order) => {
                        let lanes: Vec<_> = (0..lanes).map(|channel| lane_of(order, channel)).collect();
                        e.shuffle(result, result, &lanes)
                    }
                    None => result,
                };
                let output = e.offset_by(place.output, Self::distance(e, place, pixel, &self.output));
                e.store_first(output, result, channels);
            }
        }
    }

    /// Replaces the indices that [`Pixels::finish`] stored for the first `count` pixels of `place` by the entries of
    /// the last step's table. Each pixel has `channels` indices, in vectors of `lanes`. Does nothing if no table was
    /// left for later.
    pub(crate) fn look_up<'ctx>(
        &self,
        e: &Emitter<'_, 'ctx>,
        place: &Place<'ctx>,
        count: usize,
        channels: usize,
        lanes: usize,
    ) {
        let Some(table) = self.later else { return };
        // Fill a register with the indices of several pixels.
        let together = (4 * e.lanes() / lanes).max(1);
        let some = |first: Int<'ctx>, count: usize| {
            let first = e.offset_by(place.output, e.scale(first, self.output[2]));
            let pointers: Vec<_> = (0..count).map(|pixel| e.offset(first, pixel as isize * self.output[2])).collect();
            let indices: Vec<_> = pointers.iter().map(|at| e.load_first(*at, Kind::I8, channels, lanes)).collect();
            let entries = e.lookup(place.all[table], Kind::I8, e.concat(&indices));
            for (at, entries) in pointers.iter().zip(e.split(entries, lanes)) {
                e.store_first(*at, entries, channels);
            }
        };
        e.repeat(e.int(count / together), |index| some(e.scale(index, together as isize), together));
        if !count.is_multiple_of(together) {
            some(e.int(count / together * together), count % together);
        }
    }
}

impl<'ctx> Place<'ctx> {
    /// The place with another input address.
    pub(crate) fn with_input(self, input: Ptr<'ctx>) -> Self {
        Place { input, ..self }
    }

    fn afresh(&self) -> Self {
        Place { loaded: RefCell::default(), ..self.clone() }
    }
}

/// The step operands of some pixels, concatenated pixel by pixel.
struct PixelOperands<'p, 'm, 'ctx> {
    e: &'p Emitter<'m, 'ctx>,
    pixels: &'p Pixels<'p>,
    place: &'p Place<'ctx>,
    at: Range<usize>,
    channels: usize,
    /// Lanes per pixel.
    lanes: usize,
    /// The channel of each lane, if lanes are not in channel order.
    order: Option<&'p [usize]>,
}

impl<'ctx> PixelOperands<'_, '_, 'ctx> {
    /// Operand `index`, whose channels begin at `pointer`, in the order of the lanes.
    fn ordered(&self, index: usize, pointer: Ptr<'ctx>) -> Vector<'ctx> {
        let channels = self.channels(index, pointer);
        self.order.map_or(channels, |order| self.e.shuffle(channels, channels, order))
    }

    /// Operand `index`, whose channels begin at `pointer`, in channel order.
    fn channels(&self, index: usize, pointer: Ptr<'ctx>) -> Vector<'ctx> {
        let e = self.e;
        let kind = steps::kind(self.pixels.call.operands[index].dtype);
        match self.pixels.channel_stride(index) {
            0 => e.broadcast(pointer, kind, self.lanes),
            stride if stride == kind.bytes() as isize => e.load_first(pointer, kind, self.channels, self.lanes),
            stride => {
                let one = |channel: usize| e.load(e.offset(pointer, stride * channel as isize), kind, 1);
                let lanes: Vec<_> = (0..self.lanes).map(|lane| one(lane.min(self.channels - 1))).collect();
                e.concat(&lanes)
            }
        }
    }
}

impl<'ctx> Operands<'ctx> for PixelOperands<'_, '_, 'ctx> {
    fn load(&mut self, index: usize) -> Vector<'ctx> {
        let known = self.pixels.operands.iter().zip(&self.place.operands).find(|((known, _), _)| *known == index);
        let Some(((_, strides), pointer)) = known else { unreachable!("operand {index} belongs to a step") };
        let vectors: Vec<_> = if *strides == [0; 3] {
            let mut loaded = self.place.loaded.borrow_mut();
            let vector = *loaded.entry(index).or_insert_with(|| self.ordered(index, *pointer));
            self.at.clone().map(|_| vector).collect()
        } else {
            let pixel = |pixel| self.e.offset_by(*pointer, Pixels::distance(self.e, self.place, pixel, strides));
            self.at.clone().map(|at| self.ordered(index, pixel(at))).collect()
        };
        self.e.concat(&vectors)
    }

    fn table(&self, index: usize) -> Ptr<'ctx> {
        self.place.all[index]
    }
}

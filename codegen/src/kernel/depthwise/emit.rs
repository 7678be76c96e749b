//! Depthwise convolutions, over inputs whose channels are adjacent.
//!
//! A tile is a few neighbouring pixels of a row by one register of channels, or up to four registers for bytes. The
//! kernel walks the columns of input that the tile reads and uses each column for every pixel whose window contains it.
//! So at stride 1 each input is loaded once and each pair is interleaved once. Integers are exact for all weights of 16
//! bits: two rows of a column (in an odd last row, two columns) are interleaved as 16-bit numbers, multiplied and added
//! in pairs.
//!
//! Channels are the innermost loop, because they are adjacent in memory.

use std::collections::BTreeMap;

use eightfold_ir::DType;

use super::pack;

use crate::kernel::pixels::{Pixels, Place};
use crate::kernel::{Call, Depthwise, steps};
use crate::vector::{Emitter, Int, Kind, Ptr, Vector};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, depthwise: &Depthwise, pointers: &[Ptr<'ctx>]) {
    let pixels = Pixels::of(call, depthwise.strides);
    // Some pixels are finished while the accumulators of others are in registers. A table lookup would spill these.
    let pixels = if e.target().byte_permute { pixels } else { pixels.with_table_later() };
    let kernel = Kernel { e, depthwise, pixels };
    let [batch, rows, cols] = kernel.pixels.extents;
    let widest = if e.target().vector_registers > 16 { 14 } else { 8 };
    // Tiles of nearly equal size.
    let width = cols.div_ceil(cols.div_ceil(widest));
    let place = kernel.pixels.place(pointers);
    e.repeat(e.int(batch), |b| {
        let place = kernel.pixels.step(e, &place, 0, b, 1);
        e.repeat(e.int(rows), |row| {
            let place = kernel.pixels.step(e, &place, 1, row, 1);
            e.repeat(e.int(cols / width), |tile| {
                kernel.channels(width, &kernel.pixels.step(e, &place, 2, tile, width), pointers);
            });
            if cols % width > 0 {
                let tail = kernel.pixels.step(e, &place, 2, e.int(cols / width), width);
                kernel.channels(cols % width, &tail, pointers);
            }
        });
    });
}

struct Kernel<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    depthwise: &'k Depthwise,
    pixels: Pixels<'k>,
}

/// Channels that are computed together: a number of registers.
#[derive(Clone, Copy)]
struct Block<'ctx> {
    registers: usize,
    channels: usize,
    weights: Ptr<'ctx>,
    sums: Ptr<'ctx>,
}

impl<'ctx> Kernel<'_, '_, 'ctx> {
    /// Computes all channels of `width` pixels.
    fn channels(&self, width: usize, place: &Place<'ctx>, pointers: &[Ptr<'ctx>]) {
        let e = self.e;
        let (lanes, channels) = (e.lanes(), self.depthwise.channels);
        let block = |registers: usize, channels: usize, index: Int<'ctx>, before: usize| {
            let at = e.plus(e.scale(index, (registers * lanes) as isize), e.int(before));
            let input = e.offset_by(place.input, e.scale(at, self.depthwise.input.byte_size() as isize));
            let place = self.pixels.channels(e, place, at, 1).with_input(input);
            // Each weight and each accumulator takes four bytes, for all types.
            let [weights, sums] = [pointers[1], pointers[2]].map(|p| e.offset_by(p, e.scale(at, 4)));
            self.tile(width, &place, Block { registers, channels, weights, sums });
        };
        let mut before = 0;
        let registers = match self.depthwise.input.is_float() {
            true => [(1, channels / lanes), (1, 0)],
            false => pack::blocks(e.target(), channels, self.depthwise.columns),
        };
        for (registers, count) in registers {
            e.repeat(e.int(count), |index| block(registers, registers * lanes, index, before));
            before += count * registers * lanes;
        }
        if before < channels {
            block(1, channels - before, e.int(0), before);
        }
    }

    /// Computes a block of channels of `width` pixels.
    fn tile(&self, width: usize, place: &Place<'ctx>, block: Block<'ctx>) {
        let e = self.e;
        let lanes = e.lanes();
        let Depthwise { taps, columns, .. } = self.depthwise;
        let float = self.depthwise.input.is_float();
        let element = self.depthwise.input.byte_size() as isize;
        let pairs = self.pairs();
        // Maps each input, by its column's distance and its row, to the (pixel, pair) that begin there.
        let mut starts: BTreeMap<(isize, usize), Vec<(usize, usize)>> = BTreeMap::new();
        for (pixel, (pair, [[y, x], _])) in (0..width).flat_map(|p| pairs.iter().enumerate().map(move |pair| (p, pair)))
        {
            let distance = pixel as isize * self.pixels.input[2] + taps[*x] * element;
            starts.entry((distance, *y)).or_default().push((pixel, pair));
        }
        let register = |pointer, index: usize| e.offset(pointer, (4 * lanes * index) as isize);
        let pair_bytes = 4 * self.depthwise.channels.next_multiple_of(lanes);
        let kind = if float { Kind::F32 } else { Kind::I32 };
        let sums: Vec<_> = (0..block.registers).map(|r| e.load(register(block.sums, r), kind, lanes)).collect();
        let mut totals = vec![sums; width];
        let mut left = vec![pairs.len(); width];
        let order = (block.registers > 1).then(|| pack::interleaved(lanes, block.registers));
        // Number of pixels whose byte results fill one register.
        let together = (4 / block.registers).max(1);
        for ((distance, y), uses) in starts {
            let first = e.offset(place.input, distance + (taps[y * columns] - taps[0]) * element);
            // The distance is the same for all pixels, except for pairs of a tap with itself.
            let tap = |[y, x]: [usize; 2]| taps[y * columns + x];
            let step = uses.iter().map(|(_, pair)| tap(pairs[*pair][1]) - tap(pairs[*pair][0])).max().unwrap_or(0);
            let inputs = match float {
                true => self.float(first),
                false => self.pair(first, e.offset(first, step * element), block.registers),
            };
            for (pixel, pair) in uses {
                let weights = e.offset(block.weights, (pair * pair_bytes) as isize);
                for (r, (x, total)) in inputs.iter().zip(&mut totals[pixel]).enumerate() {
                    *total = match float {
                        true => e.accumulate(*x, e.load(register(weights, r), Kind::F32, lanes), *total),
                        false => {
                            e.add(*total, e.multiply_pairs(*x, e.load(register(weights, r), Kind::I16, 2 * lanes)))
                        }
                    };
                }
                left[pixel] -= 1;
                // Finished pixels free their registers.
                if left[pixel] == 0 && (pixel + 1 == width || (pixel + 1) % together == 0) {
                    let first = pixel / together * together;
                    let sums: Vec<_> = totals[first..=pixel].iter().map(|total| e.concat(total)).collect();
                    self.pixels.finish(e, place, first, &sums, block.channels, order.as_deref());
                }
            }
        }
        self.pixels.look_up(e, place, width, block.channels, block.registers * lanes);
    }

    /// The taps in the order of the packed weights. Floats have single taps, written as a pair of equal taps.
    fn pairs(&self) -> Vec<[[usize; 2]; 2]> {
        let window = self.depthwise.window();
        match self.depthwise.input.is_float() {
            true => (0..window[1]).flat_map(|x| (0..window[0]).map(move |y| [[y, x]; 2])).collect(),
            false => self.depthwise.pairs(),
        }
    }

    /// A register of floats. Lanes beyond the channels hold whatever follows in memory, as in [`Kernel::pair`].
    fn float(&self, first: Ptr<'ctx>) -> Vec<Vector<'ctx>> {
        let (e, dtype) = (self.e, self.depthwise.input);
        vec![steps::worked(e, e.load(first, steps::kind(dtype), e.lanes()), dtype)]
    }

    /// Two inputs as I16; both of a channel are adjacent. The channels of several registers have the order
    /// [`pack::interleaved`], which takes the fewest instructions.
    fn pair(&self, first: Ptr<'ctx>, second: Ptr<'ctx>, registers: usize) -> Vec<Vector<'ctx>> {
        let e = self.e;
        let lanes = registers * e.lanes();
        let signed = self.depthwise.input == DType::I8;
        let [a, b] = [first, second].map(|pointer| e.load(pointer, Kind::I8, lanes));
        match registers {
            1 => {
                let sides: Vec<usize> = (0..2 * lanes).map(|lane| lane / 2 + lane % 2 * lanes).collect();
                vec![e.widen(e.shuffle(a, b, &sides), Kind::I16, signed)]
            }
            2 => {
                let [a, b] = [a, b].map(|bytes| e.widen(bytes, Kind::I16, signed));
                [false, true].map(|upper| e.interleave(a, b, upper)).to_vec()
            }
            _ => {
                let zero = e.zero(Kind::I8, lanes);
                let widened = |bytes: Vector<'ctx>, upper: bool| match signed {
                    false => e.bits_as(e.interleave(bytes, zero, upper), Kind::I16),
                    true => {
                        let high = e.bits_as(e.interleave(zero, bytes, upper), Kind::I16);
                        e.shift_right(high, e.splat_int(8, Kind::I16, high.lanes), true)
                    }
                };
                let bytes = [false, true].map(|upper| e.interleave(a, b, upper));
                bytes.iter().flat_map(|bytes| [false, true].map(|upper| widened(*bytes, upper))).collect()
            }
        }
    }
}

//! Convolutions channel by channel, over inputs whose channels are adjacent.
//!
//! A tile is a few neighbouring pixels of a row by one register of channels. The columns of the input under them are
//! taken one after the other; a column serves every pixel whose window it lies in, so at stride 1 each input is loaded,
//! and each pair of its rows interleaved, once. Integers are exact without conditions: two rows of a column are
//! interleaved to 16 bits and multiplied by `vpmaddwd`, so any weights within 16 bits do.
//!
//! Channels are innermost among the loops, as they are in memory.

use std::collections::BTreeMap;

use eightfold_ir::DType;

use crate::kernel::pixels::{Pixels, Place};
use crate::llvm::steps;
use crate::llvm::vector::{Emitter, Kind, Ptr, Vector};
use crate::program::{Call, Depthwise};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, depthwise: &Depthwise, pointers: &[Ptr<'ctx>]) {
    let pixels = Pixels::of(call, depthwise.pixels, depthwise.input_strides, depthwise.output_strides);
    let kernel = Kernel { e, depthwise, pixels };
    let [batch, rows, cols] = kernel.pixels.extents;
    let widest = if e.target().vector_registers > 16 { 14 } else { 8 };
    // Tiles of nearly one size.
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

impl<'ctx> Kernel<'_, '_, 'ctx> {
    /// `width` pixels, all channels.
    fn channels(&self, width: usize, place: &Place<'ctx>, pointers: &[Ptr<'ctx>]) {
        let e = self.e;
        let (lanes, channels) = (e.lanes(), self.depthwise.channels);
        let element = self.depthwise.input.byte_size();
        let block = |index, count| {
            let input = e.offset_by(place.input, e.scale(index, (lanes * element) as isize));
            let place = self.pixels.channels(e, place, index, lanes).with_input(input);
            // A lane of weights and of sums has four bytes, whatever the type.
            let [weights, sums] =
                [pointers[1], pointers[2]].map(|p| e.offset_by(p, e.scale(index, 4 * lanes as isize)));
            self.tile(width, &place, weights, sums, count);
        };
        e.repeat(e.int(channels / lanes), |index| block(index, lanes));
        if channels % lanes > 0 {
            block(e.int(channels / lanes), channels % lanes);
        }
    }

    /// `width` pixels, `count` channels.
    fn tile(&self, width: usize, place: &Place<'ctx>, weights: Ptr<'ctx>, sums: Ptr<'ctx>, count: usize) {
        let e = self.e;
        let Depthwise { taps, columns, .. } = self.depthwise;
        let float = self.depthwise.input.is_float();
        let kind = if float { Kind::F32 } else { Kind::I32 };
        let element = self.depthwise.input.byte_size() as isize;
        // For each column of the input, by its distance, the pixels that it is under and its position in their windows.
        let mut under: BTreeMap<isize, Vec<(usize, usize)>> = BTreeMap::new();
        for (pixel, column) in (0..width).flat_map(|pixel| (0..*columns).map(move |column| (pixel, column))) {
            let distance = pixel as isize * self.pixels.input[2] + taps[column] * element;
            under.entry(distance).or_default().push((pixel, column));
        }
        let height = taps.len() / columns;
        let layers = if float { height } else { height.div_ceil(2) };
        let layer_bytes = 4 * self.depthwise.channels.next_multiple_of(e.lanes());
        let mut totals = vec![e.load(sums, kind, e.lanes()); width];
        for (distance, pixels) in under {
            let rows: Vec<_> = (0..height)
                .map(|row| e.offset(place.input, distance + (taps[row * columns] - taps[0]) * element))
                .collect();
            let column_layers = if float { self.floats(&rows) } else { self.pairs(&rows) };
            for (pixel, column) in pixels {
                for (layer, x) in column_layers.iter().enumerate() {
                    let at = (column * layers + layer) * layer_bytes;
                    let weights = e.offset(weights, at as isize);
                    let total = totals[pixel];
                    totals[pixel] = if float {
                        e.accumulate(*x, e.load(weights, Kind::F32, e.lanes()), total)
                    } else {
                        e.add(total, e.multiply_pairs(*x, e.load(weights, Kind::I16, 2 * e.lanes())))
                    };
                }
            }
        }
        self.pixels.finish(e, place, &totals, count);
    }

    /// The rows of a column: as for [`Kernel::pairs`], lanes beyond the channels hold whatever lies behind them.
    fn floats(&self, rows: &[Ptr<'ctx>]) -> Vec<Vector<'ctx>> {
        let (e, dtype) = (self.e, self.depthwise.input);
        rows.iter().map(|row| steps::worked(e, e.load(*row, steps::kind(dtype), e.lanes()), dtype)).collect()
    }

    /// The rows of a column two by two as I16, those of a channel side by side; the last one of an odd number twice,
    /// its second weight being zero.
    fn pairs(&self, rows: &[Ptr<'ctx>]) -> Vec<Vector<'ctx>> {
        let e = self.e;
        let lanes = e.lanes();
        let sides: Vec<usize> = (0..2 * lanes).map(|lane| lane / 2 + lane % 2 * lanes).collect();
        let bytes: Vec<_> = rows.iter().map(|row| e.load(*row, Kind::I8, lanes)).collect();
        let signed = self.depthwise.input == DType::I8;
        let pair = |pair: &[Vector<'ctx>]| {
            let bytes = e.shuffle(pair[0], pair[pair.len() - 1], &sides);
            e.widen(bytes, Kind::I16, signed)
        };
        bytes.chunks(2).map(pair).collect()
    }
}

#[cfg(test)]
mod tests;

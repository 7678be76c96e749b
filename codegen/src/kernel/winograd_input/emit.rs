//! Tiles for [`crate::kernel::winograd`]: `B^T d B` of each 4 x 4 inputs, a register of channels at a time.
//!
//! All operations are additions and subtractions of 16-bit words. They are exact: at most four bytes are combined.

use eightfold_ir::DType;

use crate::kernel::window::distances;
use crate::kernel::{Call, WinogradInput};
use crate::vector::{Emitter, Int, Kind, Ptr, Vector};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, input: &WinogradInput, pointers: &[Ptr<'ctx>]) {
    let [batch, rows, cols] = input.tiles(&call.output.grid);
    let from = distances(&call.operands[0], super::STRIDES).map(|stride| stride * input.input.byte_size() as isize);
    let word = DType::I16.byte_size() as isize;
    let to = call.output.grid.pixel_strides().map(|stride| stride * word);
    let taps = WinogradInput::taps(&call.operands[0].grid);
    let kernel = Kernel { e, input, taps, position: super::position(&call.output.grid) * word };
    let step = |places: [Ptr<'ctx>; 2], index: Int<'ctx>, axis: usize| {
        [(places[0], from[axis]), (places[1], to[axis])].map(|(place, by)| e.offset_by(place, e.scale(index, by)))
    };
    e.repeat(e.int(batch), |b| {
        let plane = step([pointers[0], pointers[1]], b, 0);
        e.repeat(e.int(rows), |row| {
            let row = step(plane, row, 1);
            e.repeat(e.int(cols), |col| kernel.tile(step(row, col, 2)));
        });
    });
}

struct Kernel<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    input: &'k WinogradInput,
    /// Distance in elements of each position's input from the tile's first.
    taps: Vec<isize>,
    /// Distance in bytes between the results of neighbouring positions.
    position: isize,
}

impl<'ctx> Kernel<'_, '_, 'ctx> {
    /// Transforms all channels of a tile.
    fn tile(&self, [from, to]: [Ptr<'ctx>; 2]) {
        let e = self.e;
        // A register holds `width` words.
        let width = 2 * e.lanes();
        let channels = self.input.channels;
        let some = |index: Int<'ctx>, count: usize| {
            let channel = e.scale(index, width as isize);
            let to = e.offset_by(to, e.scale(channel, DType::I16.byte_size() as isize));
            self.register(e.offset_by(from, channel), to, count);
        };
        e.repeat(e.int(channels / width), |index| some(index, width));
        if !channels.is_multiple_of(width) {
            some(e.int(channels / width), channels % width);
        }
    }

    /// Transforms the first `count` channels at these addresses.
    fn register(&self, from: Ptr<'ctx>, to: Ptr<'ctx>, count: usize) {
        let e = self.e;
        let signed = self.input.input == DType::I8;
        let load = |tap: &isize| e.widen(e.load(e.offset(from, *tap), Kind::I8, 2 * e.lanes()), Kind::I16, signed);
        let tile: Vec<_> = self.taps.iter().map(load).collect();
        // First along the columns, then along the rows.
        let side = WinogradInput::TILE;
        let line = |numbers: &[Vector<'ctx>], first: usize, step: usize| {
            self.differences(std::array::from_fn(|index| numbers[first + index * step]))
        };
        let columns: Vec<[Vector<'ctx>; 4]> = (0..side).map(|column| line(&tile, column, side)).collect();
        for y in 0..side {
            let row: Vec<_> = columns.iter().map(|column| column[y]).collect();
            for (x, sum) in line(&row, 0, 1).into_iter().enumerate() {
                e.store_first(e.offset(to, (y * side + x) as isize * self.position), sum, count);
            }
        }
    }

    /// `B^T d`
    fn differences(&self, [a, b, c, d]: [Vector<'ctx>; 4]) -> [Vector<'ctx>; 4] {
        let e = self.e;
        [e.sub(a, c), e.add(b, c), e.sub(c, b), e.sub(b, d)]
    }
}

//! 3 x 3 convolutions of stride 1 over [transformed tiles](crate::kernel::winograd_input): each of the 16 positions has
//! a matrix product, which gives `M`; then `(A^T M A) / 4` are the accumulators of 2 x 2 pixels.
//!
//! Order of loops, outermost first: batch, bands of rows of tiles, blocks of `nr` channels, positions. A second loop
//! over the tiles of the band transforms the products. So a block's weights are read once per band. A band's products
//! lie on the stack, which limits its rows. Each product is a [`super::gemm`] of words without steps.

use eightfold_ir::DType;

use crate::kernel::pixels::{Pixels, Place};
use crate::kernel::{Call, Gemm, Producer, Run, Winograd, WinogradInput, gemm, winograd_input};
use crate::vector::{Emitter, Int, Kind, Ptr, Vector};
use crate::view::{Grid, View};

/// Emits the body of the kernel.
pub(crate) fn emit<'ctx>(e: &Emitter<'_, 'ctx>, call: &Call, winograd: &Winograd, pointers: &[Ptr<'ctx>]) {
    let [batch, rows, cols] = Winograd::tiles(&call.output.grid);
    let band = winograd.row_block.clamp(1, rows);
    let nr = winograd.tile.nr;
    let kernel = Kernel {
        e,
        call,
        winograd,
        columns: cols,
        pixels: Pixels::apart(call, [1; 2]),
        products: e.scratch(WinogradInput::POSITIONS * band * cols * nr * 4),
        zeros: e.bytes(&vec![0; 4 * nr]),
    };
    let place = kernel.pixels.place(pointers);
    let input = call.operands[0].grid.pixel_strides().map(|stride| stride * DType::I16.byte_size() as isize);
    e.repeat(e.int(batch), |b| {
        let place = kernel.pixels.step(e, &place, 0, b, 1);
        let tiles = e.offset_by(pointers[0], e.scale(b, input[0]));
        let rows_from = |first: Int<'ctx>, count: usize| {
            let place = kernel.pixels.step(e, &place, 1, first, Winograd::YIELD);
            kernel.band(e.offset_by(tiles, e.scale(first, input[1])), &place, count, pointers);
        };
        e.repeat(e.int(rows / band), |index| rows_from(e.scale(index, band as isize), band));
        if !rows.is_multiple_of(band) {
            rows_from(e.int(rows / band * band), rows % band);
        }
    });
}

struct Kernel<'k, 'm, 'ctx> {
    e: &'k Emitter<'m, 'ctx>,
    call: &'k Call,
    winograd: &'k Winograd,
    /// Tiles per row.
    columns: usize,
    pixels: Pixels<'k>,
    /// Products of a band: `[position][tile][nr]`.
    products: Ptr<'ctx>,
    /// Zeros, the initial accumulators of the products.
    zeros: Ptr<'ctx>,
}

impl<'ctx> Kernel<'_, '_, 'ctx> {
    /// Computes all channels of a band of `rows` rows of tiles.
    fn band(&self, tiles: Ptr<'ctx>, place: &Place<'ctx>, rows: usize, pointers: &[Ptr<'ctx>]) {
        let e = self.e;
        let Winograd { n, tile, .. } = *self.winograd;
        let block = |index: Int<'ctx>, channels: usize| {
            let bytes = (WinogradInput::POSITIONS * self.winograd.position_bytes()) as isize;
            let weights = e.offset_by(pointers[1], e.scale(index, bytes));
            let sums = e.offset_by(pointers[2], e.scale(index, 4 * tile.nr as isize));
            self.multiply(tiles, weights, rows, channels);
            self.finish(&self.pixels.channels(e, place, index, tile.nr), sums, rows, channels);
        };
        e.repeat(e.int(n / tile.nr), |index| block(index, tile.nr));
        if !n.is_multiple_of(tile.nr) {
            block(e.int(n / tile.nr), n % tile.nr);
        }
    }

    /// Computes the products of a block of channels.
    fn multiply(&self, tiles: Ptr<'ctx>, weights: Ptr<'ctx>, rows: usize, channels: usize) {
        let e = self.e;
        let Winograd { depth, tile, .. } = *self.winograd;
        let cols = self.columns;
        let nr = tile.nr as isize;
        let gemm = Gemm {
            input: DType::I16,
            format: None,
            strides: [1; 2],
            runs: vec![Run { offset: 0, length: depth }],
            n: channels,
            tile: Some(tile),
            extra: Vec::new(),
            joined: false,
            row_block: rows,
            plain: None,
        };
        let grid = Grid { dims: vec![1, channels, rows, cols], strides: vec![0, 1, cols as isize * nr, nr] };
        let output = View { dtype: DType::I32, offset: 0, grid, ..self.call.output.clone() };
        let operands = self.call.operands[..3].to_vec();
        let producer = Producer::Gemm(gemm.clone());
        let product = Call { producer, operands, steps: vec![], output, origin: String::new() };
        let bytes = (rows * cols * tile.nr * 4) as isize;
        let position = winograd_input::position(&self.call.operands[0].grid) * DType::I16.byte_size() as isize;
        e.repeat(e.int(WinogradInput::POSITIONS), |index| {
            let tiles = e.offset_by(tiles, e.scale(index, position));
            let weights = e.offset_by(weights, e.scale(index, self.winograd.position_bytes() as isize));
            let products = e.offset_by(self.products, e.scale(index, bytes));
            let all = WinogradInput::POSITIONS * self.winograd.position_bytes() * self.winograd.n.div_ceil(tile.nr);
            gemm::emit_within(e, &product, &gemm, &[tiles, weights, self.zeros, products], all);
        });
    }

    /// Transforms the products of a block of channels, runs the steps and stores the results.
    fn finish(&self, place: &Place<'ctx>, sums: Ptr<'ctx>, rows: usize, channels: usize) {
        let e = self.e;
        let cols = self.columns;
        let lanes = channels.next_multiple_of(e.lanes());
        let number = 4 * self.winograd.tile.nr as isize;
        e.repeat(e.int(rows), |row| {
            let place = self.pixels.step(e, place, 1, row, Winograd::YIELD);
            let products = e.offset_by(self.products, e.scale(row, cols as isize * number));
            e.repeat(e.int(cols), |col| {
                let place = self.pixels.step(e, &place, 2, col, Winograd::YIELD);
                let products = e.offset_by(products, e.scale(col, number));
                let position = (rows * cols) as isize * number;
                let product = |at: usize| e.load(e.offset(products, at as isize * position), Kind::I32, lanes);
                let column = |x: usize| self.totals(std::array::from_fn(|y| product(WinogradInput::TILE * y + x)));
                let columns: [_; WinogradInput::TILE] = std::array::from_fn(column);
                let sums = e.load(sums, Kind::I32, lanes);
                let two = e.splat_int(2, Kind::I32, lanes);
                for (y, row) in [0, 1].map(|y| columns.map(|column| column[y])).into_iter().enumerate() {
                    // The weights are four times too large.
                    let totals = self.totals(row).map(|total| e.add(e.shift_right(total, two, true), sums));
                    let place = self.pixels.step(e, &place, 1, e.int(y), 1);
                    self.pixels.finish(e, &place, 0, &totals, channels, None);
                }
            });
        });
    }

    /// `A^T m`
    fn totals(&self, [a, b, c, d]: [Vector<'ctx>; 4]) -> [Vector<'ctx>; 2] {
        let e = self.e;
        [e.add(a, e.add(b, c)), e.sub(e.sub(b, c), d)]
    }
}

//! Which 3 x 3 convolutions are computed by Winograd's F(2x2, 3x3), and how.
//!
//! Sixteen products of words instead of 36 of bytes: worth it for targets that multiply words as fast as a third of their
//! bytes, where the work on tiles, sixteen numbers for each input and for each four results, is little beside the products.
//! There are two calls: one makes [tiles](WinogradInput), the other [multiplies](Winograd) them and finishes the results.
//!
//! Invariant: sums are those of the convolution, modulo 2^32. So four times a sum, which is what the products add up to,
//! stays within 32 bits for any inputs, or the convolution is left as it is.

use eightfold_ir::op::conv::Conv;
use eightfold_ir::{DType, Data, Layout};

use super::conv::{Sums, Window, int};
use super::{Lowering, origin};
use crate::choice::{Blocking, Geometry, Prefer};
use crate::cpu::CpuModel;
use crate::pack;
use crate::program::{Producer, Run, Winograd, WinogradInput};
use crate::target::Dot;

/// The most bytes of products that a band may have on the stack. Rows that want more, of over 128 pixels, are not multiplied as
/// tiles. This is more than the first-level cache holds, as products are written and read once, in order, but weights once a band.
const PRODUCTS: usize = 64 * 1024;

/// Bytes of tiles of a band, all of which each block of weights goes over, as a part of the room in the second-level cache: most
/// of the cache itself.
const TILES: f64 = 1.75;

/// Bytes at multiples of which lines take each other's places in the first-level cache before all positions of a tile are
/// written.
const SAME_PLACE: usize = 2048;

/// What the tiles must take of the time of the windows to be chosen: the model is no better than that.
const CLEARLY_LESS: f64 = 0.85;

impl Lowering<'_> {
    /// How the convolution is to be multiplied as tiles, if that is quicker.
    pub(super) fn tiled(&self, op: &Conv, window: &Window<'_>, sums: &Sums) -> Option<Winograd> {
        let square = sums.spatial == 2 && sums.group == 1 && window.kernel == [3, 3];
        let dense = square && (0..2).all(|axis| op.stride(axis) == 1 && op.dilation(axis) == 1);
        let [batch, rows, cols] = window.pixels;
        let even = rows.is_multiple_of(Winograd::YIELD) && cols.is_multiple_of(Winograd::YIELD);
        let bytes = matches!(sums.input.dtype, DType::U8 | DType::I8);
        let any = sums.output.grid.elements() * sums.depth > 0;
        let Data::Int(weights) = &sums.weights else { return None };
        // Sixteen words for nine bytes.
        if self.choices.prefer() == Prefer::Size {
            return None;
        }
        if !(dense && even && bytes && self.target.dot == Dot::Maddubs && any && fits(weights, sums.depth)) {
            return None;
        }
        let (depth, n, lanes) = (sums.depth, sums.output.grid.dims[1], self.target.lanes());
        let tiles = [batch, rows / Winograd::YIELD, cols / Winograd::YIELD];
        let position = (columns(tiles[2], depth) * depth) as isize;
        let row = Winograd::POSITIONS as isize * position;
        let tile = Blocking { mr: 6, nr: lanes * 2.min(n.div_ceil(lanes)), rows: 1 }.tile(DType::I16);
        // Bands of nearly one height.
        let products = Winograd::POSITIONS * tiles[2] * tile.nr * DType::I32.byte_size();
        if products > PRODUCTS {
            return None;
        }
        let inputs = row.unsigned_abs() * DType::I16.byte_size();
        let most =
            (PRODUCTS / products).min((TILES * self.choices.cpu(self.target).room(2) as f64) as usize / inputs).max(1);
        let row_block = tiles[1].div_ceil(tiles[1].div_ceil(most).max(1));
        let input_strides = [tiles[1] as isize * row, row, depth as isize];
        let output_strides = window.output_strides(&sums.output);
        let winograd = Winograd { tiles, input_strides, position, output_strides, depth, n, tile, row_block };
        let runs = window.runs(sums.depth, true);
        let direct = Geometry {
            input: sums.input.dtype,
            output: sums.output.dtype,
            pixels: window.pixels,
            input_strides: window.input_strides,
            output_strides: winograd.output_strides,
            runs: &runs,
            n,
            extra: 0,
            joined: true,
        };
        pays(&winograd, &direct, self.choices.cpu(self.target)).then_some(winograd)
    }

    /// Emits the convolution as tiles.
    pub(super) fn winograd(&mut self, window: &Window<'_>, sums: &Sums, corner: [isize; 2], winograd: Winograd) {
        let Data::Int(weights) = &sums.weights else { unreachable!("only integers are multiplied as tiles") };
        let Sums { depth, zero, input, output, .. } = sums;
        let from = sums.input_from(corner);
        let [batch, rows, cols] = winograd.tiles;
        let name = origin(&window.node.origin);
        let dims = [batch, *depth, rows, Winograd::POSITIONS * columns(cols, *depth)];
        let tiles = self.arena(&format!("{name} tiles"), DType::I16, &dims, Layout::Nhwc, [0; 4]);
        let twice = Winograd::YIELD as isize;
        let [plane, row, column] = window.input_strides;
        let producer = Producer::WinogradInput(WinogradInput {
            input: input.dtype,
            tiles: winograd.tiles,
            input_strides: [plane, twice * row, twice * column],
            steps: [row, column],
            position: winograd.position,
            channels: *depth,
        });
        self.call(producer, vec![from], vec![], tiles.clone(), &name);

        let transformed = pack::winograd_weights(weights);
        let runs = [Run { offset: 0, length: *depth }; Winograd::POSITIONS];
        let weight = |o: usize, position: usize, channel: usize| i32::from(transformed[o * depth + channel][position]);
        let total = |o: usize| -> i64 { weights[o * depth * 9..][..depth * 9].iter().sum() };
        let bias = |o: usize| int(sums.bias.as_ref(), o);
        let added: Vec<i64> = (0..winograd.n).map(|o| bias(o) - zero * total(o)).collect();
        let packed = pack::gemm_words(winograd.tile, winograd.n, &runs, &weight, &added);
        let mut operands = vec![tiles, self.bytes(&format!("{name} weights"), DType::I16, packed.weights)];
        operands.push(self.bytes(&format!("{name} sums"), DType::I32, packed.sums));
        let steps = self.planar_steps(window, &mut operands);
        self.call(Producer::Winograd(winograd), operands, steps, output.clone(), &name);
    }
}

/// Columns of tiles in memory: one more than there are where the positions of a tile would else take each other's places.
fn columns(cols: usize, depth: usize) -> usize {
    match (cols * depth * DType::I16.byte_size()).is_multiple_of(SAME_PLACE) {
        true => cols + 1,
        false => cols,
    }
}

/// Whether four times every channel's sum stays within 32 bits.
fn fits(weights: &[i64], depth: usize) -> bool {
    let most = |channel: &[i64]| 4 * 255 * channel.iter().map(|w| w.abs()).sum::<i64>();
    weights.chunks_exact((9 * depth).max(1)).all(|channel| most(channel) <= i64::from(i32::MAX))
}

/// Whether the cost model holds the tiles for clearly quicker.
fn pays(winograd: &Winograd, direct: &Geometry<'_>, cpu: &CpuModel) -> bool {
    let tiles = winograd.tiles.iter().product::<usize>() as f64;
    let inputs = tiles * (Winograd::POSITIONS * winograd.depth) as f64;
    let results = tiles * (Winograd::YIELD * Winograd::YIELD * winograd.n) as f64;
    let operations = inputs * WinogradInput::OPERATIONS + results * (Winograd::OPERATIONS + direct.usual_operations());
    let cost = winograd.positions_ns(cpu) + cpu.operations_ns(operations);
    cost < CLEARLY_LESS * direct.cost(direct.blocking(cpu), direct.usual_operations(), cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_may_exceed_32_bits_are_left_to_windows() {
        let is_left = |depth: usize| !fits(&vec![-127; 2 * 9 * depth], depth);
        assert_eq!([1841, 1842].map(is_left), [false, true]);
    }

    #[test]
    fn positions_of_a_tile_do_not_take_each_others_places() {
        assert_eq!([columns(28, 64), columns(32, 64), columns(7, 256), columns(8, 256)], [28, 33, 7, 9]);
    }
}

//! Decides which 3 x 3 convolutions run as Winograd tiles, and replaces them.
//!
//! Invariant: accumulators equal those of the direct convolution modulo 2^32. The products add up to four times the
//! accumulator. If this can exceed 32 bits for some inputs, the convolution stays direct.

use eightfold_ir::DType;

use super::Winograd;
use crate::choice::Blocking;
use crate::cpu::CpuModel;
use crate::kernel::gemm::geometry::Geometry;
use crate::kernel::plain::Constants;
use crate::kernel::winograd_input::WinogradInput;
use crate::kernel::{Call, Producer};
use crate::view::{Const, Grid, Storage, View};

/// The most bytes of products that a band may have on the stack. Convolutions whose single row of tiles needs more
/// (over 128 pixels) stay direct. The limit exceeds the first-level cache: products are written and read once, in
/// order, but larger bands read the weights less often.
const PRODUCTS: usize = 64 * 1024;

/// The limit on the bytes of a band's tiles, relative to the room in the second-level cache. Each block of weights
/// reads all of the band's tiles. This limit is most of the cache.
const TILES: f64 = 1.75;

/// If the distance between positions is a multiple of this many bytes, cache lines of one tile evict each other from
/// the first-level cache before all positions are written.
const SAME_PLACE: usize = 2048;

/// Tiles are chosen if their predicted time is less than this share of the direct convolution's: the accuracy of the
/// model.
const CLEARLY_LESS: f64 = 0.85;

/// Returns the call, or the two calls that compute it as tiles if these are faster.
///
/// `buffer` creates a buffer in the arena from a name, a type and a number of bytes.
pub(crate) fn tiled(
    call: Call,
    consts: &[Const],
    cpu: &CpuModel,
    buffer: impl FnOnce(String, DType, usize) -> Storage,
) -> Vec<Call> {
    let Some((input, winograd, grid)) = tiles(&call, consts, cpu) else { return vec![call] };
    let name = call.origin.clone();
    let dtype = DType::I16;
    let storage = buffer(format!("{name} tiles"), dtype, grid.elements() * dtype.byte_size());
    let tiles = View::new(storage, dtype, 0, grid);
    let from = call.operands[0].clone();
    let made =
        Call { producer: input.into(), operands: vec![from], steps: vec![], output: tiles.clone(), origin: name };
    let mut call = Call { producer: winograd.into(), ..call };
    call.operands[0] = tiles;
    vec![made, call]
}

/// The calls' data and the grid of tiles if the call can be computed as tiles and this is faster.
fn tiles(call: &Call, consts: &[Const], cpu: &CpuModel) -> Option<(WinogradInput, Winograd, Grid)> {
    let target = cpu.target;
    let Producer::Gemm(gemm) = &call.producer else { return None };
    let plain = gemm.plain?;
    let [_, 3, 3, depth] = call.operands[1].grid.dims[..] else { return None };
    let steps = gemm.steps()?;
    let [batch, rows, cols] = call.output.grid.pixels();
    let [_, row, column] = call.operands[0].grid.pixel_strides();
    let even = rows.is_multiple_of(Winograd::YIELD) && cols.is_multiple_of(Winograd::YIELD);
    let bytes = matches!(gemm.input, DType::U8 | DType::I8);
    let any = call.output.grid.elements() * depth > 0;
    if steps != [row, column] || gemm.strides != [1; 2] || !(even && bytes && target.dot.pair_limit.is_some() && any) {
        return None;
    }
    let (n, lanes) = (gemm.n, target.lanes());
    let tiles = [batch, rows / Winograd::YIELD, cols / Winograd::YIELD];
    let grid = Grid::channels_last(&[batch, depth, tiles[1], WinogradInput::POSITIONS * columns(tiles[2], depth)]);
    let tile = Blocking { mr: 6, nr: lanes * 2.min(n.div_ceil(lanes)), rows: 1 }.tile(DType::I16);
    // Bands have nearly equal heights.
    let products = WinogradInput::POSITIONS * tiles[2] * tile.nr * DType::I32.byte_size();
    if products > PRODUCTS {
        return None;
    }
    let inputs = grid.strides[2].unsigned_abs() * DType::I16.byte_size();
    let most = (PRODUCTS / products).min((TILES * cpu.room(2) as f64) as usize / inputs).max(1);
    let row_block = tiles[1].div_ceil(tiles[1].div_ceil(most).max(1));
    let winograd = Winograd { depth, n, tile, row_block, plain: Some(plain) };
    let direct = Geometry { extra: 0, joined: true, ..Geometry::of(call)? };
    if !pays(&winograd, &grid, call, &direct, cpu) || !fits(&Constants::of(call, consts)) {
        return None;
    }
    Some((WinogradInput { input: gemm.input, columns: tiles[2], channels: depth }, winograd, grid))
}

/// Columns of tiles in memory: one more than needed if cache lines of a tile would otherwise evict each other.
fn columns(cols: usize, depth: usize) -> usize {
    match (cols * depth * DType::I16.byte_size()).is_multiple_of(SAME_PLACE) {
        true => cols + 1,
        false => cols,
    }
}

/// Whether four times the accumulator fits 32 bits for every channel.
fn fits(constants: &Constants) -> bool {
    let ([n, rows, columns, depth], int) = (constants.dims(), constants.int());
    let taps = || (0..rows).flat_map(move |y| (0..columns).flat_map(move |x| (0..depth).map(move |c| [y, x, c])));
    let magnitude = |channel: usize| taps().map(|[y, x, c]| i64::from(int([channel, y, x, c])).abs()).sum::<i64>();
    (0..n).all(|channel| 4 * 255 * magnitude(channel) <= i64::from(i32::MAX))
}

/// Whether the cost model predicts that tiles are clearly faster.
fn pays(winograd: &Winograd, grid: &Grid, call: &Call, direct: &Geometry<'_>, cpu: &CpuModel) -> bool {
    let tiles = Winograd::tiles(&call.output.grid).iter().product::<usize>() as f64;
    let inputs = tiles * (WinogradInput::POSITIONS * winograd.depth) as f64;
    let results = tiles * (Winograd::YIELD * Winograd::YIELD * winograd.n) as f64;
    let operations = inputs * WinogradInput::OPERATIONS + results * (Winograd::OPERATIONS + direct.usual_operations());
    let cost = winograd.positions_ns(grid, &call.output.grid, cpu) + cpu.operations_ns(operations);
    cost < CLEARLY_LESS * direct.cost(direct.blocking(cpu), direct.usual_operations(), cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_may_exceed_32_bits_are_left_to_windows() {
        let is_left = |depth: usize| !fits(&Constants::splat(-127, [2, 3, 3, depth]));
        assert_eq!([1841, 1842].map(is_left), [false, true]);
    }

    #[test]
    fn positions_of_a_tile_do_not_take_each_others_places() {
        assert_eq!([columns(28, 64), columns(32, 64), columns(7, 256), columns(8, 256)], [28, 33, 7, 9]);
    }
}

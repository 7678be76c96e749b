//! Winograd tiles compared with the direct convolution, at every edge.

use eightfold_ir::DType;

use super::pack;
use crate::kernel::{Call, Producer, Run, Tile, Winograd, WinogradInput, gemm, winograd_input};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::target::Target;

/// A convolution over an input that includes its border.
#[derive(Clone, Copy, Debug)]
struct Case {
    tiles: [usize; 3],
    depth: usize,
    n: usize,
    tile: Tile,
    row_block: usize,
    /// Unused columns after those of each position.
    pad: usize,
    /// Largest magnitude of a weight.
    weights: i32,
    /// Whether a tensor is added before the result is quantized.
    residual: bool,
}

impl Case {
    fn trial(self) -> Trial {
        let Case { tiles: [batch, rows, cols], depth, n, tile, pad, .. } = self;
        let mut numbers = Numbers(depth as u64 * 31 + n as u64);
        let (high, wide) = (2 * rows + 2, 2 * cols + 2);
        let at = |b: usize, y: usize, x: usize| ((b * high + y) * wide + x) * depth;
        let x: Vec<i32> = (0..at(batch, 0, 0)).map(|_| numbers.between(0, 255)).collect();
        let w: Vec<i64> = (0..n * depth * 9).map(|_| numbers.between(-self.weights, self.weights).into()).collect();
        let added: Vec<i64> = (0..n as i64).map(|o| o * 100 - 500).collect();

        let columns = cols + pad;
        let row = WinogradInput::POSITIONS * columns * depth;
        let mut words = vec![0x5a5a_i16; batch * rows * row];
        for (b, y, x0, c) in (0..batch * rows * cols * depth)
            .map(|i| (i / depth / cols / rows, i / depth / cols % rows, i / depth % cols, i % depth))
        {
            let tile = std::array::from_fn(|tap| x[at(b, 2 * y + tap / 4, 2 * x0 + tap % 4) + c]);
            for (position, number) in winograd_input::tests::transformed(tile).into_iter().enumerate() {
                words[(b * rows + y) * row + (position * columns + x0) * depth + c] = number as i16;
            }
        }
        let runs = [Run { offset: 0, length: depth }; WinogradInput::POSITIONS];
        let transformed = pack::transformed(&w);
        let weight = |o: usize, position: usize, c: usize| transformed[o * depth + c][position].into();
        let packed = gemm::pack::words(tile, n, &runs, &weight, &added);

        let scale = |o: usize| (1.0 + o as f32 / 100.0) / (9.0 * depth as f32).sqrt() / self.weights as f32;
        let (out_rows, out_cols) = (2 * rows, 2 * cols);
        let residual = (0..batch * out_rows * out_cols * n).map(|_| numbers.between(0, 255) as u8);
        let residual = self.residual.then(|| residual.collect::<Vec<_>>());
        let mut expected = Vec::new();
        for (b, y, x0, o) in (0..batch * out_rows * out_cols * n)
            .map(|i| (i / n / out_cols / out_rows, i / n / out_cols % out_rows, i / n % out_cols, i % n))
        {
            let taps = (0..9 * depth).map(|i| (i % 9, i / 9));
            let product = |(tap, c): (usize, usize)| {
                i64::from(x[at(b, y + tap / 3, x0 + tap % 3) + c]) * w[(o * depth + c) * 9 + tap]
            };
            let sum = taps.map(product).sum::<i64>() + added[o];
            let residual = residual.as_ref().map(|residual| residual[expected.len()]);
            expected.push(trial::requantized(sum as f32 * scale(o), residual));
        }

        let result = [batch, n, out_rows, out_cols];
        let strides = [(out_rows * out_cols * n) as isize, 1, (out_cols * n) as isize, n as isize];
        let winograd = Winograd { depth, n, tile, row_block: self.row_block, plain: None };
        let tiles = [batch, depth, rows, WinogradInput::POSITIONS * columns];
        let mut operands = vec![
            view(DType::I16, 0, &tiles, &[(rows * row) as isize, 1, row as isize, depth as isize]),
            view(DType::I16, 0, &[packed.weights.len() / 2], &[1]),
            view(DType::I32, 0, &[packed.sums.len() / 4], &[1]),
        ];
        let words = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut bytes = vec![words, packed.weights, packed.sums];
        let output = view(DType::U8, 0, &result, &strides);
        let steps = trial::requantizing((0..n).map(scale), residual, &output, &mut operands, &mut bytes);
        let call = Call { producer: Producer::Winograd(winograd), operands, steps, output, origin: String::new() };
        Trial { call, operands: bytes, expected, name: format!("{self:?}") }
    }
}

#[test]
fn tiles_yield_the_convolution() {
    for target in trial::targets() {
        let lanes = target.lanes();
        let tile = Tile { mr: 6, nr: 2 * lanes, kr: 2 };
        let base =
            Case { tiles: [1, 2, 7], depth: 12, n: tile.nr, tile, row_block: 1, pad: 0, weights: 127, residual: false };
        let mut cases = [1, lanes - 1, lanes + 1, 2 * lanes + 3, 4 * lanes].map(|n| Case { n, ..base }).to_vec();
        cases.extend([1, 2, 7, 33].map(|depth| Case { depth, ..base }));
        cases.extend([1, 5, 13].map(|cols| Case { tiles: [1, 1, cols], ..base }));
        cases.push(Case { tiles: [2, 5, 3], row_block: 2, residual: true, pad: 1, n: lanes + 3, ..base });
        cases.push(Case { tile: Tile { nr: lanes, ..tile }, weights: 255, row_block: 2, residual: true, ..base });
        // Weights beyond the second-level cache.
        cases.push(Case { depth: 64, n: 64, row_block: 2, ..base });
        let trials: Vec<_> = cases.iter().map(|case| case.trial()).collect();
        trial::equal(target, &trials);
    }
}

/// The call that is cut into parts in the tests of [`crate::schedule::parallel`].
pub(crate) fn whole(target: &Target) -> Trial {
    let tile = Tile { mr: 6, nr: target.lanes(), kr: 2 };
    let n = 2 * tile.nr + 5;
    Case { tiles: [2, 5, 3], depth: 6, n, tile, row_block: 2, pad: 1, weights: 127, residual: true }.trial()
}

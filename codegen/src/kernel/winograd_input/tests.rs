//! Tiles at every edge, compared with the matrices of the paper.

use eightfold_ir::DType;

use crate::kernel::{Call, Producer, WinogradInput};
use crate::llvm::trial::{self, BLANK, Numbers, Trial, view};

const B: [[i32; 4]; 4] = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]];

/// `B^T d B`, row by row.
pub(crate) fn transformed(tile: [i32; 16]) -> [i32; 16] {
    std::array::from_fn(|at| {
        let (row, column) = (B[at / 4], B[at % 4]);
        (0..16).map(|tap| row[tap / 4] * column[tap % 4] * tile[tap]).sum()
    })
}

/// Tiles of an input with `gap` unused elements after the channels of each pixel. Each position has `pad` unused
/// columns.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: DType,
    tiles: [usize; 3],
    channels: usize,
    gap: usize,
    pad: usize,
}

impl Case {
    fn trial(self) -> Trial {
        let Case { input, tiles: [batch, rows, cols], channels, gap, pad } = self;
        let mut numbers = Numbers(channels as u64 * 7 + cols as u64);
        let (high, wide, pixel) = (2 * rows + 2, 2 * cols + 2, channels + gap);
        let at = |b: usize, y: usize, x: usize| ((b * high + y) * wide + x) * pixel;
        let (low, end) = if input == DType::I8 { (-128, 127) } else { (0, 255) };
        let x: Vec<i32> = (0..at(batch, 0, 0)).map(|_| numbers.between(low, end)).collect();
        let columns = cols + pad;
        let wide_row = WinogradInput::POSITIONS * columns;
        let mut expected = vec![BLANK; batch * rows * wide_row * channels * 2];
        for (b, row, col, c) in (0..batch * rows * cols * channels)
            .map(|i| (i / channels / cols / rows, i / channels / cols % rows, i / channels % cols, i % channels))
        {
            let tile = std::array::from_fn(|tap| x[at(b, 2 * row + tap / 4, 2 * col + tap % 4) + c]);
            for (position, number) in transformed(tile).into_iter().enumerate() {
                let to = ((b * rows + row) * wide_row + position * columns + col) * channels + c;
                expected[2 * to..2 * to + 2].copy_from_slice(&(number as i16).to_le_bytes());
            }
        }
        let from = [at(1, 0, 0) as isize, 1, at(0, 1, 0) as isize, pixel as isize];
        let to = [(rows * wide_row * channels) as isize, 1, (wide_row * channels) as isize, channels as isize];
        let call = Call {
            producer: Producer::WinogradInput(WinogradInput { input, columns: cols, channels }),
            operands: vec![view(input, 0, &[batch, channels, high, wide], &from)],
            steps: vec![],
            output: view(DType::I16, 0, &[batch, channels, rows, wide_row], &to),
            origin: String::new(),
        };
        let bytes = x.iter().map(|x| *x as u8).collect();
        Trial { call, operands: vec![bytes], expected, name: format!("{self:?}") }
    }
}

/// The call that is cut into parts in the tests of [`crate::schedule::parallel`].
pub(crate) fn whole() -> Trial {
    Case { input: DType::U8, tiles: [2, 5, 3], channels: 21, gap: 2, pad: 1 }.trial()
}

#[test]
fn tiles_are_those_of_the_matrices() {
    let base = Case { input: DType::U8, tiles: [1, 3, 4], channels: 16, gap: 0, pad: 0 };
    let mut cases = [1, 15, 17, 32, 45].map(|channels| Case { channels, ..base }).to_vec();
    cases.push(Case { input: DType::I8, channels: 33, ..base });
    cases.push(Case { tiles: [2, 1, 1], gap: 5, channels: 9, ..base });
    cases.push(Case { tiles: [2, 2, 3], pad: 1, channels: 40, ..base });
    for target in trial::targets() {
        let trials: Vec<_> = cases.iter().map(|case| case.trial()).collect();
        trial::equal(target, &trials);
    }
}

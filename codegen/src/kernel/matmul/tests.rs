//! Edges of tiles, batches and strides, compared with plain loops.

use eightfold_ir::{DType, Function};

use crate::kernel::{Call, MatMul, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::target::Target;
use crate::view::Grid;

/// A batch of products of `m x k` with `k x n`.
#[derive(Clone, Copy, Debug)]
struct Case {
    x: DType,
    w: DType,
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    /// Whether each factor is transposed in memory.
    transposed: [bool; 2],
    /// Whether all products of the batch share the second factor.
    shared: bool,
}

const BASE: Case =
    Case { x: DType::U8, w: DType::I8, batch: 1, m: 5, k: 9, n: 21, transposed: [false; 2], shared: false };

/// The zero point that tests use for a type.
fn zero_point(dtype: DType) -> i32 {
    match dtype {
        DType::U8 => 255,
        DType::I8 => -128,
        _ => 0,
    }
}

impl Case {
    fn trial(self, target: &Target) -> Trial {
        let Case { batch, m, k, n, .. } = self;
        let mut numbers = Numbers(m as u64 * 31 + k as u64);
        let matrices = |dtype: DType, rows: usize, columns: usize, transposed: bool, shared: bool| {
            let mut strides = if transposed { vec![1, rows as isize] } else { vec![columns as isize, 1] };
            strides.insert(0, if shared { 0 } else { (rows * columns) as isize });
            view(dtype, 0, &[batch, rows, columns], &strides)
        };
        let views = [
            matrices(self.x, m, k, self.transposed[0], false),
            matrices(self.w, k, n, self.transposed[1], self.shared),
        ];
        let float = self.x == DType::F32;
        let stored: Vec<Vec<i32>> = views
            .iter()
            .map(|view| {
                let (low, high) = view.dtype.integer_range().unwrap_or((-100, 100));
                (0..view.grid.elements()).map(|_| numbers.between(low as i32, high as i32)).collect()
            })
            .collect();
        let zero_points = [zero_point(self.x), zero_point(self.w)];
        let number = |factor: usize, index: [usize; 3]| {
            let at: isize = index.iter().zip(&views[factor].grid.strides).map(|(i, s)| *i as isize * s).sum();
            stored[factor][at as usize]
        };
        let mut expected = Vec::new();
        for (b, i, j) in (0..batch).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
            let factors = (0..k).map(|k| [number(0, [b, i, k]), number(1, [b, k, j])]);
            if float {
                let y = factors
                    .fold(0.0_f32, |sum, [x, w]| trial::accumulated(target, x as f32 / 3.0, w as f32 / 3.0, sum));
                expected.extend(y.max(0.0).to_le_bytes());
            } else {
                let y: i32 = factors.map(|[x, w]| (x - zero_points[0]) * (w - zero_points[1])).sum();
                expected.extend((y as f32 * 0.37).to_le_bytes());
            }
        }
        let bytes = stored.iter().map(|numbers| match float {
            true => numbers.iter().flat_map(|x| (*x as f32 / 3.0).to_le_bytes()).collect(),
            false => numbers.iter().map(|x| *x as u8).collect(),
        });
        let operands = bytes.collect();
        let steps = match float {
            true => vec![Step::Apply(Function::Relu, vec![Arg::Current])],
            false => {
                vec![Step::Cast(DType::F32), Step::Apply(Function::Mul, vec![Arg::Current, Arg::Float(0.37)])]
            }
        };
        let result = [batch, m, n];
        let call = Call {
            producer: Producer::MatMul(MatMul { zero_points }),
            operands: views.to_vec(),
            steps,
            output: view(DType::F32, 0, &result, &Grid::dense(&result).strides),
            origin: String::new(),
        };
        Trial { call, operands, expected, name: format!("{self:?}") }
    }
}

/// Sizes around tiles, batches, and factors that are transposed in memory.
fn shapes(base: Case) -> Vec<Case> {
    let mut cases = vec![base, Case { batch: 3, ..base }, Case { batch: 2, shared: true, ..base }];
    cases.extend([1, 4, 6, 12, 13].map(|m| Case { m, ..base }));
    cases.extend([1, 2, 8].map(|k| Case { k, ..base }));
    cases.extend([1, 7, 8, 16, 33, 47].map(|n| Case { n, ..base }));
    cases.extend([[true, false], [false, true], [true, true]].map(|transposed| Case { transposed, batch: 2, ..base }));
    cases
}

#[test]
fn integers_are_exact_whatever_the_zero_points() {
    for target in trial::targets() {
        let mut cases = shapes(BASE);
        cases.extend([(DType::I8, DType::U8), (DType::U8, DType::U8), (DType::I8, DType::I8)].map(|(x, w)| Case {
            x,
            w,
            ..BASE
        }));
        trial::equal(target, &cases.into_iter().map(|case| case.trial(target)).collect::<Vec<_>>());
    }
}

#[test]
fn floats_are_summed_in_order() {
    for target in trial::targets() {
        let cases = shapes(Case { x: DType::F32, w: DType::F32, ..BASE });
        trial::equal(target, &cases.into_iter().map(|case| case.trial(target)).collect::<Vec<_>>());
    }
}

//! Axes in every order, compared with plain loops.

use eightfold_ir::quant::quantize;
use eightfold_ir::{DType, Function};

use crate::kernel::{Call, Fold, Producer, Reduce};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::view::Grid;

const FOLDS: [Fold; 7] =
    [Fold::Sum { zero_point: 0 }, Fold::Mean, Fold::Max, Fold::Min, Fold::Prod, Fold::SumSquare, Fold::SumAbs];

/// A fold of the view `input` along `axes` to a dense result.
fn trial(dtype: DType, fold: Fold, grid: &Grid, axes: &[usize]) -> Trial {
    let mut numbers = Numbers(grid.elements() as u64);
    let dims = grid.dims.clone();
    let result: Vec<usize> = (0..dims.len()).map(|a| if axes.contains(&a) { 1 } else { dims[a] }).collect();
    let (low, high) = dtype.integer_range().map_or((-9, 9), |(low, high)| (low.max(-300), high.min(300)));
    // Floats near one, because a product of many stays near one.
    let near = |x: i32| if fold == Fold::Prod { 1.0 + x as f32 / 5000.0 } else { x as f32 / 7.0 };
    let stored: Vec<i32> = (0..grid.elements()).map(|_| numbers.between(low as i32, high as i32)).collect();
    let position = |mut index: usize, grid: &Grid| {
        let mut at = 0;
        for axis in (0..grid.dims.len()).rev() {
            at += (index % grid.dims[axis]) * grid.strides[axis] as usize;
            index /= grid.dims[axis];
        }
        at
    };
    let target = Grid {
        dims: dims.clone(),
        strides: {
            let dense = Grid::dense(&result).strides;
            (0..dims.len()).map(|a| if axes.contains(&a) { 0 } else { dense[a] }).collect()
        },
    };
    let mut parts = vec![Vec::new(); result.iter().product()];
    (0..grid.elements()).for_each(|i| parts[position(i, &target)].push(stored[position(i, grid)]));
    let size = dtype.byte_size();
    let sum_of_bytes = matches!(fold, Fold::Sum { .. }) && dtype.bits() == 8;
    let mut expected = Vec::new();
    for part in &parts {
        if dtype == DType::F32 {
            let reals = part.iter().map(|x| f64::from(near(*x)));
            let y = match fold {
                Fold::Sum { .. } => reals.sum(),
                Fold::Mean => reals.sum::<f64>() / part.len() as f64,
                Fold::DequantizedMean { .. } => unreachable!("of windows"),
                Fold::Max => reals.fold(f64::MIN, f64::max),
                Fold::Min => reals.fold(f64::MAX, f64::min),
                Fold::Prod => reals.product(),
                Fold::SumSquare => reals.map(|x| x * x).sum(),
                Fold::SumAbs => reals.map(f64::abs).sum(),
            };
            expected.extend((y as f32).to_le_bytes());
            continue;
        }
        let ints = part.iter().map(|x| i64::from(*x));
        let y = match fold {
            Fold::Sum { zero_point } => ints.map(|x| x - i64::from(zero_point)).sum(),
            Fold::Mean | Fold::DequantizedMean { .. } => unreachable!("of floats or windows"),
            Fold::Max => ints.max().expect("numbers"),
            Fold::Min => ints.min().expect("numbers"),
            Fold::Prod => ints.fold(1, i64::wrapping_mul),
            Fold::SumSquare => ints.map(|x| x * x).sum(),
            Fold::SumAbs => ints.map(i64::abs).sum(),
        };
        match sum_of_bytes {
            true => expected.push(quantize(y as f32 * 0.01, 1.0, 3, 0, 255) as u8),
            false => expected.extend(&y.to_le_bytes()[..size]),
        }
    }
    let bytes = stored.iter().flat_map(|x| match dtype {
        DType::F32 => near(*x).to_le_bytes().to_vec(),
        _ => i64::from(*x).to_le_bytes()[..size].to_vec(),
    });
    let (steps, output) = match sum_of_bytes {
        true => (
            vec![
                Step::Cast(DType::F32),
                Step::Apply(Function::Mul, vec![Arg::Current, Arg::Float(0.01)]),
                Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point: 3, min: 0, max: 255 },
            ],
            DType::U8,
        ),
        false => (vec![], dtype),
    };
    let call = Call {
        producer: Producer::Reduce(Reduce { fold }),
        operands: vec![view(dtype, 0, &dims, &grid.strides)],
        steps,
        output: view(output, 0, &result, &Grid::dense(&result).strides),
        origin: String::new(),
    };
    let name = format!("{fold:?} of {dtype} {grid:?} along {axes:?}");
    Trial { call, operands: vec![bytes.collect()], expected, name }
}

/// Images in both layouts, and matrices, folded along various axes.
fn shapes() -> Vec<(Grid, Vec<usize>)> {
    let image = [2, 37, 3, 5];
    let mut shapes = Vec::new();
    for axes in [&[2, 3][..], &[1], &[0, 2], &[3], &[0, 1, 2, 3]] {
        shapes.push((Grid::channels_last(&image), axes.to_vec()));
        shapes.push((Grid::dense(&image), axes.to_vec()));
    }
    for columns in [1, 7, 8, 33, 100] {
        shapes.push((Grid::dense(&[3, columns]), vec![1]));
    }
    shapes
}

#[test]
fn integers_are_exact() {
    let mut trials = Vec::new();
    for (grid, axes) in shapes() {
        for fold in FOLDS.into_iter().filter(|fold| *fold != Fold::Mean) {
            trials.push((DType::I32, fold, grid.clone(), axes.clone()));
        }
        for (dtype, zero_point) in [(DType::U8, 117), (DType::I8, -5)] {
            trials.push((dtype, Fold::Sum { zero_point }, grid.clone(), axes.clone()));
            trials.push((dtype, Fold::Max, grid.clone(), axes.clone()));
        }
    }
    // Sums that exceed 16 bits, and other widths.
    trials.push((DType::U8, Fold::Sum { zero_point: 3 }, Grid::channels_last(&[1, 40, 17, 16]), vec![2, 3]));
    for dtype in [DType::I16, DType::U16, DType::I64, DType::U8] {
        for fold in [Fold::Max, Fold::SumAbs, Fold::Prod] {
            trials.push((dtype, fold, Grid::dense(&[5, 9]), vec![0]));
        }
    }
    for target in trial::targets() {
        let trials: Vec<_> = trials.iter().map(|(dtype, fold, grid, axes)| trial(*dtype, *fold, grid, axes)).collect();
        trial::equal(target, &trials);
    }
}

#[test]
fn floats_are_within_the_bound_for_sums() {
    let mut trials = Vec::new();
    for (grid, axes) in shapes() {
        trials.extend(FOLDS.map(|fold| trial(DType::F32, fold, &grid, &axes)));
    }
    for target in trial::targets() {
        trial::check(target, &trials, |trial, bytes| {
            let reals = |bytes: &[u8]| -> Vec<f32> {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four"))).collect()
            };
            let (got, expected) = (reals(bytes), reals(&trial.expected));
            let count = trial.call.operands[0].grid.elements() / got.len();
            // (K + 8) 2^-24 times the sum of magnitudes. Numbers are up to 9/7, squares up to twice that.
            let bound = (count + 8) as f32 * f32::EPSILON / 2.0 * count as f32 * 2.0;
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= bound, "{} {}: {got}, not {expected}", target.name, trial.name);
            }
        });
    }
}

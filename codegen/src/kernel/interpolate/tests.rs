//! Both neighbours and their weights, along every axis and in both layouts.

use eightfold_ir::{Array, DType, Data, Shape, Tensor};

use crate::kernel::{Call, Interpolate, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::view::{Grid, View};

/// For each output coordinate two positions with their weights.
type Taps = Vec<[(usize, f32); 2]>;

/// Repeats and skips parts of an axis. Weights are eighths, so that sums are exact.
fn mixing(extent: usize) -> Taps {
    let pair = |at: usize| [(at / 2 % extent, 0.125 * at as f32), ((at * 3 + 1) % extent, 1.0 - 0.125 * at as f32)];
    (0..2 * extent + 1).map(pair).collect()
}

/// Takes single elements of an axis: the second position has weight 0.
fn picking(extent: usize) -> Taps {
    (0..extent).map(|at| [(at, 1.0), ((at + 1) % extent, 0.0)]).collect()
}

/// Interpolates small integers; every `infinite`th is replaced by an infinity.
fn trial(dims: &[usize], axis: usize, grid: fn(&[usize]) -> Grid, taps: &Taps, infinite: usize) -> Trial {
    let place = |dims: &[usize]| View { grid: grid(dims), ..view(DType::F32, 0, &[], &[]) };
    let positions: Vec<i64> = taps.iter().flatten().map(|tap| tap.0 as i64).collect();
    let weights: Vec<f32> = taps.iter().flatten().map(|tap| tap.1).collect();
    let source = place(dims);
    let mut numbers = Numbers(7);
    let count: usize = dims.iter().product();
    let mut x: Vec<f32> = (0..count).map(|_| numbers.between(-1000, 1000) as f32).collect();
    x.iter_mut().skip(1).step_by(infinite).for_each(|x| *x *= f32::INFINITY);
    let operands = vec![
        Tensor::f32(&[count], &x).bytes().to_vec(),
        Tensor::int(DType::I32, &[positions.len()], &positions).bytes().to_vec(),
        Tensor::f32(&[weights.len()], &weights).bytes().to_vec(),
    ];
    let mut result = dims.to_vec();
    result[axis] = taps.len();
    let call = Call {
        producer: Producer::Interpolate(Interpolate { axis }),
        operands: vec![
            source,
            view(DType::I32, 0, &[positions.len()], &[1]),
            view(DType::F32, 0, &[weights.len()], &[1]),
        ],
        steps: Vec::new(),
        output: place(&result),
        origin: String::new(),
    };
    let x = trial::elements(&call.operands[0], &operands[0]);
    let inner: usize = dims[axis + 1..].iter().product();
    let mixed = (0..result.iter().product()).map(|at: usize| {
        let (outer, rest) = (at / (taps.len() * inner), at % (taps.len() * inner));
        let from = |tap: (usize, f32)| tap.1 * x.floats()[(outer * dims[axis] + tap.0) * inner + rest % inner];
        let [low, high] = taps[rest / inner];
        if high.1 == 0.0 { from(low) } else { from(low) + from(high) }
    });
    let produced = Array { dtype: DType::F32, data: Data::Float(mixed.collect()), shape: Shape::new(&result) };
    let expected = trial::finished(&call, &operands, produced);
    Trial { expected, name: format!("{call:?}"), call, operands }
}

fn check(taps: fn(usize) -> Taps, infinite: usize) {
    let dims = [2, 3, 4, 11];
    let along = |axis: usize, grid| trial(&dims, axis, grid, &taps(dims[axis]), infinite);
    let mut trials: Vec<Trial> =
        (0..4).flat_map(|axis| [along(axis, Grid::dense), along(axis, Grid::channels_last)]).collect();
    trials.push(trial(&[1, 37, 3, 2], 2, Grid::channels_last, &taps(3), infinite));
    for target in trial::targets() {
        trial::equal(target, &trials);
    }
}

#[test]
fn along_every_axis() {
    check(mixing, usize::MAX);
}

#[test]
fn a_second_element_of_weight_zero_does_not_count() {
    check(picking, 2);
}

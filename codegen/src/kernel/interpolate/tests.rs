//! Both neighbours and their weights, along every axis and in both layouts.

use eightfold_ir::{Array, DType, Data, Shape, Tensor};

use crate::kernel::{Call, Interpolate, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::view::{Grid, View};

/// Doubles and drops parts of `axis`; eighths as weights, so that sums are exact.
fn trial(dims: &[usize], axis: usize, grid: fn(&[usize]) -> Grid) -> Trial {
    let place = |dims: &[usize]| View { grid: grid(dims), ..view(DType::F32, 0, &[], &[]) };
    let taps: Vec<[(usize, f32); 2]> = (0..2 * dims[axis] + 1)
        .map(|at| [(at / 2 % dims[axis], 0.125 * at as f32), ((at * 3 + 1) % dims[axis], 1.0 - 0.125 * at as f32)])
        .collect();
    let positions: Vec<i64> = taps.iter().flatten().map(|tap| tap.0 as i64).collect();
    let weights: Vec<f32> = taps.iter().flatten().map(|tap| tap.1).collect();
    let source = place(dims);
    let mut numbers = Numbers(7);
    let count: usize = dims.iter().product();
    let x: Vec<f32> = (0..count).map(|_| numbers.between(-1000, 1000) as f32).collect();
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
        from(low) + from(high)
    });
    let produced = Array { dtype: DType::F32, data: Data::Float(mixed.collect()), shape: Shape::new(&result) };
    let expected = trial::finished(&call, &operands, produced);
    Trial { expected, name: format!("{call:?}"), call, operands }
}

#[test]
fn along_every_axis() {
    let dims = [2, 3, 4, 11];
    let mut trials: Vec<Trial> =
        (0..4).flat_map(|axis| [trial(&dims, axis, Grid::dense), trial(&dims, axis, Grid::channels_last)]).collect();
    trials.push(trial(&[1, 37, 3, 2], 2, Grid::channels_last));
    for target in trial::targets() {
        trial::equal(target, &trials);
    }
}

//! Integers bit for bit, floats within their error bound, along every axis.

use eightfold_ir::op::softmax::{Softmax, exponentials};
use eightfold_ir::op::{EvalOperand, OpDef as _};
use eightfold_ir::{DType, QuantParams};

use crate::kernel;
use crate::kernel::{Call, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::Step;
use crate::view::{Grid, View};

fn trial(dtype: DType, dims: &[usize], axis: usize, grid: fn(&[usize]) -> Grid, steps: Vec<Step>) -> Trial {
    let to = if steps.is_empty() { DType::F32 } else { DType::U8 };
    let place = |dtype| View { grid: grid(dims), ..view(dtype, 0, &[], &[]) };
    let scale = 0.07;
    let mut operands = vec![trial::numbers_for(&place(dtype), &mut Numbers(dims[axis] as u64))];
    let mut views = vec![place(dtype)];
    let params = QuantParams::per_tensor(dtype, scale, 0);
    if dtype.is_integer() {
        operands.push(exponentials(scale).iter().flat_map(|entry| entry.to_le_bytes()).collect());
        views.push(view(DType::I32, 0, &[256], &[1]));
    }
    let producer = Producer::Softmax(kernel::Softmax { axis });
    let call = Call { producer, operands: views, steps, output: place(to), origin: String::new() };
    let array = trial::elements(&call.operands[0], &operands[0]);
    let operand = EvalOperand { array: &array, quant: dtype.is_integer().then_some(&params) };
    let [produced] = Softmax { axis }.eval(&[Some(operand)]).into_inner().expect("one result");
    let expected = trial::finished(&call, &operands, produced);
    Trial { expected, name: format!("{call:?}"), call, operands }
}

#[test]
fn integers_bit_for_bit() {
    let quantize = || vec![Step::Quantize { dtype: DType::U8, scale: 1.0 / 256.0, zero_point: 0, min: 0, max: 255 }];
    let mut trials = Vec::new();
    for dtype in [DType::U8, DType::I8] {
        for axis in 0..4 {
            trials.push(trial(dtype, &[2, 5, 3, 37], axis, Grid::dense, vec![]));
            trials.push(trial(dtype, &[2, 5, 3, 37], axis, Grid::channels_last, quantize()));
        }
        trials.push(trial(dtype, &[1, 10], 1, Grid::dense, quantize()));
        // The sum exceeds 31 bits.
        trials.push(trial(dtype, &[2, 1001], 1, Grid::dense, vec![]));
        trials.push(trial(dtype, &[700, 3], 0, Grid::dense, vec![]));
    }
    for target in trial::targets() {
        trial::equal(target, &trials);
    }
}

#[test]
fn floats_within_their_bound() {
    let mut trials: Vec<Trial> = (0..4)
        .flat_map(|axis| [Grid::dense, Grid::channels_last].map(|grid| (axis, grid)))
        .map(|(axis, grid)| trial(DType::F32, &[2, 5, 3, 37], axis, grid, vec![]))
        .collect();
    trials.extend([1, 2, 10, 1000].map(|n| trial(DType::F32, &[1, n], 1, Grid::dense, vec![])));
    for target in trial::targets() {
        trial::check(target, &trials, |trial, bytes| {
            let floats =
                |bytes: &[u8]| -> Vec<f32> { bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect() };
            for (got, expected) in floats(bytes).into_iter().zip(floats(&trial.expected)) {
                let error = (f64::from(got) - f64::from(expected)).abs();
                // An exponential is within 1 ulp for its argument, which is itself a rounded difference.
                assert!(error <= 1e-6 * f64::from(expected), "{} {}: {got} is not {expected}", target.name, trial.name);
            }
        });
    }
}

//! Positions inside and outside the axis, in all layouts, compared with the evaluator.

use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::{EvalOperand, OpDef as _};
use eightfold_ir::{DType, Tensor};

use crate::kernel;
use crate::kernel::{Call, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::target::TARGETS;
use crate::view::{Grid, View};

/// Takes `positions` along `axis` of a tensor laid out by `grid`.
fn trial(dtype: DType, dims: &[usize], axis: usize, grid: fn(&[usize]) -> Grid, positions: (DType, &[i64])) -> Trial {
    let place = |dims: &[usize]| View { grid: grid(dims), ..view(dtype, 0, &[], &[]) };
    let source = place(dims);
    let count = positions.1.len();
    let mut result = dims.to_vec();
    result[axis] = count;
    let list = Tensor::int(positions.0, &[count], positions.1);
    let operands = vec![trial::numbers_for(&source, &mut Numbers(dims.len() as u64)), list.bytes().to_vec()];
    let call = Call {
        producer: Producer::Gather(kernel::Gather { axis, blocks: None }),
        operands: vec![source, view(positions.0, 0, &[count], &[1])],
        steps: Vec::new(),
        output: place(&result),
        origin: String::new(),
    };
    let arrays = [0, 1].map(|i| trial::elements(&call.operands[i], &operands[i]));
    let arrays = [0, 1].map(|i| Some(EvalOperand { array: &arrays[i], quant: None }));
    let [produced] = Gather { axis }.eval(&arrays).into_inner().expect("one result");
    let expected = trial::finished(&call, &operands, produced);
    Trial { expected, name: format!("{call:?}"), call, operands }
}

#[test]
fn positions_inside_and_outside() {
    let dims = [2, 5, 4, 9];
    let positions: &[i64] = &[3, 0, -1, 2, 2, -5, 1 << 20, -100, 1];
    let mut trials = Vec::new();
    for axis in 0..4 {
        for dtype in [DType::U8, DType::F32, DType::I64] {
            trials.push(trial(dtype, &dims, axis, Grid::dense, (DType::I64, positions)));
            trials.push(trial(dtype, &dims, axis, Grid::channels_last, (DType::I32, positions)));
        }
    }
    trials.push(trial(DType::F32, &[7], 0, Grid::dense, (DType::I64, &[-7])));
    trials.push(trial(DType::F32, &[30, 64], 0, Grid::dense, (DType::I64, &[])));
    for target in trial::targets() {
        trial::equal(target, &trials);
    }
}

#[test]
fn of_a_table_the_rows_that_are_taken_count() {
    let trial = trial(DType::F32, &[1000, 8], 0, Grid::dense, (DType::I64, &[3, -1, 3]));
    let work = trial.call.work(&TARGETS[0]);
    assert_eq!((work.input_bytes + work.weight_bytes, work.output_bytes), (3 * 8 * 4 + 3 * 8, 3 * 8 * 4));
}

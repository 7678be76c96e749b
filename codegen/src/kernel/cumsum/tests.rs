//! Running sums equal the evaluator's bit for bit along every axis, in both layouts, with steps.

use eightfold_ir::op::{EvalOperand, OpDef as _, cumsum};
use eightfold_ir::{DType, Function};

use crate::kernel::{Call, CumSum, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::view::{Grid, View};

fn trial(dtype: DType, dims: &[usize], kernel: CumSum, grid: fn(&[usize]) -> Grid, steps: Vec<Step>) -> Trial {
    let CumSum { axis, exclusive, reverse } = kernel;
    let place = || View { grid: grid(dims), ..view(dtype, 0, &[], &[]) };
    let operands = vec![trial::numbers_for(&place(), &mut Numbers(dims[axis] as u64))];
    let producer = Producer::CumSum(kernel);
    let call = Call { producer, operands: vec![place()], steps, output: place(), origin: String::new() };
    let array = trial::elements(&call.operands[0], &operands[0]);
    let operator = cumsum::CumSum { axis, exclusive, reverse };
    let [produced] =
        operator.eval(&[Some(EvalOperand { array: &array, quant: None })]).into_inner().expect("one result");
    let expected = trial::finished(&call, &operands, produced);
    Trial { expected, name: format!("{call:?}"), call, operands }
}

#[test]
fn sums_are_the_same_bits_along_every_axis() {
    let doubled = || vec![Step::Apply(Function::Add, vec![Arg::Current, Arg::Current])];
    let mut trials = Vec::new();
    for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
        for dtype in [DType::F32, DType::I32, DType::I64] {
            for axis in 0..4 {
                let kernel = CumSum { axis, exclusive, reverse };
                trials.push(trial(dtype, &[2, 5, 3, 37], kernel, Grid::dense, vec![]));
                trials.push(trial(dtype, &[2, 5, 3, 37], kernel, Grid::channels_last, doubled()));
            }
            // Sums of i32 wrap.
            let kernel = CumSum { axis: 0, exclusive, reverse };
            trials.push(trial(dtype, &[100], kernel, Grid::dense, vec![]));
            trials.push(trial(dtype, &[1], kernel, Grid::dense, vec![]));
        }
    }
    for target in trial::targets() {
        trial::equal(target, &trials);
    }
}

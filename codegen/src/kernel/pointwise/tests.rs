//! Copies and chains over all kinds of strides, compared with the interpreter of steps.

use eightfold_ir::{DType, Function};

use crate::kernel::{Call, Pointwise, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::view::{Grid, View};

fn trial(operands: Vec<View>, steps: Vec<Step>, output: View) -> Trial {
    let name = format!("{operands:?} {steps:?} {output:?}");
    let mut numbers = Numbers(name.bytes().map(u64::from).sum());
    let bytes: Vec<_> = operands.iter().map(|view| trial::numbers_for(view, &mut numbers)).collect();
    let call = Call { producer: Producer::Pointwise(Pointwise), operands, steps, output, origin: String::new() };
    let produced = trial::elements(&call.operands[0], &bytes[0]);
    let expected = trial::finished(&call, &bytes, produced);
    Trial { call, operands: bytes, expected, name }
}

fn quantize(dtype: DType) -> Step {
    let (min, max) = dtype.storage_range().expect("8 bits");
    Step::Quantize { dtype, scale: 0.02, zero_point: 3, min, max }
}

fn planar(dtype: DType, dims: &[usize]) -> View {
    view(dtype, 0, dims, &Grid::dense(dims).strides)
}

fn interleaved(dtype: DType, dims: &[usize]) -> View {
    view(dtype, 0, dims, &Grid::channels_last(dims).strides)
}

/// A channels-last view in the middle of a buffer with one more row and column on each side.
fn bordered(dtype: DType, dims: &[usize]) -> View {
    let outer = [dims[0], dims[1], dims[2] + 2, dims[3] + 2];
    let strides = Grid::channels_last(&outer).strides;
    view(dtype, (strides[2] + strides[3]) as usize, dims, &strides)
}

fn check(trials: &[Trial]) {
    // Nothing here depends on the target except the width of its registers.
    for target in trial::targets_by(|target| target.vector_bits) {
        trial::equal(target, trials);
    }
}

#[test]
fn changes_of_layout() {
    let mut trials = Vec::new();
    for dims in [[1, 3, 5, 37], [2, 1, 3, 3], [1, 2, 2, 16], [1, 4, 1, 50], [1, 17, 3, 11], [2, 5, 1, 8], [1, 40, 6, 6]]
    {
        for (from, to, steps) in [
            (DType::U8, DType::U8, vec![]),
            (DType::F32, DType::F32, vec![]),
            (DType::F32, DType::U8, vec![quantize(DType::U8)]),
            (DType::I8, DType::F32, vec![Step::Dequantize { scale: 0.1, zero_point: -5 }]),
        ] {
            trials.push(trial(vec![planar(from, &dims)], steps.clone(), interleaved(to, &dims)));
            trials.push(trial(vec![planar(from, &dims)], steps.clone(), bordered(to, &dims)));
            trials.push(trial(vec![interleaved(from, &dims)], steps.clone(), planar(to, &dims)));
            trials.push(trial(vec![bordered(from, &dims)], steps, planar(to, &dims)));
        }
    }
    check(&trials);
}

#[test]
fn chains_with_operands_that_lie_otherwise() {
    let dims = [2, 6, 3, 19];
    let channel = view(DType::F32, 0, &dims, &[0, 1, 0, 0]);
    let scalar = view(DType::F32, 0, &dims, &[0, 0, 0, 0]);
    let add = |operand| Step::Apply(Function::Add, vec![Arg::Current, Arg::Operand(operand)]);
    let residual =
        Step::Apply(Function::Add, vec![Arg::Current, Arg::Dequantized { operand: 1, scale: 0.03, zero_point: 100 }]);
    let mut trials = Vec::new();
    for output in [planar, interleaved, bordered] {
        for other in [planar, interleaved, bordered] {
            let steps = vec![
                Step::Dequantize { scale: 0.01, zero_point: 7 },
                residual.clone(),
                Step::Apply(Function::Mul, vec![Arg::Current, Arg::Operand(2)]),
                add(3),
                quantize(DType::I8),
            ];
            let operands = vec![output(DType::U8, &dims), other(DType::U8, &dims), channel.clone(), scalar.clone()];
            trials.push(trial(operands, steps, output(DType::I8, &dims)));
            // A broadcast first operand.
            trials.push(trial(
                vec![channel.clone(), other(DType::F32, &dims)],
                vec![add(1)],
                output(DType::F32, &dims),
            ));
        }
    }
    check(&trials);
}

#[test]
fn slices_flips_shuffles_and_tables() {
    let flat = |dtype, offset, stride| view(dtype, offset, &[37], &[stride]);
    let table = |dtype| view(dtype, 0, &[256], &[1]);
    let lookup = |dtype| Step::Table { operand: 1, dtype };
    let shuffled = |dtype, g: usize, c: usize| {
        // A shuffle of channels: `g` groups of `c` channels over 6 pixels are interleaved.
        let total = (g * c) as isize;
        trial(
            vec![view(dtype, 0, &[6, c, g], &[total, 1, c as isize])],
            vec![],
            view(dtype, 0, &[6, c, g], &[total, g as isize, 1]),
        )
    };
    check(&[
        trial(vec![flat(DType::U8, 36, -1)], vec![], flat(DType::U8, 2, 1)),
        trial(vec![flat(DType::F32, 1, 3)], vec![], flat(DType::F32, 0, 1)),
        trial(vec![flat(DType::I64, 0, 2)], vec![Step::Cast(DType::I32)], flat(DType::I32, 0, 2)),
        trial(vec![flat(DType::U8, 0, 1), table(DType::I8)], vec![lookup(DType::I8)], flat(DType::I8, 0, 1)),
        trial(
            vec![planar(DType::I8, &[3, 117]), table(DType::U8)],
            vec![lookup(DType::U8)],
            planar(DType::U8, &[3, 117]),
        ),
        trial(vec![flat(DType::I8, 0, 1), table(DType::F32)], vec![lookup(DType::F32)], flat(DType::F32, 0, 1)),
        shuffled(DType::U8, 2, 58),
        shuffled(DType::F32, 2, 24),
        shuffled(DType::U8, 3, 20),
        shuffled(DType::U8, 8, 5),
    ]);
}

#[test]
fn every_type_and_no_elements_at_all() {
    let types = [
        DType::U8,
        DType::I8,
        DType::Bool,
        DType::U16,
        DType::I16,
        DType::F16,
        DType::Bf16,
        DType::U32,
        DType::I32,
        DType::F32,
        DType::U64,
        DType::I64,
    ];
    let mut trials = Vec::new();
    for from in types {
        trials.push(trial(vec![planar(from, &[])], vec![], planar(from, &[])));
        trials.push(trial(vec![planar(from, &[3, 0])], vec![], planar(from, &[3, 0])));
        trials.push(trial(vec![planar(from, &[1, 9, 13, 3])], vec![], interleaved(from, &[1, 9, 13, 3])));
        for to in types {
            trials.push(trial(vec![planar(from, &[71])], vec![Step::Cast(to)], planar(to, &[71])));
        }
    }
    check(&trials);
}

//! Compares the parts of calls with whole calls, byte for byte: every kernel family, cut in every way.

#![expect(clippy::single_range_in_vec_init, reason = "lists of ranges, some of one")]

use eightfold_ir::{DType, Function};

use super::*;
use crate::kernel::{
    CumSum, Depthwise, Fill, Fold, Gather, Gemm, Interpolate, MatMul, Pointwise, Pool, Producer, Reduce, Run, Softmax,
    Tile, depthwise, gemm,
};
use crate::llvm::jit::{Compiled, Jit};
use crate::llvm::trial::{BLANK, Numbers, Trial, numbers_for, view};
use crate::program::Program;
use crate::step::{Arg, Step};
use crate::target::{TARGETS, Target};
use crate::view::{ConstId, Grid, Storage, View};

/// The bytes of the output's storage after all of these calls.
fn run(compiled: &Compiled<'_>, calls: &[Call], first: usize, operands: &[Vec<u8>], size: usize) -> Vec<u8> {
    let slack = |bytes: &[u8]| [&[BLANK; Program::SLACK], bytes, &[BLANK; Program::SLACK]].concat();
    let mut buffers: Vec<Vec<u8>> = operands.iter().map(|bytes| slack(bytes)).collect();
    buffers.push(slack(&vec![BLANK; size]));
    // In reverse order, as no part may depend on another.
    for (index, call) in calls.iter().enumerate().rev() {
        let views = call.operands.iter().chain([&call.output]);
        let start = |view: &View| Program::SLACK + view.offset * view.dtype.byte_size();
        let pointers: Vec<_> =
            buffers.iter_mut().zip(views).map(|(buffer, view)| buffer[start(view)..].as_mut_ptr()).collect();
        // SAFETY: each operand has its own bytes, as many as its view needs, with slack on both sides.
        unsafe { compiled.run(first + index, &pointers) };
    }
    buffers.pop().expect("the output")
}

/// Cuts the call in all ways and checks each; returns the number of axes along which it can be cut in two.
fn check(target: &'static Target, call: &Call, operands: &[Vec<u8>]) -> usize {
    let size = call.output.dtype.byte_size();
    let strides = call.output.grid.dims.iter().zip(&call.output.grid.strides);
    let last: usize = strides.map(|(dim, stride)| (dim - 1) * stride.unsigned_abs()).sum();
    let size = (call.output.offset + last + 1) * size;
    let ways: Vec<Vec<Call>> =
        [2, 3].into_iter().flat_map(|count| ways(call, count, 1)).map(|(_, parts)| parts).collect();
    let all: Vec<Call> = [vec![call.clone()], ways.concat()].concat();
    let jit = Jit::default();
    let compiled = jit.compile(&all, target, false).expect("compiles");
    let whole = run(&compiled, &all[..1], 0, operands, size);
    let mut first = 1;
    for parts in &ways {
        let got = run(&compiled, parts, first, operands, size);
        let shown: Vec<String> = parts.iter().map(Call::to_string).collect();
        assert!(got == whole, "{}: {call}\nin parts:\n{}", target.name, shown.join("\n"));
        first += parts.len();
    }
    ways.iter().filter(|parts| parts.len() == 2).count().min(super::ways(call, 2, 1).len())
}

/// The best target that runs here. One is enough, as cuts depend only on tiles.
fn here() -> impl Iterator<Item = &'static Target> {
    TARGETS.iter().rfind(|target| target.runs_here()).into_iter()
}

fn const_view(dtype: DType, bytes: &[u8]) -> View {
    let grid = Grid::dense(&[bytes.len() / dtype.byte_size()]);
    View::new(Storage::Const(ConstId(0)), dtype, 0, grid)
}

/// An epilogue with a residual: an addition for f32, else requantization to u8 with the addition before it.
fn steps(input: DType) -> Vec<Step> {
    match input {
        DType::F32 => vec![Step::Apply(Function::Add, vec![Arg::Current, Arg::Operand(3)])],
        _ => vec![
            Step::Cast(DType::F32),
            Step::Apply(Function::Mul, vec![Arg::Current, Arg::Float(0.002)]),
            Step::Apply(Function::Add, vec![Arg::Current, Arg::Operand(3)]),
            Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point: 3, min: 0, max: 255 },
        ],
    }
}

/// A 3 x 3 convolution over `size` pixels (rows, columns), with a border around its input.
fn convolution(
    target: &'static Target,
    input: DType,
    size: [usize; 2],
    depth: usize,
    n: usize,
) -> (Call, Vec<Vec<u8>>) {
    let [rows, cols] = size;
    let mut numbers = Numbers(n as u64);
    let tile = Tile::usual(target, input, cols, n);
    let row = ((cols + 2) * depth) as isize;
    let runs: Vec<Run> = (0..3).map(|y| Run { offset: y * row, length: 3 * depth }).collect();
    let packed = match input {
        DType::F32 => gemm::pack::floats(
            DType::F32,
            tile,
            n,
            &runs,
            &|o, r, e| ((o * 7 + r * 5 + e * 3) % 19) as f32 - 9.3,
            &vec![0.5; n],
        ),
        // The weights are large, so that there are extra groups.
        _ => gemm::pack::integers(
            target,
            tile,
            n,
            &runs,
            &|o, r, e| ((o * 131 + r * 57 + e * 83) % 511) as i32 - 255,
            &vec![9; n],
            false,
        ),
    };
    let gemm = Gemm {
        input,
        format: None,
        strides: [1; 2],
        runs,
        n,
        tile: Some(tile),
        extra: packed.extra,
        joined: false,
        row_block: 2,
        plain: None,
    };
    let x = view(input, 0, &[1, depth, rows + 2, cols + 2], &[0, 1, row, depth as isize]);
    let accumulator = if input == DType::F32 { DType::F32 } else { DType::I32 };
    let weights = if input == DType::F32 { DType::F32 } else { DType::I8 };
    let result = [1, n, rows, cols];
    let strides = [0, 1, (cols * n) as isize, n as isize];
    let residual = view(DType::F32, 0, &result, &strides);
    let bytes = vec![numbers_for(&x, &mut numbers), packed.weights, packed.sums, numbers_for(&residual, &mut numbers)];
    let operands = vec![x, const_view(weights, &bytes[1]), const_view(accumulator, &bytes[2]), residual];
    let output = view(if input == DType::F32 { DType::F32 } else { DType::U8 }, 0, &result, &strides);
    let call = Call { producer: Producer::Gemm(gemm), operands, steps: steps(input), output, origin: String::new() };
    (call, bytes)
}

#[test]
fn products_are_cut_by_rows_pixels_and_blocks_of_channels() {
    for target in here() {
        for input in [DType::U8, DType::I8, DType::F32] {
            for (size, n, ways) in [([7, 9], 70, 2), ([1, 40], 70, 2), ([1, 1], 33, 1), ([2, 3], 5, 1)] {
                let (call, operands) = convolution(target, input, size, 5, n);
                let (nr, mr) = match &call.producer {
                    Producer::Gemm(gemm) => (gemm.tile().nr, gemm.tile().mr),
                    _ => unreachable!(),
                };
                let possible = ways.min(usize::from(n > nr) + usize::from(size[0] > 1 || size[1] > mr));
                assert_eq!(check(target, &call, &operands), possible, "{} {input} {size:?} {n}", target.name);
            }
        }
    }
}

#[test]
fn depthwise_convolutions_are_cut_by_rows() {
    let channels = 21;
    let window = [3, 3];
    for target in here() {
        for input in [DType::U8, DType::I8, DType::F32] {
            let mut numbers = Numbers(7);
            let (packed, sums) = match input {
                DType::F32 => depthwise::pack::floats(target, &|_, _| 0.25, channels, window, &[]),
                _ => {
                    let weight = |c: usize, [y, x]: [usize; 2]| (c * 9 + y * 3 + x) as i32 * 37 % 255 - 127;
                    depthwise::pack::integers(target, &weight, channels, window, &vec![5; channels])
                }
            };
            let row = (11 * channels) as isize;
            let taps = (0..9).map(|tap| (tap / 3) * row + tap % 3 * channels as isize).collect();
            let depthwise = Depthwise { input, strides: [2; 2], taps, columns: 3, channels, plain: None };
            let x = view(input, 0, &[1, channels, 9, 11], &[0, 1, row, channels as isize]);
            let result = [1, channels, 4, 4];
            let strides = Grid::channels_last(&result).strides;
            let residual = view(DType::F32, 0, &result, &strides);
            let operands = vec![numbers_for(&x, &mut numbers), packed, sums, numbers_for(&residual, &mut numbers)];
            let views = vec![x, const_view(DType::I8, &operands[1]), const_view(DType::I32, &operands[2]), residual];
            let output = view(if input == DType::F32 { DType::F32 } else { DType::U8 }, 0, &result, &strides);
            let producer = Producer::Depthwise(depthwise);
            let call = Call { producer, operands: views, steps: steps(input), output, origin: String::new() };
            assert_eq!(check(target, &call, &operands), 1);
        }
    }
}

/// Tiles are cut by batch and by rows of tiles; their products also by channels. Two rows of results stay together.
#[test]
fn transformed_tiles_are_cut_by_rows_of_tiles() {
    use crate::kernel::{winograd, winograd_input};
    for target in here() {
        let Trial { mut call, operands, .. } = winograd::tests::whole(target);
        // Weights and initial accumulators are packed: parts begin inside them.
        call.operands[1..3].iter_mut().for_each(|view| view.storage = Storage::Const(ConstId(0)));
        assert_eq!(check(target, &call, &operands), 3);
        let parts = ways(&call, 3, 1).into_iter().find(|(axis, _)| *axis == 2).expect("rows are cut").1;
        let rows: Vec<usize> = parts.iter().map(|part| part.output.grid.dims[2]).collect();
        assert_eq!(rows, [2, 4, 4]);
        let Trial { mut call, operands, .. } = winograd_input::tests::whole();
        let strides = &call.output.grid.strides;
        let pixel = call.operands[0].grid.elements() / (2 * 12 * 8);
        let grid = Grid { dims: vec![2, 21, 12, 8], strides: [12 * 8, 0, 8, 1].map(|s| (s * pixel) as isize).to_vec() };
        assert_eq!(strides[1], 1);
        call.operands[0].grid = Grid { strides: [&grid.strides[..1], &[1], &grid.strides[2..]].concat(), ..grid };
        assert_eq!(check(target, &call, &operands), 2);
    }
}

/// A call that reads `input` and the operands in `extra`.
fn simple(producer: Producer, input: &View, extra: Vec<(View, Vec<u8>)>, output: View) -> (Call, Vec<Vec<u8>>) {
    let mut numbers = Numbers(3);
    let mut operands = vec![numbers_for(input, &mut numbers)];
    let mut views = vec![input.clone()];
    for (view, bytes) in extra {
        views.push(view);
        operands.push(bytes);
    }
    (Call { producer, operands: views, steps: vec![], output, origin: String::new() }, operands)
}

fn of(dtype: DType, dims: &[usize], channels_last: bool) -> View {
    let grid = if channels_last { Grid::channels_last(dims) } else { Grid::dense(dims) };
    view(dtype, 0, dims, &grid.strides)
}

#[test]
fn pools_keep_their_padding_and_what_means_are_divided_by() {
    let folds = [
        (DType::U8, Fold::Max),
        (DType::F32, Fold::Mean),
        (DType::I8, Fold::Sum { zero_point: 3 }),
        (DType::U8, Fold::DequantizedMean { scale: 0.3, zero_point: 7 }),
    ];
    for target in here() {
        for (input, fold) in folds {
            for (kernel, stride, dilation, pad, after) in
                [(3, 2, 1, 1, 1), (2, 2, 1, 0, 0), (3, 1, 2, 2, 0), (5, 3, 1, 4, 4)]
            {
                let [high, wide] = [13_usize, 6];
                let rows = (high + pad + after - (kernel - 1) * dilation - 1) / stride + 1;
                let cols = (wide + pad + after - (kernel - 1) * dilation - 1) / stride + 1;
                for include in [None, Some([after, after])] {
                    let producer = Producer::Pool(Pool {
                        fold,
                        kernel: [kernel; 2],
                        strides: [stride; 2],
                        dilations: [dilation; 2],
                        pads: [pad; 2],
                        include_pad: include,
                    });
                    let produced = match fold {
                        Fold::Max => input,
                        Fold::Sum { .. } => DType::I32,
                        _ => DType::F32,
                    };
                    let output = of(produced, &[1, 9, rows, cols], true);
                    let (call, operands) = simple(producer, &of(input, &[1, 9, high, wide], true), vec![], output);
                    assert_eq!(check(target, &call, &operands), 2);
                }
            }
        }
    }
}

#[test]
fn folds_softmax_and_running_sums_are_cut_along_what_stays() {
    for target in here() {
        for channels_last in [false, true] {
            let input = of(DType::F32, &[3, 21, 5, 4], channels_last);
            for result in [[3, 21, 1, 1], [3, 1, 5, 4], [1, 21, 5, 1]] {
                let producer = Producer::Reduce(Reduce { fold: Fold::Mean });
                let (call, operands) = simple(producer, &input, vec![], of(DType::F32, &result, channels_last));
                assert!(check(target, &call, &operands) >= 1);
            }
            for axis in 0..4 {
                let output = of(DType::F32, &[3, 21, 5, 4], channels_last);
                let (call, operands) = simple(Producer::Softmax(Softmax { axis }), &input, vec![], output.clone());
                assert!(check(target, &call, &operands) >= 1);
                let sums = Producer::CumSum(CumSum { axis, exclusive: false, reverse: true });
                let (call, operands) = simple(sums, &input, vec![], output);
                assert_eq!(check(target, &call, &operands), 3);
            }
        }
    }
}

#[test]
fn movement_is_cut_along_all_but_its_own_axis() {
    let ints = |values: &[i64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (view(DType::I64, 0, &[values.len()], &[1]), bytes)
    };
    for target in here() {
        let dims = [2, 7, 5, 6];
        let copy =
            simple(Producer::Pointwise(Pointwise), &of(DType::U8, &dims, false), vec![], of(DType::U8, &dims, true));
        assert_eq!(check(target, &copy.0, &copy.1), 4);
        let element = 77_i64.to_le_bytes();
        let fill = Call { operands: vec![], producer: Producer::Fill(Fill { element }), ..copy.0 };
        assert_eq!(check(target, &fill, &[]), 4);
        let gather = Producer::Gather(Gather { axis: 2, blocks: None });
        let output = of(DType::U8, &[2, 7, 3, 6], true);
        let gather = simple(gather, &of(DType::U8, &dims, true), vec![ints(&[4, -5, 1])], output);
        assert_eq!(check(target, &gather.0, &gather.1), 3);
        let positions: Vec<u8> = [0_i32, 1, 1, 2, 3, 4, 4, 4].iter().flat_map(|p| p.to_le_bytes()).collect();
        let weights: Vec<u8> =
            [0.25_f32, 0.75, 0.5, 0.5, 1.0, 0.0, 0.125, 0.875].iter().flat_map(|w| w.to_le_bytes()).collect();
        let tables = vec![(view(DType::I32, 0, &[8], &[1]), positions), (view(DType::F32, 0, &[8], &[1]), weights)];
        let output = of(DType::F32, &[2, 7, 4, 6], true);
        let resize =
            simple(Producer::Interpolate(Interpolate { axis: 2 }), &of(DType::F32, &dims, true), tables, output);
        assert_eq!(check(target, &resize.0, &resize.1), 3);
        let mut numbers = Numbers(5);
        let w = of(DType::F32, &[3, 6, 9], false);
        let factor = vec![(w.clone(), numbers_for(&w, &mut numbers))];
        let product = Producer::MatMul(MatMul { zero_points: [0; 2] });
        let product = simple(product, &of(DType::F32, &[3, 11, 6], false), factor, of(DType::F32, &[3, 11, 9], false));
        assert_eq!(check(target, &product.0, &product.1), 2);
    }
}

#[test]
fn equal_parts_share_their_code_and_do_not_write_to_one_line() {
    let target = &TARGETS[0];
    let (mut call, _) = convolution(target, DType::U8, [8, 16], 16, 128);
    if let Producer::Gemm(gemm) = &mut call.producer {
        gemm.extra = vec![vec![]; gemm.extra.len()];
    }
    for (_, parts) in ways(&call, 2, 64) {
        assert_eq!(parts[0].geometry(), parts[1].geometry(), "{} and {}", parts[0], parts[1]);
        assert!(parts.iter().all(|part| part.output.offset % 64 == 0));
    }
    assert_eq!(ways(&call, 2, 64).len(), 2);
    // With 3 channels a pixel, no cut by channels lies on a cache line.
    let narrow = view(DType::U8, 0, &[1, 3, 64, 64], &[0, 1, 192, 3]);
    let copy = Call {
        producer: Producer::Pointwise(Pointwise),
        operands: vec![narrow.clone()],
        steps: vec![],
        output: narrow,
        ..call
    };
    assert_eq!(ways(&copy, 2, 64).len(), 2);
    assert_eq!(ranges(10, 1, 3), [0..3, 3..6, 6..10]);
    assert_eq!(ranges(100, 32, 3), [0..32, 32..64, 64..100]);
    assert_eq!(ranges(31, 32, 3), [0..31]);
}

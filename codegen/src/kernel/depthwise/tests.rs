//! Windows, strides and edges, compared with plain loops.

use eightfold_ir::quant::quantize;
use eightfold_ir::{DType, Function};

use super::pack;
use crate::kernel::{Call, Depthwise, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::target::{InstructionSet, Target};
use crate::view::Grid;

/// A depthwise convolution without padding.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: DType,
    batch: usize,
    size: [usize; 2],
    channels: usize,
    window: [usize; 2],
    stride: usize,
    dilation: usize,
    /// Whether the last step of integers is a table.
    table: bool,
}

impl Case {
    fn trial(self, target: &Target) -> Trial {
        let Case { input, batch, size: [rows, cols], channels, window, stride, dilation, table } = self;
        let mut numbers = Numbers(channels as u64 * 7 + cols as u64);
        let extent = |size: usize, window: usize| (size - 1) * stride + (window - 1) * dilation + 1;
        let (high, wide) = (extent(rows, window[0]), extent(cols, window[1]));
        let elements = batch * high * wide * channels;
        let taps = window[0] * window[1];
        let at = |y: usize, x: usize| ((y * wide + x) * channels) as isize;
        let depthwise = Depthwise {
            input,
            strides: [stride; 2],
            taps: (0..taps).map(|t| at(t / window[1] * dilation, t % window[1] * dilation)).collect(),
            columns: window[1],
            channels,
            plain: None,
        };
        // For each window and channel, the position of the first input.
        let outputs: Vec<(usize, usize)> = (0..batch * rows * cols * channels)
            .map(|i| {
                let (c, x, y, b) =
                    (i % channels, i / channels % cols, i / channels / cols % rows, i / channels / cols / rows);
                (((b * high + y * stride) * wide + x * stride) * channels + c, c)
            })
            .collect();
        let result = [batch, channels, rows, cols];
        let strides = Grid::channels_last(&result).strides;
        let from = Grid::channels_last(&[batch, channels, high, wide]);
        let name = format!("{self:?}");
        let by_column = (0..window[1]).flat_map(|x| (0..window[0]).map(move |y| y * window[1] + x));
        let by_column: Vec<usize> = by_column.collect();
        let tap = |first: usize, tap: usize| first + depthwise.taps[tap] as usize;
        if input == DType::F32 {
            let x: Vec<f32> = (0..elements).map(|_| numbers.between(-1000, 1000) as f32 / 300.0).collect();
            let w: Vec<f32> = (0..channels * taps).map(|_| numbers.between(-1000, 1000) as f32 / 700.0).collect();
            let sums: Vec<f32> = (0..channels).map(|c| c as f32).collect();
            let (packed, packed_sums) =
                pack::floats(target, &|c, [y, x]| w[c * taps + y * window[1] + x], channels, window, &sums);
            let expected = outputs.iter().flat_map(|(first, c)| {
                let sum = by_column
                    .iter()
                    .fold(sums[*c], |sum, t| trial::accumulated(target, x[tap(*first, *t)], w[c * taps + t], sum));
                sum.max(0.0).to_le_bytes()
            });
            let expected = expected.collect();
            let [weights, bias] = [packed.len() / 4, packed_sums.len() / 4].map(|n| view(DType::F32, 0, &[n], &[1]));
            let operands = [view(DType::F32, 0, &from.dims, &from.strides), weights, bias];
            let call = Call {
                producer: Producer::Depthwise(depthwise.clone()),
                operands: operands.to_vec(),
                steps: vec![Step::Apply(Function::Relu, vec![Arg::Current])],
                output: view(DType::F32, 0, &result, &strides),
                origin: String::new(),
            };
            let x = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            return Trial { call, operands: vec![x, packed, packed_sums], expected, name };
        }
        let (low, end) = if input == DType::I8 { (-128, 127) } else { (0, 255) };
        let x: Vec<i64> = (0..elements).map(|_| i64::from(numbers.between(low, end))).collect();
        let w: Vec<i64> = (0..channels * taps).map(|_| i64::from(numbers.between(-255, 255))).collect();
        let sums: Vec<i64> = (0..channels as i64).collect();
        let weight = |c: usize, [y, x]: [usize; 2]| w[c * taps + y * window[1] + x] as i32;
        let (packed, packed_sums) = pack::integers(target, &weight, channels, window, &sums);
        let scale = |c: usize| (1.0 + c as f32 / 100.0) / 300.0;
        let expected = outputs.iter().map(|(first, c)| {
            let sum: i64 = (0..taps).map(|t| x[tap(*first, t)] * w[c * taps + t]).sum();
            let stored = quantize((sum + sums[*c]) as f32 * scale(*c), 1.0, -3, -100, 127) as u8;
            if table { entry(stored) } else { stored }
        });
        let expected = expected.collect();
        let scales = (0..channels).flat_map(|c| scale(c).to_le_bytes()).collect();
        let mut call = Call {
            producer: Producer::Depthwise(depthwise.clone()),
            operands: vec![
                view(input, 0, &from.dims, &from.strides),
                view(DType::I16, 0, &[packed.len() / 2], &[1]),
                view(DType::I32, 0, &[packed_sums.len() / 4], &[1]),
                view(DType::F32, 0, &result, &[0, 1, 0, 0]),
            ],
            steps: vec![
                Step::Cast(DType::F32),
                Step::Apply(Function::Mul, vec![Arg::Current, Arg::Operand(3)]),
                Step::Quantize { dtype: DType::I8, scale: 1.0, zero_point: -3, min: -100, max: 127 },
            ],
            output: view(DType::I8, 0, &result, &strides),
            origin: String::new(),
        };
        let x = x.iter().map(|x| *x as u8).collect();
        let mut operands = vec![x, packed, packed_sums, scales];
        if table {
            call.operands.push(view(DType::I8, 0, &[256], &[1]));
            call.steps.push(Step::Table { operand: 4, dtype: DType::I8 });
            operands.push((0..=255).map(entry).collect());
        }
        Trial { call, operands, expected, name }
    }
}

/// An entry of the table; it always differs from its index.
fn entry(index: u8) -> u8 {
    index.wrapping_mul(167) ^ 0x5a
}

#[test]
fn windows_strides_and_edges() {
    for target in trial::targets_by(|target| (target.vector_bits, target.byte_permute)) {
        let lanes = target.lanes();
        for input in [DType::U8, DType::I8, DType::F32] {
            let base = Case {
                input,
                batch: 1,
                size: [2, 5],
                channels: lanes,
                window: [3, 3],
                stride: 1,
                dilation: 1,
                table: false,
            };
            let mut cases = vec![
                Case { batch: 2, size: [3, 17], channels: 2 * lanes + 3, ..base },
                Case { stride: 2, channels: lanes - 1, ..base },
                Case { window: [1, 3], ..base },
                Case { window: [5, 2], stride: 3, ..base },
                Case { dilation: 2, channels: 1, ..base },
                Case { channels: 7 * lanes + 3, ..base },
                Case { channels: 3 * lanes, window: [5, 5], stride: 2, ..base },
            ];
            if input != DType::F32 {
                let tabled = Case { table: true, ..base };
                cases.extend([
                    Case { batch: 2, size: [3, 17], channels: 7 * lanes + 3, ..tabled },
                    Case { size: [2, 9], channels: 4 * lanes, ..tabled },
                    Case { size: [1, 7], channels: lanes - 1, stride: 2, ..tabled },
                    Case { size: [2, 7], channels: 3 * lanes, window: [5, 5], ..tabled },
                ]);
            }
            if target.instructions != InstructionSet::Generic {
                cases.extend((1..20).map(|cols| Case { size: [1, cols], ..base }));
                cases.push(Case { window: [5, 5], channels: 5 * lanes + 3, ..base });
                cases.extend((1..12).map(|cols| Case { size: [1, cols], channels: 6 * lanes, ..base }));
            }
            let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
            trial::equal(target, &trials);
        }
    }
}

//! Windows of every shape and position, compared with plain loops.

use eightfold_ir::quant::quantize;
use eightfold_ir::{DType, Function};

use crate::kernel::{Call, Fold, Pool, Producer};
use crate::llvm::trial::{self, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::view::{Grid, View};

/// A pool with equal padding on both ends of an axis.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: DType,
    fold: Fold,
    batch: usize,
    channels: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    dilation: usize,
    pad: usize,
    include_pad: bool,
    channels_last: bool,
    /// Whether a tensor is added before the result is stored.
    residual: bool,
}

const BASE: Case = Case {
    input: DType::U8,
    fold: Fold::Max,
    batch: 1,
    channels: 19,
    size: [7, 9],
    kernel: [3, 3],
    stride: 2,
    dilation: 1,
    pad: 1,
    include_pad: false,
    channels_last: true,
    residual: false,
};

impl Case {
    fn view(self, dtype: DType, dims: &[usize]) -> View {
        let grid = if self.channels_last { Grid::channels_last(dims) } else { Grid::dense(dims) };
        view(dtype, 0, dims, &grid.strides)
    }

    fn trial(self) -> Trial {
        let Case { input, fold, batch, channels, size, kernel, stride, dilation, pad, .. } = self;
        let mut numbers = Numbers(channels as u64 + size[0] as u64);
        let dims = [batch, channels, size[0], size[1]];
        let outputs: [usize; 2] =
            std::array::from_fn(|a| (size[a] + 2 * pad - (kernel[a] - 1) * dilation - 1) / stride + 1);
        let result = [batch, channels, outputs[0], outputs[1]];
        let (low, high) = input.integer_range().unwrap_or((-1000, 1000));
        let x_view = self.view(input, &dims);
        let x: Vec<i32> = (0..dims.iter().product()).map(|_| numbers.between(low as i32, high as i32)).collect();
        let float = input == DType::F32;
        let y_view = self.view(input, &result);
        let residual: Vec<i32> = (0..result.iter().product()).map(|_| numbers.between(0, 9)).collect();
        let mut expected = vec![0; y_view.grid.elements() * input.byte_size()];
        let coordinates = |dims: [usize; 4]| {
            let all = dims.iter().product::<usize>();
            (0..all).map(move |i| {
                [
                    i / (dims[1] * dims[2] * dims[3]),
                    i / (dims[2] * dims[3]) % dims[1],
                    i / dims[3] % dims[2],
                    i % dims[3],
                ]
            })
        };
        let at = |view: &View, index: [usize; 4]| {
            index.iter().zip(&view.grid.strides).map(|(i, s)| i * *s as usize).sum::<usize>()
        };
        for index in coordinates(result) {
            let mut window = Vec::new();
            let mut padded = 0;
            for y in 0..kernel[0] {
                for x_ in 0..kernel[1] {
                    let place = [index[2] * stride + y * dilation, index[3] * stride + x_ * dilation];
                    padded += usize::from((0..2).all(|a| place[a] < size[a] + 2 * pad));
                    if (0..2).all(|a| (pad..pad + size[a]).contains(&place[a])) {
                        window.push(x[at(&x_view, [index[0], index[1], place[0] - pad, place[1] - pad])]);
                    }
                }
            }
            let to = at(&y_view, index);
            let added = if self.residual { residual[to] } else { 0 };
            if float {
                let reals: Vec<f32> = window.iter().map(|x| *x as f32 / 300.0).collect();
                let sum = reals.iter().fold(0.0_f32, |a, b| a + b);
                let y = match fold {
                    Fold::Max => reals.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)),
                    Fold::Min => reals.iter().fold(f32::INFINITY, |a, b| a.min(*b)),
                    Fold::Mean => sum / if self.include_pad { padded } else { reals.len() } as f32,
                    _ => sum,
                };
                expected[4 * to..][..4].copy_from_slice(&(y + added as f32).to_le_bytes());
            } else {
                let y = match fold {
                    Fold::Max => window.iter().copied().max().unwrap_or(low as i32),
                    Fold::Min => window.iter().copied().min().unwrap_or(high as i32),
                    Fold::Sum { zero_point } => window.iter().map(|x| x - zero_point).sum(),
                    Fold::DequantizedMean { .. } => 0,
                    _ => unreachable!("not of integers"),
                };
                let real = match fold {
                    Fold::DequantizedMean { scale, zero_point } => {
                        let sum = window.iter().fold(0.0, |sum, x| sum + (x - zero_point) as f32 * scale);
                        sum / if self.include_pad { padded } else { window.len() } as f32 + added as f32
                    }
                    _ => y as f32 * 0.3 + added as f32,
                };
                expected[to] = match fold {
                    Fold::DequantizedMean { scale, .. } => {
                        quantize(real / scale + 11.0, 1.0, 0, low as i32, high as i32) as u8
                    }
                    Fold::Sum { .. } => quantize(real, 1.0, 11, low as i32, high as i32) as u8,
                    _ => y as u8,
                };
            }
        }
        let mut operands = vec![x_view];
        let mut bytes = vec![match float {
            true => x.iter().flat_map(|x| (*x as f32 / 300.0).to_le_bytes()).collect(),
            false => x.iter().map(|x| *x as u8).collect(),
        }];
        let mut steps = Vec::new();
        let sum = matches!(fold, Fold::Sum { .. }) && !float;
        if sum {
            steps.push(Step::Cast(DType::F32));
            steps.push(Step::Apply(Function::Mul, vec![Arg::Current, Arg::Float(0.3)]));
        }
        if self.residual {
            operands.push(self.view(DType::I32, &result));
            bytes.push(residual.iter().flat_map(|x| x.to_le_bytes()).collect());
            let arg = Arg::Dequantized { operand: 1, scale: 1.0, zero_point: 0 };
            steps.push(Step::Apply(Function::Add, vec![Arg::Current, arg]));
        }
        let (min, max) = (low as i32, high as i32);
        if sum {
            steps.push(Step::Quantize { dtype: input, scale: 1.0, zero_point: 11, min, max });
        }
        if let Fold::DequantizedMean { scale, .. } = fold {
            steps.push(Step::Apply(Function::Div, vec![Arg::Current, Arg::Float(scale)]));
            steps.push(Step::Apply(Function::Add, vec![Arg::Current, Arg::Float(11.0)]));
            steps.push(Step::Quantize { dtype: input, scale: 1.0, zero_point: 0, min, max });
        }
        let producer = Producer::Pool(Pool {
            fold,
            kernel,
            strides: [stride; 2],
            dilations: [dilation; 2],
            pads: [pad; 2],
            include_pad: self.include_pad.then_some([pad; 2]),
        });
        let call = Call { producer, operands, steps, output: y_view, origin: String::new() };
        Trial { call, operands: bytes, expected, name: format!("{self:?}") }
    }
}

fn try_all(cases: &[Case]) {
    for target in trial::targets() {
        let trials: Vec<_> = cases.iter().map(|case| case.trial()).collect();
        trial::equal(target, &trials);
    }
}

/// Windows inside the input, windows over its edges, dilated windows, and windows too large to unroll.
fn shapes(base: Case) -> Vec<Case> {
    vec![
        base,
        Case { kernel: [2, 2], pad: 0, channels: 45, ..base },
        Case { stride: 1, channels: 1, batch: 2, ..base },
        Case { stride: 3, kernel: [2, 3], ..base },
        Case { dilation: 2, stride: 1, pad: 2, ..base },
        Case { kernel: [5, 5], stride: 1, pad: 2, ..base },
        Case { kernel: [1, 4], size: [1, 11], pad: 0, ..base },
        Case { kernel: [7, 9], pad: 0, ..base },
        Case { channels_last: false, ..base },
    ]
}

#[test]
fn extremes_of_bytes_stay_bytes() {
    let mut cases = Vec::new();
    for fold in [Fold::Max, Fold::Min] {
        cases.extend(shapes(Case { fold, ..BASE }));
        cases.push(Case { fold, input: DType::I8, channels: 70, ..BASE });
    }
    try_all(&cases);
}

#[test]
fn sums_of_bytes_are_exact_and_requantized() {
    let fold = Fold::Sum { zero_point: 117 };
    let mut cases = shapes(Case { fold, ..BASE });
    // The sum exceeds 16 bits.
    cases.push(Case { fold, kernel: [17, 16], size: [17, 16], pad: 0, ..BASE });
    cases.push(Case { fold: Fold::Sum { zero_point: -5 }, input: DType::I8, residual: true, ..BASE });
    cases.push(Case { fold: Fold::Sum { zero_point: 0 }, residual: true, channels_last: false, ..BASE });
    try_all(&cases);
}

/// Input and output have one scale, so that sums half-way between two integer steps are common.
#[test]
fn means_of_bytes_are_dequantized_and_summed_in_order() {
    let fold = Fold::DequantizedMean { scale: 0.114_755_966, zero_point: 3 };
    let mut cases = shapes(Case { fold, ..BASE });
    let mean = Case { fold, include_pad: true, ..BASE };
    cases.extend([mean, Case { stride: 1, kernel: [5, 5], pad: 2, residual: true, ..mean }]);
    let fold = Fold::DequantizedMean { scale: 0.014_757_43, zero_point: -128 };
    cases.push(Case { fold, input: DType::I8, kernel: [2, 2], pad: 0, channels: 70, ..BASE });
    try_all(&cases);
}

#[test]
fn floats_are_summed_in_order_and_divided_by_what_counts() {
    let mut cases = Vec::new();
    for fold in [Fold::Mean, Fold::Max] {
        cases.extend(shapes(Case { fold, input: DType::F32, ..BASE }));
    }
    let mean = Case { fold: Fold::Mean, input: DType::F32, include_pad: true, ..BASE };
    cases.extend([mean, Case { stride: 1, kernel: [5, 5], pad: 2, residual: true, ..mean }]);
    cases.push(Case { fold: Fold::Sum { zero_point: 0 }, input: DType::F32, ..BASE });
    cases.push(Case { fold: Fold::Min, input: DType::F32, residual: true, ..BASE });
    try_all(&cases);
}

#[test]
fn not_a_number_wins_wherever_it_stands() {
    for target in trial::targets() {
        for position in 0..4 {
            let base = Case { input: DType::F32, kernel: [2, 2], pad: 0, channels: 1, size: [2, 2], ..BASE };
            let mut trial = base.trial();
            trial.operands[0][4 * position..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
            trial::check(target, &[trial], |trial, bytes| {
                let y = f32::from_le_bytes(bytes.try_into().expect("one number"));
                assert!(y.is_nan(), "{} at {position}: {y}", trial.name);
            });
        }
    }
}

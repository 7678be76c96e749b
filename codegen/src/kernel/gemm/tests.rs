//! Every edge of a tile, compared with plain loops.

use eightfold_ir::{DType, Data, Function, Shape, Tensor};

use super::format::Format;
use super::pack;
use crate::kernel::{Call, Gemm, Producer, Run, Tile};
use crate::llvm::jit::Jit;
use crate::llvm::kernel;
use crate::llvm::trial::{self, BLANK, Numbers, Trial, view};
use crate::step::{Arg, Step};
use crate::target::{DotRule, Target, X86_64};
use crate::view::Grid;

/// A convolution over a buffer of `depth` channels with a border of one pixel; the window is `kernel` x `kernel`.
#[derive(Clone, Copy, Debug)]
struct Case {
    input: DType,
    /// The format of float weights that are stored as integers, if any.
    format: Option<Format>,
    batch: usize,
    size: [usize; 2],
    depth: usize,
    kernel: usize,
    stride: usize,
    n: usize,
    tile: Tile,
    row_block: usize,
    /// Largest magnitude of a weight.
    weights: i32,
    /// Whether a tensor is added before the result is quantized.
    residual: bool,
}

impl Case {
    fn trial(self, target: &Target) -> Trial {
        let Case { input, batch, size: [rows, cols], depth, kernel, stride, n, tile, .. } = self;
        let mut numbers = Numbers(depth as u64 * 31 + n as u64);
        let (high, wide) = ((rows - 1) * stride + kernel, (cols - 1) * stride + kernel);
        let row = (wide * depth) as isize;
        let runs: Vec<Run> = (0..kernel).map(|y| Run { offset: y as isize * row, length: kernel * depth }).collect();
        let k = kernel * kernel * depth;
        let elements = batch * high * wide * depth;
        let gemm = |extra, joined| Gemm {
            input,
            format: self.format,
            strides: [stride; 2],
            runs: runs.clone(),
            n,
            tile: Some(tile),
            extra,
            joined,
            row_block: self.row_block,
            plain: None,
        };
        let pixels: Vec<[usize; 3]> =
            (0..batch).flat_map(|b| (0..rows).flat_map(move |y| (0..cols).map(move |x| [b, y, x]))).collect();
        let first = |[b, y, x]: [usize; 3]| ((b * high + y * stride) * wide + x * stride) * depth;
        let result = [batch, n, rows, cols];
        let result_strides = [(rows * cols * n) as isize, 1, (cols * n) as isize, n as isize];
        let output = |dtype| view(dtype, 0, &result, &result_strides);
        let name = format!("{self:?}");
        if input.is_float() {
            // Sums of bf16 numbers with few bits are exact, so the order in which an instruction adds them does not
            // matter.
            let (most, x_unit, w_unit) = if input == DType::F32 { (1000, 500.0, 700.0) } else { (8, 4.0, 8.0) };
            let stored = self.format.map(|format| {
                let (min, max) = format.row().plain().integer_range().expect("an integer type");
                (0..n * k).map(|_| numbers.between(min as i32, max as i32) as f32).collect()
            });
            let mut one = |unit: f32| match numbers.between(-most, most - 1) {
                // No zeros: zero times infinity is NaN.
                number if number >= 0 => (number + 1) as f32 / unit,
                number => number as f32 / unit,
            };
            let mut x: Vec<f32> = (0..elements).map(|_| one(x_unit)).collect();
            let w: Vec<f32> = stored.unwrap_or_else(|| (0..n * k).map(|_| one(w_unit)).collect());
            if input == DType::Bf16 {
                // The element that would be loaded together with a single last element.
                x[elements / depth / 2 * depth] = f32::INFINITY;
            }
            let residual: Vec<f32> = (0..pixels.len() * n).map(|_| one(x_unit)).collect();
            let sums: Vec<f32> = (0..n).map(|o| o as f32).collect();
            let weight = |o: usize, r: usize, e: usize| w[o * k + r * kernel * depth + e];
            let packed = match self.format {
                Some(format) => {
                    let stored = |o: usize, r: usize, e: usize| weight(o, r, e) as i32;
                    pack::formatted(format, target.lanes(), tile, n, &runs, &stored, &sums)
                }
                None => pack::floats(input, tile, n, &runs, &weight, &sums),
            };
            let packed_type = self.format.map_or(input, |format| format.row().packed());
            let mut expected = Vec::new();
            for (place, pixel) in pixels.into_iter().enumerate() {
                for o in 0..n {
                    let mut sum = sums[o];
                    for (r, run) in runs.iter().enumerate() {
                        for e in 0..run.length {
                            let at = first(pixel) + run.offset as usize + e;
                            sum = trial::accumulated(target, x[at], w[o * k + r * run.length + e], sum);
                        }
                    }
                    if self.residual {
                        sum += residual[place * n + o];
                    }
                    expected.extend(sum.max(0.0).to_le_bytes());
                }
            }
            let mut operands = vec![
                view(input, 0, &[batch, depth, high, wide], &Grid::channels_last(&[batch, depth, high, wide]).strides),
                view(packed_type, 0, &[packed.weights.len() / packed_type.byte_size()], &[1]),
                view(DType::F32, 0, &[packed.sums.len() / 4], &[1]),
            ];
            let mut steps = vec![Step::Apply(Function::Relu, vec![Arg::Current])];
            let x = Tensor::from_array(input, Shape::new(&[elements]), &Data::Float(x)).bytes().to_vec();
            let mut bytes = vec![x, packed.weights, packed.sums];
            if self.residual {
                steps.insert(0, Step::Apply(Function::Add, vec![Arg::Current, Arg::Operand(3)]));
                operands.push(view(DType::F32, 0, &result, &result_strides));
                bytes.push(residual.iter().flat_map(|number| number.to_le_bytes()).collect());
            }
            let call = Call {
                producer: Producer::Gemm(gemm(Vec::new(), false)),
                operands,
                steps,
                output: output(DType::F32),
                origin: String::new(),
            };
            return Trial { call, operands: bytes, expected, name };
        }
        let (low, high_end) = match input {
            DType::I8 => (-128, 127),
            DType::I16 => (-128, 255),
            _ => (0, 255),
        };
        let x: Vec<i32> = (0..elements).map(|_| numbers.between(low, high_end)).collect();
        let w: Vec<i32> = (0..n * k).map(|_| numbers.between(-self.weights, self.weights)).collect();
        let bias: Vec<i64> = (0..n).map(|o| o as i64 * 100 - 500).collect();
        let shift = target.dot.input_offset(input);
        let sums: Vec<i64> =
            (0..n).map(|o| bias[o] - shift * w[o * k..][..k].iter().map(|w| i64::from(*w)).sum::<i64>()).collect();
        let weight = |o: usize, r: usize, e: usize| w[o * k + r * kernel * depth + e];
        let joined = input != DType::I16 && pack::fit(target, n, &runs, &weight).1;
        let packed = match input {
            DType::I16 => pack::words(tile, n, &runs, &weight, &sums),
            _ => pack::integers(target, tile, n, &runs, &weight, &sums, joined),
        };
        let scale = |o: usize| (1.0 + o as f32 / 100.0) / (k as f32).sqrt() / self.weights as f32;
        let residual = (0..pixels.len() * n).map(|_| numbers.between(0, 255) as u8);
        let residual = self.residual.then(|| residual.collect::<Vec<_>>());
        let mut expected = Vec::new();
        for pixel in pixels {
            for o in 0..n {
                let mut sum = bias[o] as i32;
                for (r, run) in runs.iter().enumerate() {
                    for e in 0..run.length {
                        let at = first(pixel) + run.offset as usize + e;
                        sum += x[at] * w[o * k + r * run.length + e];
                    }
                }
                let residual = residual.as_ref().map(|residual| residual[expected.len()]);
                expected.push(trial::requantized(sum as f32 * scale(o), residual));
            }
        }
        let mut operands = vec![
            view(input, 0, &[batch, depth, high, wide], &Grid::channels_last(&[batch, depth, high, wide]).strides),
            view(
                if input == DType::I16 { input } else { DType::I8 },
                0,
                &[packed.weights.len() / input.byte_size()],
                &[1],
            ),
            view(DType::I32, 0, &[packed.sums.len() / 4], &[1]),
        ];
        let mut bytes = vec![
            x.iter().flat_map(|x| x.to_le_bytes()[..input.byte_size()].to_vec()).collect(),
            packed.weights,
            packed.sums,
        ];
        let output = output(DType::U8);
        let steps = trial::requantizing((0..n).map(scale), residual, &output, &mut operands, &mut bytes);
        let call = Call {
            producer: Producer::Gemm(gemm(packed.extra, joined)),
            operands,
            steps,
            output,
            origin: String::new(),
        };
        Trial { call, operands: bytes, expected, name }
    }
}

/// Sizes around a tile: one less, equal, one more, twice, three more; and 1.
fn around(tile: usize) -> [usize; 5] {
    [1, tile - 1, tile, tile + 1, 2 * tile + 3]
}

fn base(target: &Target, input: DType) -> Case {
    let tile = Tile::usual(target, input, 1000, 1000);
    let (depth, weights) = if input.is_float() { (5, 0) } else { (20, 127) };
    let (size, residual) = ([1, tile.mr], false);
    let format = None;
    Case {
        input,
        format,
        batch: 1,
        size,
        depth,
        kernel: 1,
        stride: 1,
        n: tile.nr,
        tile,
        row_block: 1,
        weights,
        residual,
    }
}

#[test]
fn tile_edges_of_integers() {
    for target in targets_of_integers() {
        let base = base(target, DType::U8);
        let mut cases = Vec::new();
        cases.extend(around(base.tile.mr).map(|cols| Case { size: [1, cols], ..base }));
        cases.extend(around(base.tile.nr).map(|n| Case { n, ..base }));
        cases.extend([1, 3, 4, 5, 11, 36, 41].map(|depth| Case { depth, ..base }));
        cases.push(Case { size: [3, base.tile.mr + 1], n: base.tile.nr + 5, residual: true, ..base });
        let lone = Tile::usual(target, DType::U8, 1, 1000);
        cases.extend(around(lone.nr).map(|n| Case { size: [1, 1], tile: lone, n, depth: 37, ..base }));
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

/// Targets whose integer tiles differ: by their registers or their dot rule.
fn targets_of_integers() -> Vec<&'static Target> {
    trial::targets_by(|target| (target.vector_bits, target.dot))
}

#[test]
fn windows_strides_batches_and_bands_of_integers() {
    for target in targets_of_integers() {
        let base = Case {
            kernel: 3,
            size: [5, base(target, DType::U8).tile.mr + 2],
            n: 10,
            depth: 8,
            ..base(target, DType::U8)
        };
        let cases = [
            base,
            Case { input: DType::I8, ..base },
            Case { depth: 3, stride: 2, ..base },
            Case { batch: 2, row_block: 2, residual: true, n: base.tile.nr + 1, ..base },
            Case { kernel: 1, depth: 24, row_block: 2, size: [13, 7], batch: 2, residual: true, ..base },
            Case { weights: 255, depth: 9, n: 2 * base.tile.nr + 3, ..base },
            Case { weights: 255, input: DType::I8, ..base },
        ];
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        if target.dot == DotRule::PMADDUBSW {
            let Producer::Gemm(gemm) = &trials[0].call.producer else { unreachable!("made above") };
            assert!(!gemm.extra[0].is_empty(), "weights that the target cannot hold are tried");
        }
        trial::equal(target, &trials);
    }
}

#[test]
fn joined_groups_of_small_weights() {
    for target in targets_of_integers() {
        let base = Case { weights: 30, n: base(target, DType::U8).tile.nr + 3, ..base(target, DType::U8) };
        // Runs that are unrolled and runs that are loops, with even and odd numbers of groups, and short runs in a loop
        // of rows.
        let mut cases: Vec<_> = [8, 9, 12, 30, 36, 41, 96, 101].map(|depth| Case { depth, ..base }).to_vec();
        cases.extend([4, 7, 8].map(|depth| Case { depth, kernel: 3, size: [3, base.tile.mr + 1], ..base }));
        cases.push(Case { depth: 16, kernel: 3, stride: 2, size: [3, 5], input: DType::I8, ..base });
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        for trial in &trials {
            let Producer::Gemm(gemm) = &trial.call.producer else { unreachable!("made above") };
            assert_eq!(gemm.joined, target.dot.pair_limit.is_some(), "{}", trial.name);
        }
        // Without a pair limit groups are never joined; the tests above cover that.
        if target.dot.pair_limit.is_some() {
            trial::equal(target, &trials);
        }
    }
}

#[test]
fn bytes_in_words_take_weights_of_any_size() {
    for target in targets_of_integers() {
        let base = Case { weights: 255, ..base(target, DType::I16) };
        let mut cases = Vec::new();
        cases.extend(around(base.tile.mr).map(|cols| Case { size: [1, cols], ..base }));
        cases.extend(around(base.tile.nr).map(|n| Case { n, ..base }));
        cases.extend([1, 2, 3, 8, 33].map(|depth| Case { depth, ..base }));
        cases.push(Case { kernel: 3, depth: 3, stride: 2, size: [4, 9], residual: true, row_block: 2, ..base });
        cases.push(Case { kernel: 7, depth: 3, stride: 2, size: [3, base.tile.mr + 1], batch: 2, n: 5, ..base });
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

#[test]
fn tile_edges_and_windows_of_floats_sum_in_order() {
    for target in trial::targets() {
        let base = base(target, DType::F32);
        let mut cases = Vec::new();
        cases.extend(around(base.tile.mr).map(|cols| Case { size: [1, cols], ..base }));
        cases.extend(around(base.tile.nr).map(|n| Case { n, ..base }));
        let windows = Case { kernel: 3, size: [3, base.tile.mr + 1], row_block: 2, n: base.tile.nr + 9, ..base };
        cases.extend([windows, Case { residual: true, ..windows }]);
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

/// Integer weights become the same floats in every format.
#[test]
fn stored_weights_of_floats_are_multiplied_as_floats() {
    for (target, format) in trial::targets().into_iter().flat_map(|target| Format::all().map(move |f| (target, f))) {
        let base = Case { format: Some(format), ..base(target, DType::F32) };
        let mut cases = Vec::new();
        cases.extend(around(base.tile.mr).map(|cols| Case { size: [1, cols], ..base }));
        cases.extend(around(base.tile.nr).map(|n| Case { n, ..base }));
        let lone = Tile::usual(target, DType::F32, 1, 1000);
        cases.extend(around(lone.nr).map(|n| Case { size: [1, 1], tile: lone, n, depth: 37, ..base }));
        let windows = Case { kernel: 3, size: [3, base.tile.mr + 1], row_block: 2, n: base.tile.nr + 9, ..base };
        // Reductions long enough that tiles continue in the next row, and weights that are prefetched.
        let long = Case { depth: 30, ..windows };
        cases.extend([windows, Case { residual: true, ..windows }, long, Case { depth: 116, n: 140, ..long }]);
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

/// One cache line of the result and of a residual is prefetched per 16 channels of a pixel, and none of byte results.
#[test]
fn lines_of_floats_are_fetched_before_they_are_written() {
    for target in trial::targets() {
        let fetched = |case: Case| {
            let jit = Jit::default();
            let assembly = jit.assembly(target, |e| {
                kernel::emit(e, &case.trial(target).call, "product");
                Ok(())
            });
            assembly.expect("compiles").matches(if target.arch == &X86_64 { "prefetcht0" } else { "prfm" }).count()
        };
        let float = base(target, DType::F32);
        let lines = float.tile.mr * float.tile.nr.div_ceil(16);
        assert_eq!(fetched(float), lines, "{}", target.name);
        assert_eq!(fetched(Case { residual: true, ..float }), 2 * lines, "{}", target.name);
        assert_eq!(fetched(Case { residual: true, ..base(target, DType::U8) }), 0, "{}", target.name);
    }
}

/// Long reductions, whose tiles continue in the next row, and weights that are prefetched.
#[test]
fn tiles_across_rows() {
    for target in trial::targets_by(|target| (target.vector_bits, target.dot, target.bf16)) {
        let int = base(target, DType::U8);
        let float = base(target, DType::F32);
        let mut cases = Vec::new();
        for base in [Case { residual: true, ..int }, float, base(target, DType::Bf16)] {
            let base = Case { kernel: 3, depth: 30, size: [5, base.tile.mr + 1], row_block: 2, n: 10, ..base };
            cases.extend([base, Case { row_block: 5, batch: 2, stride: 2, ..base }, Case { size: [7, 7], ..base }]);
        }
        cases.push(Case { kernel: 3, depth: 116, n: 128, size: [3, int.tile.mr + 1], row_block: 2, ..int });
        cases.push(Case { kernel: 3, depth: 116, n: 40, size: [3, float.tile.mr + 1], row_block: 3, ..float });
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

#[test]
fn tile_edges_and_odd_runs_of_bf16() {
    for target in trial::targets_by(|target| (target.vector_bits, target.dot, target.bf16)) {
        let base = base(target, DType::Bf16);
        let mut cases = Vec::new();
        cases.extend(around(base.tile.mr).map(|cols| Case { size: [1, cols], ..base }));
        cases.extend([base.tile.nr - 1, base.tile.nr + 1].map(|n| Case { n, ..base }));
        cases.extend([1, 2, 8, 33, 40].map(|depth| Case { depth, ..base }));
        cases.push(Case { kernel: 3, size: [3, base.tile.mr + 1], row_block: 2, n: base.tile.nr + 9, ..base });
        cases.push(Case { kernel: 3, depth: 3, stride: 2, size: [4, 9], ..base });
        let lone = Tile::usual(target, DType::Bf16, 1, 1000);
        cases.push(Case { size: [1, 1], tile: lone, n: lone.nr + 3, depth: 37, ..base });
        let trials: Vec<_> = cases.iter().map(|case| case.trial(target)).collect();
        trial::equal(target, &trials);
    }
}

#[test]
fn nothing_is_written_between_pixels() {
    for target in trial::targets() {
        let mut trial = Case { n: 5, ..base(target, DType::U8) }.trial(target);
        let pixel = 5 + 3;
        trial.call.output.grid.strides[3] = pixel;
        let gap = |channels: &[u8]| [channels, &[BLANK; 3]].concat();
        trial.expected = trial.expected.chunks(5).flat_map(gap).collect();
        trial::equal(target, &[trial]);
    }
}

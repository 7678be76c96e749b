//! Random networks with channels that can be permuted: every pass that permutes channels must preserve the network's
//! function.
//!
//! Two passes permute channels: `spread_channels` before quantization and `pair_channels` after it. Each is run alone,
//! and the evaluator compares the graphs before and after it. Then the whole int8 pipeline runs, and its machine code
//! is compared with the evaluator on the float graph and on the Q/DQ graph before lowering. A wrong permutation in the
//! lowered graph would not show in a comparison with the lowered graph itself.
//!
//! `EIGHTFOLD_RANDOM` sets the number of networks; a failure names the seed.

use std::collections::BTreeMap;

use eightfold_ir::eval::eval_values;
use eightfold_ir::op::conv::canonical;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::{Graph, Precision, eval, verify};
use eightfold_passes::calibrate::{CalibrationTable, Range};
use eightfold_passes::{INT8, PairSums, PassOptions, Pipeline, SIMPLIFY, quantized_tensors, tensor_name};

use super::*;

/// A network under construction: rank-4 tensors that the next layer may read.
struct Network {
    case: Case,
    tensors: Vec<ValueId>,
}

impl Network {
    /// A network of four to nine layers, followed by a convolution.
    fn draw(seed: u64) -> Graph {
        let mut network = Network { case: Case::new(&format!("seed_{seed}")), tensors: Vec::new() };
        network.case.stream = Stream(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (0..8).for_each(|_| _ = network.case.stream.next());
        let channels = network.among(&[4, 6, 8]);
        let x = network.case.input("x", DType::F32, &[1, channels, 6, 6], None);
        network.tensors.push(x);
        for _ in 0..4 + network.below(6) {
            network.layer();
        }
        let last = network.last();
        let y = network.convolution(last, 4, 1, 1);
        network.case.output(y);
        network.case.graph
    }

    fn below(&mut self, bound: usize) -> usize {
        self.case.stream.next() as usize % bound
    }

    fn among(&mut self, choices: &[usize]) -> usize {
        choices[self.below(choices.len())]
    }

    fn last(&self) -> ValueId {
        *self.tensors.last().expect("the input at least")
    }

    fn dims(&self, value: ValueId) -> [usize; 4] {
        self.case.graph.ty(value).shape.to_vec().try_into().expect("rank 4")
    }

    /// Appends one layer, or nothing if the drawn layer does not fit.
    fn layer(&mut self) {
        // Usually the newest tensor, so that networks are deep.
        let any = self.below(self.tensors.len());
        let x = if self.below(4) > 0 { self.last() } else { self.tensors[any] };
        let [_, channels, rows, columns] = self.dims(x);
        let added = match self.below(16) {
            0 | 1 => {
                let (outputs, kernel) = (self.among(&[4, 6, 8, 12]), self.among(&[1, 3]));
                self.convolution(x, outputs, 1, kernel)
            }
            2 if channels % 2 == 0 => {
                let outputs = self.among(&[4, 6, 8]);
                self.convolution(x, outputs, 2, 3)
            }
            3 => {
                let multiplier = self.among(&[1, 2]);
                self.convolution(x, channels * multiplier, channels, 3)
            }
            4 => {
                let group = self.among(&[1, 2, channels]);
                if channels % group > 0 || rows > 12 {
                    return;
                }
                let outputs = if group == channels { channels * self.among(&[1, 2]) } else { self.among(&[4, 8]) };
                let w = self.weights(&[outputs, channels / group, 2, 2], 4 * channels / group);
                let strides = canonical(&[self.among(&[1, 2]); 2], 1);
                let none = Default::default;
                let op = ConvTranspose { pads: none(), strides, dilations: none(), output_padding: none(), group };
                self.case.node(op, &[x, w], vec![], None)
            }
            5 | 6 => {
                let by_channel = self.below(3) > 0;
                let dims = if by_channel { [channels, 1, 1] } else { [1, rows, columns] };
                let other = self.case.random(DType::F32, &dims, None);
                let function = [Function::Prelu, Function::Mul, Function::Add][self.below(3)];
                self.case.node(Map {}, &[x], vec![Step::binary(function, Arg::Value(other))], None)
            }
            7 | 8 => {
                let same = |other: &ValueId| *other != x && self.dims(*other) == self.dims(x);
                let Some(other) = self.tensors.iter().copied().find(same) else { return };
                self.case.node(Map {}, &[x], vec![Step::binary(Function::Add, Arg::Value(other))], None)
            }
            9 => {
                let beside = |other: &ValueId| self.dims(*other)[2..] == [rows, columns];
                let others: Vec<ValueId> = self.tensors.iter().copied().filter(beside).take(2).collect();
                self.case.node(Concat { axis: 1 }, &[&others[..], &[x]].concat(), vec![], None)
            }
            10 => {
                let w = self.weights(&[columns, columns], columns);
                self.case.node(MatMul {}, &[x, w], vec![], None)
            }
            11 => self.case.node(Map {}, &[x], vec![Step::unary(Function::Relu)], None),
            12 if channels > 4 => {
                let start = self.below(channels - 3);
                let slice = Slice {
                    starts: [0, start, 0, 0].as_slice().into(),
                    sizes: [1, 4, rows, columns].as_slice().into(),
                    steps: Default::default(),
                };
                self.case.node(slice, &[x], vec![], None)
            }
            13 => {
                let order: Vec<i64> = (0..channels as i64).map(|i| (i * 5 + 1) % channels as i64).collect();
                let indices = self.case.graph.add_const("", Tensor::int(DType::I64, &[channels], &order), None);
                self.case.node(Gather { axis: 1 }, &[x, indices], vec![], None)
            }
            14 => {
                let sizes = [1, channels, rows, columns].as_slice().into();
                // The same number of channels as before; in one case of two they are resampled anyway.
                let scales = [1.0, [1.0, 1.5][self.below(2)], 1.0, 1.0].as_slice().into();
                let resize = Resize {
                    mode: ResizeMode::Nearest,
                    coordinates: Coordinates::Asymmetric,
                    nearest: NearestMode::Floor,
                    sizes,
                    scales,
                };
                self.case.node(resize, &[x], vec![], None)
            }
            15 if channels % 2 == 0 => {
                let half = channels / 2;
                let split = Reshape { shape: [1, 2, half, rows, columns].as_slice().into() };
                let split = self.case.node(split, &[x], vec![], None);
                let swapped =
                    self.case.node(Transpose { perm: [0, 2, 1, 3, 4].as_slice().into() }, &[split], vec![], None);
                let joined = Reshape { shape: [1, channels, rows, columns].as_slice().into() };
                self.case.node(joined, &[swapped], vec![], None)
            }
            _ => return,
        };
        if self.dims(added).iter().product::<usize>() <= 4096 {
            self.tensors.push(added);
        }
    }

    fn convolution(&mut self, x: ValueId, outputs: usize, group: usize, kernel: usize) -> ValueId {
        let inputs = self.dims(x)[1] / group;
        let w = self.weights(&[outputs, inputs, kernel, kernel], inputs * kernel * kernel);
        let pads = canonical(&[kernel / 2; 4], 0);
        let op = Conv { pads, strides: Default::default(), dilations: Default::default(), group };
        self.case.node(op, &[x, w], vec![], None)
    }

    /// Weights that preserve the magnitude of sums of `terms` products. Every third row is small, so that the order of
    /// rows matters.
    fn weights(&mut self, dims: &[usize], terms: usize) -> ValueId {
        let drawn = self.case.stream.tensor(DType::F32, dims).to_f32s().expect("floats");
        let row = drawn.len() / dims[0];
        let scale = |i: usize| (3.0 / terms as f32).sqrt() * if i / row % 3 == 2 { 0.3 } else { 1.0 };
        let scaled: Vec<f32> = drawn.iter().enumerate().map(|(i, w)| w * scale(i)).collect();
        self.case.graph.add_const("", Tensor::f32(dims, &scaled), None)
    }
}

/// The passes of the int8 pipeline up to and including `last`.
fn until(last: &str) -> &'static [&'static str] {
    let end = INT8.iter().position(|pass| *pass == last).expect("a pass of the pipeline");
    &INT8[..=end]
}

fn passed(graph: &Graph, passes: &[&str], options: &PassOptions) -> Graph {
    let mut graph = graph.clone();
    let pipeline = Pipeline::new(passes).expect("passes that there are");
    pipeline.run(&mut graph, options, &mut |_, _| {}).unwrap_or_else(|error| panic!("{}: {error}", graph.name));
    verify(&graph).unwrap_or_else(|errors| panic!("{}: {errors}", graph.name));
    graph
}

/// Minimum and maximum of each tensor that needs a range for int8, on these inputs.
fn calibrated(graph: &Graph, samples: &[Vec<Tensor>]) -> CalibrationTable {
    let simplified = passed(graph, SIMPLIFY, &PassOptions::default());
    let tensors = quantized_tensors(&simplified, &PassOptions::default());
    let mut ranges = BTreeMap::new();
    for sample in samples {
        for (id, value) in tensors.iter().zip(eval_values(&simplified, sample, &tensors).expect("evaluates")) {
            let range = ranges.entry(tensor_name(&simplified, *id)).or_insert(Range { min: 0.0, max: 0.0 });
            for number in value.to_f32s().expect("floats") {
                *range = Range { min: range.min.min(number), max: range.max.max(number) };
            }
        }
    }
    let (model, calibrator) = (graph.name.clone(), "minmax".to_owned());
    let samples = samples.len() as u64;
    CalibrationTable { model, hash: String::new(), calibrator, samples, ranges, means: BTreeMap::new() }
}

/// Root of the energy of the difference over the energy of the expected values.
fn relative_error(got: &[Tensor], expected: &[Tensor]) -> f32 {
    let numbers = |tensors: &[Tensor]| tensors.iter().flat_map(|t| t.to_f32s().expect("floats")).collect::<Vec<_>>();
    let (got, expected) = (numbers(got), numbers(expected));
    let difference: f32 = got.iter().zip(&expected).map(|(g, e)| (g - e).powi(2)).sum();
    (difference / expected.iter().map(|e| e * e).sum::<f32>().max(f32::MIN_POSITIVE)).sqrt()
}

#[test]
fn channels_change_places_on_all_axes_or_on_none() {
    let count = std::env::var("EIGHTFOLD_RANDOM").map_or(40, |n| n.parse().expect("a number of graphs"));
    let target = Target::find("x86-64-v3").filter(|target| target.runs_here());
    for seed in 0..count {
        let graph = Network::draw(seed);
        let mut stream = Stream(seed + 1);
        let dims = graph.ty(graph.inputs()[0]).shape.to_vec();
        let samples: Vec<Vec<Tensor>> = (0..3).map(|_| vec![stream.tensor(DType::F32, &dims)]).collect();
        let inputs = &samples[0];
        let expected = eval(&graph, inputs).expect("evaluates");
        for reduce_range in [true, false] {
            let options = PassOptions {
                precision: Precision::Int8,
                calibration: Some(calibrated(&graph, &samples)),
                reduce_range,
                pair_sums: Some(PairSums { limit: 128, lanes: 8 }),
                ..PassOptions::default()
            };
            let what = format!("seed {seed}, reduce_range {reduce_range}");

            let spread = passed(&graph, until("spread_channels"), &options);
            let error = relative_error(&eval(&spread, inputs).expect("evaluates"), &expected);
            assert!(error < 1e-4, "{what}: spread_channels changes the float graph by {error}");

            let before = INT8.iter().position(|pass| *pass == "pair_channels").expect("a pass") - 1;
            let before = passed(&graph, &INT8[..=before], &options);
            let paired = passed(&graph, until("pair_channels"), &options);
            let evaluated = [&before, &paired].map(|graph| eval(graph, inputs).expect("evaluates"));
            assert!(evaluated[0] == evaluated[1], "{what}: pair_channels changes bits");

            let quantized = eval(&passed(&graph, until("insert_qdq"), &options), inputs).expect("evaluates");
            let error = relative_error(&quantized, &expected);
            assert!(error < 0.2, "{what}: the Q/DQ graph is {error} from the float graph");
            // Compiling takes most of the time, so each network is compiled once, alternating between the two ranges.
            let Some(target) = target.filter(|_| reduce_range == (seed % 2 == 0)) else { continue };
            let lowered = passed(&graph, INT8, &options);
            let got = run(&lowered, target, Threads::new(1), &Choices::default(), inputs);
            let error = relative_error(&got, &quantized);
            assert!(error < 0.05, "{what}: compiled code is {error} from the Q/DQ graph");
        }
    }
}

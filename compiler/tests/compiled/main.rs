//! Compiled code against the reference evaluator: integers bit for bit, floats within the bound of their reductions.
//!
//! Each case is a small graph that exercises one path through lowering and kernels. It is compiled for all targets that
//! this machine runs, and all must agree.

use std::path::Path;

use eightfold::artifact::Artifact;
use eightfold_codegen::choice::Choices;
use eightfold_codegen::interface::{Interface, Variant};
use eightfold_codegen::llvm::artifact::{Listings, compile};
use eightfold_codegen::object::{Linker, ObjectFile};
use eightfold_codegen::program::check;
use eightfold_codegen::schedule::ScheduleContext;
use eightfold_codegen::schedule::lower_and_schedule;
use eightfold_codegen::schedule::parallel::Threads;
use eightfold_codegen::target::{TARGETS, Target, X86_64};
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::matmul::MatMul;
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::resize::{Coordinates, NearestMode, Resize, ResizeMode};
use eightfold_ir::op::slice::Slice;
use eightfold_ir::op::softmax::Softmax;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{
    Arg, Bytes, DType, Data, Epilogue, Function, Graph, Layout, Op, Origin, QuantId, QuantParams, Shape, Step, Tensor,
    TensorType, ValueId,
};
use object::{Object as _, ObjectSymbol as _};

#[path = "../emulated/runner.rs"]
mod emulated;

mod constants;
mod convolutions;
mod four_bits;
mod odd_choices;
mod random_channels;
mod regions;
mod steps_behind;
mod symbols;

use convolutions::{CONVS, conv_op};
use odd_choices::odd_choices;

/// Pseudo-random numbers, the same in every run.
struct Stream(u64);

impl Stream {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn tensor(&mut self, dtype: DType, dims: &[usize]) -> Tensor {
        let n: usize = dims.iter().product();
        match dtype.integer_range() {
            None => {
                let values: Vec<f32> = (0..n).map(|_| (self.next() % 2001) as f32 / 1000.0 - 1.0).collect();
                Tensor::from_array(dtype, Shape::new(dims), &Data::Float(values))
            }
            Some((min, max)) => {
                let span = (max - min + 1) as u64;
                let values: Vec<i64> = (0..n).map(|_| min + (self.next() % span) as i64).collect();
                Tensor::int(dtype, dims, &values)
            }
        }
    }
}

/// A graph under construction, with builders that cases share.
struct Case {
    graph: Graph,
    stream: Stream,
}

impl Case {
    fn new(name: &str) -> Self {
        Case { graph: Graph::new(name), stream: Stream(name.bytes().map(u64::from).sum()) }
    }

    fn input(&mut self, name: &str, dtype: DType, dims: &[usize], quant: Option<QuantId>) -> ValueId {
        self.graph.add_input(name, TensorType::new(dtype, Shape::new(dims)).with_quant(quant))
    }

    /// An input, copied to channels-last memory order.
    fn input_nhwc(&mut self, name: &str, dtype: DType, dims: &[usize], quant: Option<QuantId>) -> ValueId {
        let x = self.input(name, dtype, dims, quant);
        let y = self.node(Map {}, &[x], vec![], quant);
        self.graph.set_layout(y, Layout::Nhwc);
        y
    }

    fn random(&mut self, dtype: DType, dims: &[usize], quant: Option<QuantId>) -> ValueId {
        let tensor = self.stream.tensor(dtype, dims);
        self.graph.add_const("", tensor, quant)
    }

    fn node(&mut self, op: impl Into<Op>, operands: &[ValueId], steps: Vec<Step>, quant: Option<QuantId>) -> ValueId {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        let added = self.graph.add_node("", op, &operands, Epilogue::new(steps), quant, Origin::of("case"));
        added.expect("a well-formed case")
    }

    fn nhwc(&mut self, op: impl Into<Op>, operands: &[ValueId], steps: Vec<Step>, quant: Option<QuantId>) -> ValueId {
        let y = self.node(op, operands, steps, quant);
        self.graph.set_layout(y, Layout::Nhwc);
        y
    }

    fn q(&mut self, dtype: DType, scale: f32, zero_point: i32) -> Option<QuantId> {
        Some(self.graph.add_qparams(QuantParams::per_tensor(dtype, scale, zero_point)))
    }

    /// The steps from accumulators to quantized numbers: scale per channel, activate, quantize.
    fn requantize(&mut self, channels: usize, dtype: DType, zero_point: i32, min: i32) -> Vec<Step> {
        let scales: Vec<f32> = (0..channels).map(|c| 0.0007 + 0.00003 * (c % 17) as f32).collect();
        let m = self.graph.add_const("", Tensor::f32(&[1, channels, 1, 1], &scales), None);
        let max = dtype.integer_range().expect("8 bits").1 as i32;
        vec![
            Step::Cast(DType::F32),
            Step::binary(Function::Mul, Arg::Value(m)),
            Step::Quantize { dtype, scale: 1.0, zero_point, min, max },
        ]
    }

    /// A bf16 constant with the shape of `value`.
    fn bf16(&mut self, value: ValueId) -> ValueId {
        let shape = self.graph.ty(value).shape.to_vec();
        self.random(DType::Bf16, &shape, None)
    }

    fn output(&mut self, value: ValueId) {
        let name = format!("y{}", self.graph.outputs().len());
        self.graph.add_output(&name, value);
    }

    /// Compiles for every target that runs here and compares with the evaluator.
    fn check(mut self, relative: f32) {
        let inputs: Vec<Tensor> = self
            .graph
            .inputs()
            .to_vec()
            .into_iter()
            .map(|id| {
                let ty = self.graph.ty(id).clone();
                self.stream.tensor(ty.dtype, &ty.shape)
            })
            .collect();
        let expected = eightfold_ir::eval(&self.graph, &inputs).expect("evaluates");
        for target in emulated::targets() {
            let usual = Choices::default();
            let got = run(&self.graph, target, Threads::new(1), &usual, &inputs);
            let mut others = vec![(2, usual), (3, odd_choices(&self.graph, target))];
            // An emulator is slow: one number of threads shows that they work.
            others.truncate(if target.runs_here() { 2 } else { 1 });
            for (threads, choices) in others {
                let shared = run(&self.graph, target, Threads::eager(threads), &choices, &inputs);
                let same = got.iter().zip(&shared).all(|(a, b)| a.bytes() == b.bytes());
                let name = &self.graph.name;
                assert!(same, "{name} on {}: {threads} threads by {choices:?} compute other bytes", target.name);
            }
            for (position, (got, expected)) in got.iter().zip(&expected).enumerate() {
                compare(&format!("{} output {position} on {}", self.graph.name, target.name), got, expected, relative);
            }
        }
    }
}

fn run(graph: &Graph, target: &'static Target, threads: Threads, choices: &Choices, inputs: &[Tensor]) -> Vec<Tensor> {
    let program = lower_and_schedule(
        eightfold_ir::verify(graph).expect("verifies"),
        target,
        &ScheduleContext { threads, ..ScheduleContext::of(choices) },
    )
    .expect("lowers");
    check(&program).unwrap_or_else(|error| panic!("{error}\n{program}"));
    let interface = Interface {
        name: graph.name.clone(),
        symbol_prefix: "model".to_owned(),
        provenance: String::new(),
        variants: vec![Variant::of(graph, &program)],
    };
    let compiled = compile(&[program], &interface, Listings::default()).expect("compiles");
    calls_no_library(compiled.object.code(), target);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.so");
    let query_symbol = interface.query_symbol();
    Linker::from_env(target.arch).link_shared(&compiled.object, &query_symbol, &path).expect("links");
    let unpacked: Vec<Bytes> = inputs.iter().map(Tensor::unpacked).collect();
    let bytes: Vec<&[u8]> = unpacked.iter().map(|bytes| &**bytes).collect();
    let outputs = match target.runs_here() {
        true => run_here(&path, &bytes).concat(),
        false => emulated::run(target.arch, &path, &query_symbol, &bytes),
    };
    let mut rest = &outputs[..];
    let types = graph.outputs().iter().map(|o| graph.ty(o.value));
    let tensor = |ty: &TensorType| {
        let (own, behind) = rest.split_at(ty.shape.elements() * ty.dtype.byte_size());
        rest = behind;
        Tensor::from_unpacked(ty.dtype, ty.shape.clone(), own.to_vec()).expect("sized")
    };
    types.map(tensor).collect()
}

/// Runs the library at `path` in this process.
fn run_here(path: &Path, inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    let artifact = Artifact::load(path).expect("loads");
    let mut session = artifact.session().expect("a session");
    let mut outputs = session.output_buffers();
    session.run(inputs, &mut outputs).expect("runs");
    // Runs again: results must not depend on what an earlier run left in the arena.
    let first = outputs.clone();
    session.run(inputs, &mut outputs).expect("runs");
    assert_eq!(first, outputs, "two runs differ");
    outputs
}

/// Whether the target composes an operation that it has no instruction for.
fn calls_no_library(object: &[u8], target: &Target) {
    let object = object::File::parse(object).expect("an object file");
    for symbol in object.symbols().filter(|symbol| symbol.is_undefined()) {
        let name = symbol.name().expect("a name");
        let known = ["", "memcpy", "memset", "memmove"].contains(&name) || name.starts_with("eightfold_");
        assert!(known, "{} needs {name}", target.name);
    }
}

fn compare(what: &str, got: &Tensor, expected: &Tensor, relative: f32) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    match (got.to_f32s(), expected.to_f32s()) {
        (Some(got), Some(expected)) if relative > 0.0 => {
            let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
                assert!((g - e).abs() <= relative * largest, "{what} at {i}: got {g}, expected {e} of {largest}");
            }
        }
        _ => {
            let (g, e) = (got.data(), expected.data());
            assert!(g == e, "{what}: differs\n got {g:?}\nwant {e:?}");
        }
    }
}

#[test]
fn residuals_are_added_in_the_epilogue() {
    let mut case = Case::new("residual");
    let q = case.q(DType::U8, 0.02, 100);
    let x = case.input_nhwc("x", DType::U8, &[1, 16, 6, 6], q);
    let w_q = case.q(DType::I8, 0.01, 0);
    let weight = case.random(DType::I8, &[16, 16, 3, 3], w_q);
    let mut steps = case.requantize(16, DType::U8, 9, 9);
    steps.insert(2, Step::binary(Function::Add, Arg::Dequantized { value: x, scale: 0.37, zero_point: 100 }));
    let y_q = case.q(DType::U8, 0.05, 9);
    let conv = Conv { pads: [1, 1, 1, 1].as_slice().into(), ..conv_op(CONVS[0]) };
    let y = case.nhwc(conv.clone(), &[x, weight], steps, y_q);
    // Another padded convolution reads it: one buffer serves both.
    let weight = case.random(DType::I8, &[8, 16, 3, 3], w_q);
    let steps = case.requantize(8, DType::I8, -3, -128);
    let z_q = case.q(DType::I8, 0.05, -3);
    let z = case.nhwc(conv, &[y, weight], steps, z_q);
    case.output(y);
    case.output(z);
    case.check(0.0);
}

#[test]
fn matrix_products_equal_the_evaluator() {
    for (m, k, n) in [(1, 64, 10), (3, 17, 33), (9, 128, 64), (2, 1, 1)] {
        let mut case = Case::new(&format!("matmul_{m}_{k}_{n}"));
        let x_q = case.q(DType::U8, 0.02, 12);
        let x = case.input("x", DType::U8, &[m, k], x_q);
        let w_q = case.q(DType::I8, 0.01, 0);
        let w = case.random(DType::I8, &[k, n], w_q);
        let steps = vec![Step::Cast(DType::F32), Step::binary(Function::Mul, Arg::Float(0.0002))];
        let y = case.node(MatMul {}, &[x, w], steps, None);
        case.output(y);
        case.check(0.0);

        let mut case = Case::new(&format!("float_matmul_{m}_{k}_{n}"));
        let x = case.input("x", DType::F32, &[m, k], None);
        let w = case.random(DType::F32, &[k, n], None);
        let b = case.random(DType::F32, &[n], None);
        let y = case.node(MatMul {}, &[x, w, b], vec![], None);
        case.output(y);
        case.check(1e-5);
    }
}

#[test]
fn variable_matrices_multiply_with_broadcast_batches() {
    let mut case = Case::new("batch_matmul");
    let x = case.input("x", DType::F32, &[2, 3, 5, 7], None);
    let w = case.input("w", DType::F32, &[3, 7, 4], None);
    let y = case.node(MatMul {}, &[x, w], vec![], None);
    case.output(y);
    case.check(1e-5);
}

#[test]
fn pools_and_reductions_equal_the_evaluator() {
    let pool = |kind, kernel: usize, stride: usize, pad: usize, ceil, count_include_pad| Pool {
        kind,
        kernel: [kernel; 2].as_slice().into(),
        pads: eightfold_ir::op::conv::canonical(&[pad; 4], 0),
        strides: eightfold_ir::op::conv::canonical(&[stride; 2], 1),
        dilations: Default::default(),
        ceil,
        count_include_pad,
    };
    for (kernel, stride, pad, ceil) in [(2, 2, 0, false), (3, 2, 1, false), (3, 2, 0, true), (3, 1, 1, false)] {
        let mut case = Case::new(&format!("pool_{kernel}_{stride}_{pad}_{ceil}"));
        let q = case.q(DType::U8, 0.02, 100);
        let x = case.input_nhwc("x", DType::U8, &[1, 19, 9, 10], q);
        let max = case.nhwc(pool(PoolKind::Max, kernel, stride, pad, ceil, false), &[x], vec![], q);
        let steps = vec![
            Step::Cast(DType::F32),
            Step::binary(Function::Mul, Arg::Float(0.11)),
            Step::quantize(DType::U8, 1.0, 100),
        ];
        let sum = case.nhwc(pool(PoolKind::Sum, kernel, stride, pad, ceil, true), &[x], steps, q);
        let steps = vec![
            Step::binary(Function::Div, Arg::Float(0.02)),
            Step::binary(Function::Add, Arg::Float(100.0)),
            Step::quantize(DType::U8, 1.0, 0),
        ];
        let mean = case.nhwc(pool(PoolKind::Average, kernel, stride, pad, ceil, false), &[x], steps, q);
        case.output(max);
        case.output(sum);
        case.output(mean);
        case.check(0.0);

        let mut case = Case::new(&format!("float_pool_{kernel}_{stride}_{pad}_{ceil}"));
        let x = case.input_nhwc("x", DType::F32, &[1, 19, 9, 10], None);
        for include in [false, true] {
            let y = case.nhwc(pool(PoolKind::Average, kernel, stride, pad, ceil, include), &[x], vec![], None);
            case.output(y);
        }
        let y = case.nhwc(pool(PoolKind::Max, kernel, stride, pad, ceil, false), &[x], vec![], None);
        case.output(y);
        case.check(1e-6);
    }
    let mut case = Case::new("reduce");
    let q = case.q(DType::I8, 0.02, 5);
    let x = case.input_nhwc("x", DType::I8, &[2, 37, 4, 6], q);
    let f = case.input_nhwc("f", DType::F32, &[2, 37, 4, 6], None);
    let reduce = |kind, axes: &[usize], keepdims| Reduce { kind, axes: axes.into(), keepdims };
    let steps =
        vec![Step::Cast(DType::F32), Step::binary(Function::Mul, Arg::Float(0.03)), Step::quantize(DType::I8, 1.0, 5)];
    let y = case.nhwc(reduce(ReduceKind::Sum, &[2, 3], true), &[x], steps, q);
    case.output(y);
    for (kind, axes) in
        [(ReduceKind::Mean, &[2_usize, 3][..]), (ReduceKind::Max, &[1]), (ReduceKind::SumSquare, &[0, 3])]
    {
        let y = case.node(reduce(kind, axes, false), &[f], vec![], None);
        case.output(y);
    }
    case.check(1e-5);
}

#[test]
fn concatenations_shuffles_and_slices_move_the_right_elements() {
    let mut case = Case::new("movement");
    let q = case.q(DType::U8, 0.02, 100);
    let x = case.input_nhwc("x", DType::U8, &[1, 6, 5, 5], q);
    let w_q = case.q(DType::I8, 0.01, 0);
    let branch = |case: &mut Case, k: usize| {
        let weight = case.random(DType::I8, &[10, 6, k, k], w_q);
        let steps = case.requantize(10, DType::U8, 100, 0);
        let pads = eightfold_ir::op::conv::canonical(&[k / 2; 4], 0);
        case.nhwc(Conv { pads, ..conv_op(CONVS[0]) }, &[x, weight], steps, q)
    };
    let (a, b) = (branch(&mut case, 1), branch(&mut case, 3));
    let joined = case.nhwc(Concat { axis: 1 }, &[a, x, b], vec![], q);
    let split = case.node(Reshape { shape: [1, 2, 13, 5, 5].as_slice().into() }, &[joined], vec![], q);
    let swapped = case.node(Transpose { perm: [0, 2, 1, 3, 4].as_slice().into() }, &[split], vec![], q);
    let shuffled = case.node(Reshape { shape: [1, 26, 5, 5].as_slice().into() }, &[swapped], vec![], q);
    let half = Slice {
        starts: [0, 13, 0, 0].as_slice().into(),
        sizes: [1, 13, 5, 5].as_slice().into(),
        steps: Default::default(),
    };
    let half = case.node(half, &[shuffled], vec![], q);
    let reversed = Slice {
        starts: [0, 12, 4, 0].as_slice().into(),
        sizes: [1, 13, 5, 3].as_slice().into(),
        steps: [1, -1, -1, 2].as_slice().into(),
    };
    let reversed = case.node(reversed, &[half], vec![], q);
    // A padded convolution reads the concatenation: the border surrounds the whole buffer.
    let weight = case.random(DType::I8, &[4, 26, 3, 3], w_q);
    let steps = case.requantize(4, DType::U8, 100, 0);
    let pads = eightfold_ir::op::conv::canonical(&[1; 4], 0);
    let y = case.nhwc(Conv { pads, ..conv_op(CONVS[0]) }, &[joined, weight], steps, q);
    let indices = case.graph.add_const("", Tensor::int(DType::I64, &[3], &[2, -1, 0]), None);
    let gathered = case.node(Gather { axis: 1 }, &[joined, indices], vec![], q);
    for value in [joined, half, reversed, y, gathered] {
        case.output(value);
    }
    case.check(0.0);
}

#[test]
fn pads_and_resizes_equal_the_evaluator() {
    let mut case = Case::new("pad_resize");
    let q = case.q(DType::U8, 0.02, 100);
    let x = case.input_nhwc("x", DType::U8, &[1, 5, 4, 6], q);
    let f = case.input_nhwc("f", DType::F32, &[1, 5, 4, 6], None);
    for mode in [PadMode::Constant, PadMode::Edge, PadMode::Reflect] {
        let pad =
            Pad { mode, before: [0, 0, 1, 2].as_slice().into(), after: [0, 0, 3, 1].as_slice().into(), value: 0.5 };
        let y = case.nhwc(pad, &[x], vec![], q);
        case.output(y);
    }
    let resize = |mode, coordinates| Resize {
        mode,
        coordinates,
        nearest: NearestMode::Floor,
        sizes: [1, 5, 8, 9].as_slice().into(),
        scales: Default::default(),
    };
    let y = case.nhwc(resize(ResizeMode::Nearest, Coordinates::Asymmetric), &[x], vec![], q);
    case.output(y);
    for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners] {
        let y = case.nhwc(resize(ResizeMode::Linear, coordinates), &[f], vec![], None);
        case.output(y);
    }
    case.check(1e-6);
}

#[test]
fn chains_tables_and_softmax_equal_the_evaluator() {
    let mut case = Case::new("chains");
    let q = case.q(DType::U8, 0.03, 100);
    let x = case.input_nhwc("x", DType::U8, &[1, 21, 3, 5], q);
    let z = case.input_nhwc("z", DType::U8, &[1, 21, 3, 5], q);
    let table = case.random(DType::U8, &[256], None);
    let y = case.nhwc(Map {}, &[x], vec![Step::Table(table)], q);
    case.output(y);
    let steps = vec![
        Step::Dequantize { scale: 0.4, zero_point: 100 },
        Step::binary(Function::Add, Arg::Dequantized { value: z, scale: 0.7, zero_point: 90 }),
        Step::quantize(DType::U8, 1.0, 100),
    ];
    let y = case.nhwc(Map {}, &[x], steps, q);
    case.output(y);
    let flat = case.node(Reshape { shape: [3, 105].as_slice().into() }, &[x], vec![], q);
    let steps = vec![Step::quantize(DType::U8, 1.0 / 256.0, 0)];
    let probabilities = case.q(DType::U8, 1.0 / 256.0, 0);
    let y = case.node(Softmax { axis: 1 }, &[flat], steps, probabilities);
    case.output(y);
    case.check(0.0);

    let mut case = Case::new("float_chains");
    let x = case.input("x", DType::F32, &[2, 33], None);
    for function in Function::ALL.iter().copied().filter(|f| f.arity() == 1 && *f != Function::Not) {
        let y = case.node(Map {}, &[x], vec![Step::unary(Function::Abs), Step::unary(function)], None);
        case.output(y);
    }
    let y = case.node(Softmax { axis: 1 }, &[x], vec![], None);
    case.output(y);
    let row = case.input("row", DType::F32, &[1, 33], None);
    let y = case.node(Map {}, &[row], vec![Step::binary(Function::Sub, Arg::Value(x))], None);
    case.output(y);
    case.check(1e-6);
}

//! Measures the rates of product kernels beside the machine's peak, in multiply-accumulates per second.
//!
//! Kernels are measured as programs use them: a graph is lowered and scheduled, and its call runs on its packed
//! weights. Peak and kernels take turns in short rounds. Only the best run of each counts, so other work on the machine
//! and changes of the clock matter little.

use std::time::Duration;

use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::map::Map;
use eightfold_ir::{
    Arg, DType, Epilogue, Function, Graph, Layout, Op, Origin, QuantId, QuantParams, Shape, Step, Tensor, TensorType,
    ValueId,
};

use crate::choice::Choices;
use crate::kernel::Call;
use crate::llvm::jit::Jit;
use crate::llvm::machine::MachineError;
use crate::llvm::peaks::{Loop, shortest};
use crate::lower::lower;
use crate::program::Program;
use crate::schedule::{ScheduleContext, schedule};
use crate::target::Target;
use crate::view::Storage;

/// Number of rounds.
const ROUNDS: usize = 12;

/// How long each kernel runs in a round.
const TURN: Duration = Duration::from_millis(25);

/// A product of an `m x k` matrix with a constant `k x n` one, as a 1x1 convolution of `m` pixels.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Pixels.
    pub m: usize,
    /// Channels of the input.
    pub k: usize,
    /// Channels of the result.
    pub n: usize,
}

/// Multiply-accumulates per second.
#[derive(Clone, Debug)]
pub struct Rates {
    /// The peak: a loop of nothing but the target's instructions, on registers and the first-level cache.
    pub peak: f64,
    /// The rate of each product's whole kernel.
    pub products: Vec<f64>,
    /// Assembly of the products.
    pub assembly: String,
}

/// Measures products of f32 with ReLU, or products of u8 with i8 that are requantized to u8 with a scale per channel.
///
/// # Errors
/// Fails if lowering or LLVM fails.
pub fn measure(target: &'static Target, input: DType, products: &[Product]) -> Result<Rates, MachineError> {
    let (calls, mut bytes): (Vec<Call>, Vec<Vec<Vec<u8>>>) = products
        .iter()
        .map(|product| call(target, input, *product))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    let jit = Jit::default();
    let compiled = jit.compile(&calls, target, true)?;
    let peak_jit = Jit::default();
    let mut peak = Loop::products(&peak_jit, target, input)?;
    let mut best = vec![Duration::MAX; products.len()];
    for _ in 0..ROUNDS {
        peak.turn(TURN);
        for (index, best) in best.iter_mut().enumerate() {
            let views = calls[index].operands.iter().chain([&calls[index].output]);
            let start = |(bytes, offset): (&mut Vec<u8>, usize)| bytes[offset..].as_mut_ptr();
            let offsets = views.map(|view| view.offset * view.dtype.byte_size());
            let pointers: Vec<_> = bytes[index].iter_mut().zip(offsets).map(start).collect();
            let entry = compiled.entry(index);
            // SAFETY: `call` has allocated each operand and the output in the program's sizes, with slack after them.
            *best = (*best).min(shortest(TURN, || unsafe { entry.run(&pointers) }));
        }
    }
    let macs = |product: &Product| (product.m * product.k * product.n) as f64;
    Ok(Rates {
        peak: peak.rate(),
        products: products.iter().zip(best).map(|(product, time)| macs(product) / time.as_secs_f64()).collect(),
        assembly: compiled.assembly,
    })
}

/// The call of a product in a scheduled program, and bytes for its operands and output.
fn call(target: &'static Target, input: DType, product: Product) -> Result<(Call, Vec<Vec<u8>>), MachineError> {
    let graph = graph(input, product).map_err(|error| MachineError::new(&error))?;
    let graph = eightfold_ir::verify(&graph).map_err(|errors| MachineError::new(&errors))?;
    let program = lower(graph, target).map_err(|error| MachineError::new(&error))?;
    let program = schedule(program, &ScheduleContext::of(&Choices::default()), &mut |_, _| {});
    let gemm = program.calls().into_iter().find(|call| call.producer.family() == "gemm").cloned();
    let call = gemm.unwrap_or_else(|| unreachable!("a 1x1 convolution is a product"));
    let bytes = call.operands.iter().chain([&call.output]).map(|view| {
        let mut bytes = match view.storage {
            Storage::Const(id) => program.consts[id.0].bytes.to_vec(),
            Storage::Buffer(id) => vec![1; program.buffers[id.0].byte_size],
        };
        bytes.resize(bytes.len() + Program::SLACK, 0);
        bytes
    });
    let bytes = bytes.collect();
    Ok((call, bytes))
}

/// A 1x1 convolution over `m` pixels: a square if `m` is a square number, else one row.
fn graph(input: DType, Product { m, k, n }: Product) -> Result<Graph, eightfold_ir::InferError> {
    let mut graph = Graph::new("product");
    let side = if m.isqrt().pow(2) == m { m.isqrt() } else { 1 };
    let quantized = |graph: &mut Graph, dtype: DType| match dtype {
        DType::F32 => None,
        _ => Some(graph.add_qparams(QuantParams::per_tensor(dtype, 0.02, 0))),
    };
    let x_quant = quantized(&mut graph, input);
    let x = graph.add_input("x", TensorType::new(input, Shape::new(&[1, k, side, m / side])).with_quant(x_quant));
    // Sums of four uniform numbers, nearly normally distributed, as trained weights are.
    let noise = |at: usize| (0..4).map(|i| (at * 4 + i) * 0x9e37_79b9 % 65_521 % 64).sum::<usize>() as i64 - 126;
    let numbers = (0..n * k).map(|at| noise(at) * 2 / 3);
    let weights = match input {
        DType::F32 => Tensor::f32(&[n, k, 1, 1], &numbers.map(|w| w as f32).collect::<Vec<_>>()),
        _ => Tensor::int(DType::I8, &[n, k, 1, 1], &numbers.collect::<Vec<_>>()),
    };
    let w_quant = quantized(&mut graph, weights.dtype());
    let weights = graph.add_const("weights", weights, w_quant);
    let steps = match input {
        DType::F32 => vec![Step::unary(Function::Relu)],
        _ => {
            let scales = graph.add_const("scales", Tensor::f32(&[1, n, 1, 1], &vec![0.001; n]), None);
            let scale = Step::binary(Function::Mul, Arg::Value(scales));
            vec![Step::Cast(DType::F32), scale, Step::quantize(input, 1.0, 0)]
        }
    };
    let mut node = |op: Op, operands: &[ValueId], steps: Vec<Step>, quant: Option<QuantId>| {
        let operands: Vec<_> = operands.iter().copied().map(Some).collect();
        let value = graph.add_node("", op, &operands, Epilogue::new(steps), quant, Origin::of("product"))?;
        graph.set_layout(value, Layout::Nhwc);
        Ok(value)
    };
    let x = node(Map {}.into(), &[x], vec![], x_quant)?;
    let conv = Conv { pads: Default::default(), strides: Default::default(), dilations: Default::default(), group: 1 };
    let y = node(conv.into(), &[x, weights], steps, x_quant)?;
    // Another node reads the result. Otherwise the convolution would write it in the layout of a graph output.
    let y = node(Map {}.into(), &[y], vec![], x_quant)?;
    graph.add_output("y", y);
    Ok(graph)
}

//! What the machine's arithmetic can do, and what kernels make of it: measured, in products (multiply and add) a second.
//!
//! Each figure is the best of several runs, so that what else the machine does counts little.

use std::time::{Duration, Instant};

use eightfold_ir::{DType, Function};

use super::jit::{Compiled, Jit};
use super::machine::MachineError;
use super::vector::{Kind, State};
use crate::pack;
use crate::program::{Arg, BufferId, Call, Gemm, Grid, Producer, Program, Run, Step, Storage, Tile, View};
use crate::target::Target;

/// Turns of the loop that a peak is measured by.
const TURNS: usize = 1 << 20;

/// The rate of `target`'s sequence of instructions for products of bytes, on registers.
///
/// # Errors
/// Of LLVM.
pub fn int8_peak(target: &'static Target) -> Result<f64, MachineError> {
    peak(target, Kind::I32, 4)
}

/// The rate of fused multiply-adds of floats on registers.
///
/// # Errors
/// Of LLVM.
pub fn f32_peak(target: &'static Target) -> Result<f64, MachineError> {
    peak(target, Kind::F32, 1)
}

fn peak(target: &'static Target, kind: Kind, depth: usize) -> Result<f64, MachineError> {
    let sums = target.vector_registers * 5 / 8;
    let jit = Jit::default();
    let compiled = jit.compile_with(target, false, false, |e| {
        let p = e.function("peak", 1, 0);
        let lanes = e.lanes();
        let w = e.load(p[0], kind, lanes);
        let vectors = (0..sums).map(|sum| e.load(e.offset(p[0], 64 * sum as isize), kind, lanes)).collect();
        let state = e.carry(e.int(TURNS), State { vectors, ..State::default() }, |_, state| {
            // Each sum is its own input, or the compiler would compute the products once.
            for sum in &mut state.vectors {
                *sum = match kind {
                    Kind::F32 => e.fma(*sum, w, *sum),
                    _ => e.dot_accumulate(*sum, e.bits_as(*sum, Kind::I8), e.bits_as(w, Kind::I8)),
                };
            }
        });
        for (sum, vector) in state.vectors.iter().enumerate() {
            e.store(e.offset(p[0], 64 * sum as isize), *vector);
        }
        e.end();
        Ok(())
    })?;
    let mut bytes = vec![0u8; 64 * sums];
    // SAFETY: one vector of at most 64 bytes for each sum is read and written.
    let time = best(|| unsafe { compiled.run_named("peak", &[bytes.as_mut_ptr()]) });
    Ok((TURNS * sums * target.lanes() * depth) as f64 / time.as_secs_f64())
}

/// A product of an `m x k` matrix with a constant `k x n` one, as a 1x1 convolution over a square where `m` is one: of
/// floats with ReLU, or of bytes, requantized channel by channel with ReLU.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Type of the input: f32 or u8.
    pub input: DType,
    /// Rows.
    pub m: usize,
    /// Products in a sum.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// The tile, or that which the compiler chooses.
    pub tile: Option<Tile>,
}

/// The rate of a product, and its assembly.
///
/// # Errors
/// Of LLVM.
pub fn product(target: &'static Target, product: Product) -> Result<(f64, String), MachineError> {
    let (call, mut operands) = call(target, product);
    let jit = Jit::default();
    let compiled = jit.compile(&[call], target, false, true)?;
    let time = best_of_call(&compiled, &mut operands);
    let macs = product.m * product.k * product.n;
    Ok((macs as f64 / time.as_secs_f64(), compiled.assembly))
}

fn best_of_call(compiled: &Compiled<'_>, operands: &mut [Vec<u8>]) -> Duration {
    let pointers: Vec<_> = operands.iter_mut().map(|bytes| bytes.as_mut_ptr()).collect();
    // SAFETY: `call` has made each operand and the output as large as the call wants, with slack behind.
    best(|| unsafe { compiled.run(0, &pointers) })
}

/// The shortest of many runs.
fn best(mut run: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(300) {
        let turn = Instant::now();
        run();
        best = best.min(turn.elapsed());
    }
    best
}

/// The call, and bytes of its operands and output.
fn call(target: &Target, Product { input, m, k, n, tile }: Product) -> (Call, Vec<Vec<u8>>) {
    let side = if m.isqrt().pow(2) == m { m.isqrt() } else { 1 };
    let pixels = [1, side, m / side];
    let strides = |channels: usize| [0, pixels[2] * channels, channels].map(|s| s as isize);
    let tile = tile.unwrap_or_else(|| pack::choose_tile(target, input, pixels[1], pixels[2], n, k));
    let runs = vec![Run { offset: 0, length: k }];
    // Near enough to a normal distribution, a quarter of the range wide: as trained weights are.
    let noise = |at: usize| (0..4).map(|i| (at * 4 + i) * 0x9e37_79b9 % 65_521 % 64).sum::<usize>() as i32 - 126;
    let weight = |o: usize, _: usize, e: usize| noise(o * k + e) * 2 / 3;
    let packed = match input {
        DType::F32 => pack::gemm_f32(tile, n, &runs, &|o, r, e| weight(o, r, e) as f32, &vec![0.0; n]),
        _ => pack::gemm_int(target, tile, n, &runs, &weight, &vec![0; n]),
    };
    let view = |dtype, dims: &[usize], strides: &[isize]| View {
        storage: Storage::Buffer(BufferId(0)),
        dtype,
        offset: 0,
        grid: Grid { dims: dims.to_vec(), strides: strides.to_vec() },
    };
    let row_block = pack::row_block(target, &pixels, &strides(k), n, &[k], input);
    let (sums, weights) = if input == DType::F32 { (DType::F32, DType::F32) } else { (DType::I32, DType::I8) };
    let mut operands = vec![view(input, &[m * k], &[1]), view(weights, &[n * k], &[1]), view(sums, &[n], &[1])];
    let mut bytes = vec![vec![1; m * k * input.byte_size()], packed.weights, packed.sums];
    let channels = [0, 1, strides(n)[1], strides(n)[2]];
    let result = [1, n, pixels[1], pixels[2]];
    let mut steps = Vec::new();
    if input == DType::F32 {
        steps.push(Step::Apply(Function::Relu, vec![Arg::Current]));
    } else {
        operands.push(view(DType::F32, &result, &[0, 1, 0, 0]));
        bytes.push((0..n).flat_map(|_| 0.001f32.to_le_bytes()).collect());
        steps.push(Step::Cast(DType::F32));
        steps.push(Step::Apply(Function::Mul, vec![Arg::Current, Arg::Operand(3)]));
        steps.push(Step::Quantize { dtype: DType::U8, scale: 1.0, zero_point: 0, min: 0, max: 255 });
    }
    bytes.push(vec![0; m * n * input.byte_size()]);
    bytes.iter_mut().for_each(|bytes| bytes.resize(bytes.len() + Program::SLACK, 0));
    let gemm = Gemm {
        input,
        pixels,
        input_strides: strides(k),
        output_strides: strides(n),
        runs,
        n,
        tile,
        extra: packed.extra,
        row_block,
    };
    let output = view(input, &result, &channels);
    let origin = String::new();
    (Call { producer: Producer::Gemm(gemm), operands, steps, output, origin }, bytes)
}

//! Operations on vectors that are no products of the dot sequence, counted for each lane of 32 bits.
//!
//! The counts follow what the emitter writes: an instruction on a register of 32-bit lanes is one operation a lane, one on
//! a register of bytes a quarter, one on a single element as many as a register has lanes. Loads that another instruction
//! does on the way are free. The unit's rate is measured, so only proportions matter.

use std::cell::Cell;

use eightfold_ir::scalar::Meaning;
use eightfold_ir::{DType, Function};

use crate::kernel::math::{self, Arithmetic};
use crate::program::{Arg, Call, Depthwise, Fold, Gemm, Producer, Step};
use crate::target::Target;

/// Divisions and square roots take as long as so many other operations on current cores.
const DIVISION: f64 = 8.0;

/// Instructions of a lookup that goes element by element.
const SCALAR_LOOKUP: f64 = 3.0;

/// All operations of a call.
pub(super) fn call_operations(call: &Call, target: &Target) -> f64 {
    let types: Vec<DType> = call.operands.iter().map(|view| view.dtype).collect();
    let (produced, own) = producer_operations(call, target);
    own + results(call) * step_operations(target, &call.steps, produced, &types, call.output.dtype)
}

fn results(call: &Call) -> f64 {
    call.output.grid.elements() as f64
}

/// What the producer yields, and the operations that it takes for all of it.
fn producer_operations(call: &Call, target: &Target) -> (DType, f64) {
    let input = call.operands.first().map_or(call.output.dtype, |view| view.dtype);
    let read = call.operands.first().map_or(0.0, |view| view.grid.elements() as f64);
    let accumulator = if input.is_float() { DType::F32 } else { DType::I32 };
    let lanes = target.lanes() as f64;
    match &call.producer {
        Producer::Gemm(gemm) => (accumulator, sign_operations(gemm, lanes)),
        Producer::Depthwise(depthwise) => (accumulator, results(call) * depthwise_operations(depthwise)),
        // Two products a lane and an addition.
        Producer::MatMul { .. } if accumulator == DType::I32 => (accumulator, call.macs() as f64),
        Producer::MatMul { .. } => (accumulator, 0.0),
        Producer::Pool { fold, kernel, .. } => {
            let taken = results(call) * (kernel[0] * kernel[1]) as f64;
            (folded(*fold, input), taken * fold_operations(*fold, input))
        }
        Producer::Reduce { fold } => (folded(*fold, input), read * fold_operations(*fold, input)),
        Producer::Softmax { .. } => {
            let exponential = match input {
                DType::F32 => 1.0 + tally(|a| math::exp(a, ())),
                _ => SCALAR_LOOKUP * lanes,
            };
            (DType::F32, read * (2.0 * exponential + 3.0 + DIVISION))
        }
        Producer::Interpolate { .. } => (DType::F32, 3.0 * results(call)),
        // Of each register of 16 words a byte register is widened, and twice two are added; of each of sums, of four, eight
        // loads and stores are made and 24 additions, and a shift and an addition follow.
        Producer::WinogradInput(_) => (DType::I16, results(call) * 4.0 / 2.0),
        Producer::Winograd(_) => (DType::I32, results(call) * (56.0 / 4.0 + 2.0)),
        Producer::Gather { .. } | Producer::Pointwise => (input, results(call) * parts(input)),
        Producer::Fill { .. } => (call.output.dtype, 0.0),
    }
}

/// Inputs with a sign lose it, each group once for each block of channels.
fn sign_operations(gemm: &Gemm, lanes: f64) -> f64 {
    if gemm.input != DType::I8 {
        return 0.0;
    }
    let blocks = gemm.n.div_ceil(gemm.tile.nr);
    (gemm.pixels.iter().product::<usize>() * gemm.groups() * blocks) as f64 * lanes
}

/// For each result; floats are products of the dot sequence.
fn depthwise_operations(depthwise: &Depthwise) -> f64 {
    if depthwise.input.is_float() {
        return 0.0;
    }
    let columns = depthwise.columns.max(1);
    let rows = (depthwise.taps.len() / columns).div_ceil(2);
    // A column serves all pixels whose windows it lies in.
    let step = match depthwise.taps.get(1) {
        Some(tap) if columns > 1 => (depthwise.input_strides[2] / (tap - depthwise.taps[0]).max(1)).unsigned_abs(),
        _ => 1,
    };
    // Each pair is interleaved and widened, then multiplied and added.
    (rows * 2 * step.clamp(1, columns) + 2 * depthwise.pairs().len()) as f64
}

/// The type of what is folded, as [`crate::kernel::fold`] has it.
fn folded(fold: Fold, input: DType) -> DType {
    match fold {
        Fold::DequantizedMean { .. } => DType::F32,
        Fold::Sum { .. } if input.is_integer() => DType::I32,
        _ => input,
    }
}

/// To take in one number.
fn fold_operations(fold: Fold, input: DType) -> f64 {
    let bytes = input.bits() <= 8;
    match fold {
        Fold::Max | Fold::Min if bytes => 0.25,
        Fold::Max | Fold::Min if input.is_float() => 3.0,
        Fold::Sum { .. } if bytes => 1.0,
        Fold::DequantizedMean { .. } => 5.0,
        Fold::SumSquare | Fold::SumAbs => 2.0,
        Fold::Max | Fold::Min | Fold::Prod | Fold::Sum { .. } | Fold::Mean => 1.0,
    }
}

/// For each result, what `steps` make of what was `produced`, and its store; `operands` are the types of the call's.
pub(crate) fn step_operations(
    target: &Target,
    steps: &[Step],
    produced: DType,
    operands: &[DType],
    output: DType,
) -> f64 {
    let (mut dtype, mut total) = (produced, 0.0);
    for step in steps {
        let (next, operations) = match step {
            Step::Apply(function, args) => {
                let reads: f64 = args.iter().map(|arg| argument(*arg, dtype, operands)).sum();
                (applied(*function, args, dtype, operands), reads + function_operations(*function))
            }
            Step::Cast(to) => (*to, cast(dtype, *to)),
            Step::Dequantize { zero_point, .. } => (DType::F32, dequantize(dtype, *zero_point)),
            Step::Quantize { dtype: to, scale, zero_point, .. } => {
                let division = if *scale == 1.0 { 0.0 } else { DIVISION };
                (*to, division + quantize(*to, *zero_point))
            }
            Step::Table { dtype: to, .. } => (*to, lookup(target, *to)),
        };
        dtype = next;
        total += operations;
    }
    total + cast(dtype, output) + parts(output)
}

/// Registers of 32-bit lanes that a register's worth of elements takes.
fn parts(dtype: DType) -> f64 {
    dtype.byte_size() as f64 / 4.0
}

/// From stored numbers to lanes of 32 bits.
fn widen(dtype: DType) -> f64 {
    if dtype.bits() < 32 { 1.0 } else { 0.0 }
}

fn cast(from: DType, to: DType) -> f64 {
    let converted = if from.is_float() == to.is_float() { 0.0 } else { 1.0 };
    if from == to { 0.0 } else { widen(from) + converted + widen(to) }
}

fn dequantize(stored: DType, zero_point: i32) -> f64 {
    widen(stored) + if zero_point == 0 { 0.0 } else { 1.0 } + 2.0
}

fn quantize(to: DType, zero_point: i32) -> f64 {
    let shift = if zero_point == 0 { 0.0 } else { 1.0 };
    match to.bits() {
        // Bound, conversion; of four registers two packs, two shifts, a pack, a shuffle.
        8 => 2.0 + (4.0 + 2.0 * shift) / 4.0,
        _ => 3.0 + shift + widen(to),
    }
}

fn lookup(target: &Target, entries: DType) -> f64 {
    match (entries.byte_size(), target.byte_permute) {
        // Two lookups, a comparison, a choice.
        (1, true) => 1.0,
        // Sixteen rows, fifteen choices, four bits.
        (1, false) => 35.0 / 4.0,
        _ => SCALAR_LOOKUP * target.lanes() as f64,
    }
}

fn argument(arg: Arg, current: DType, operands: &[DType]) -> f64 {
    match arg {
        Arg::Current => widen(current),
        Arg::Operand(index) => widen(operands[index]),
        Arg::Dequantized { operand, zero_point, .. } => dequantize(operands[operand], zero_point),
        Arg::Float(_) | Arg::Int(_) => 0.0,
    }
}

/// The type of a function's result.
fn applied(function: Function, args: &[Arg], current: DType, operands: &[DType]) -> DType {
    let numbers = if function == Function::Select { &args[1..] } else { args };
    let own = |arg: &Arg| match *arg {
        Arg::Current => Some(current),
        Arg::Operand(index) => Some(operands[index]),
        Arg::Dequantized { .. } => Some(DType::F32),
        Arg::Float(_) | Arg::Int(_) => None,
    };
    match function.meaning() {
        Meaning::Comparison { .. } => DType::Bool,
        _ => numbers.iter().find_map(own).unwrap_or(current),
    }
}

/// Of a function on floats; on integers it is taken for the same.
fn function_operations(function: Function) -> f64 {
    match function {
        Function::Clip | Function::Select => 2.0,
        Function::Max | Function::Min | Function::LeakyRelu | Function::Prelu => 3.0,
        Function::HardSigmoid => 4.0,
        Function::HardSwish | Function::Sign => 5.0,
        Function::Div | Function::Reciprocal | Function::Sqrt => DIVISION,
        Function::Softsign => 2.0 + DIVISION,
        Function::Cos => tally(|a| math::cos(a, ())),
        Function::Elu => tally(|a| math::elu(a, (), ())),
        Function::Erf => tally(|a| math::erf(a, ())),
        Function::Exp => tally(|a| math::exp(a, ())),
        Function::Gelu => tally(|a| math::gelu(a, ())),
        Function::Log => tally(|a| math::log(a, ())),
        Function::Mod => tally(|a| math::fmod(a, (), ())),
        Function::Pow => tally(|a| math::pow(a, (), ())),
        Function::Sigmoid => tally(|a| math::sigmoid(a, ())),
        Function::Silu => tally(|a| math::silu(a, ())),
        Function::Sin => tally(|a| math::sin(a, ())),
        Function::Softplus => tally(|a| math::softplus(a, ())),
        Function::Tanh => tally(|a| math::tanh(a, ())),
        _ => 1.0,
    }
}

/// The operations that a function of [`math`] is made of.
fn tally(function: impl FnOnce(&Tally)) -> f64 {
    let tally = Tally::default();
    function(&tally);
    tally.0.get()
}

/// Numbers without a value, whose operations are counted.
#[derive(Default)]
struct Tally(Cell<f64>);

impl Tally {
    fn add_up(&self, operations: f64) {
        self.0.set(self.0.get() + operations);
    }
}

macro_rules! counted {
    ($($verb:ident($($arg:ident: $kind:ty),*) $operations:expr;)*) => {$(
        fn $verb(&self, $($arg: $kind),*) {
            self.add_up($operations);
        }
    )*};
}

impl Arithmetic for Tally {
    type F = ();
    type I = ();
    type M = ();

    fn rarely(&self, _m: (), _usual: ((), ()), _rare: impl FnOnce() -> ((), ())) -> ((), ()) {
        // A test of all lanes, and a branch.
        self.add_up(2.0);
        ((), ())
    }

    counted! {
        float(_x: f32) 0.0;
        int(_x: i32) 0.0;
        add(_a: (), _b: ()) 1.0;
        sub(_a: (), _b: ()) 1.0;
        mul(_a: (), _b: ()) 1.0;
        div(_a: (), _b: ()) DIVISION;
        fma(_a: (), _b: (), _c: ()) 1.0;
        trunc(_a: ()) 1.0;
        less(_a: (), _b: ()) 1.0;
        equal(_a: (), _b: ()) 1.0;
        both(_a: (), _b: ()) 1.0;
        select(_m: (), _yes: (), _no: ()) 1.0;
        select_int(_m: (), _yes: (), _no: ()) 1.0;
        bits(_a: ()) 0.0;
        of_bits(_a: ()) 0.0;
        of_int(_a: ()) 1.0;
        add_int(_a: (), _b: ()) 1.0;
        sub_int(_a: (), _b: ()) 1.0;
        mul_int(_a: (), _b: ()) 1.0;
        mul_high(_a: (), _b: ()) 4.0;
        below(_a: (), _b: ()) 1.0;
        and(_a: (), _b: ()) 1.0;
        xor(_a: (), _b: ()) 1.0;
        shift_left(_a: (), _by: u32) 1.0;
        shift_right(_a: (), _by: u32) 1.0;
        entry(_table: &'static [u32], _index: ()) SCALAR_LOOKUP;
    }
}

//! The cost of operations on vectors other than products, counted per 32-bit lane.
//!
//! The counts follow the emitted instructions. An instruction on a register of 32-bit lanes counts as one operation per
//! lane; on a register of bytes as a quarter; on a single element as many as a register has lanes. Loads that are
//! memory operands of another instruction are free. The rate of operations is measured, so only their proportions
//! matter.

use std::cell::Cell;

use eightfold_ir::scalar::Meaning;
use eightfold_ir::{DType, Function};

use super::math::{self, Arithmetic};
use crate::kernel::Call;
use crate::step::{Arg, Step};
use crate::target::Target;

/// The time of a division or a square root, in other operations, on current cores.
pub(crate) const DIVISION: f64 = 8.0;

/// Instructions per element of a lookup without vector instructions.
pub(crate) const SCALAR_LOOKUP: f64 = 3.0;

/// All operations of a call.
pub(crate) fn call_operations(call: &Call, target: &Target) -> f64 {
    let types: Vec<DType> = call.operands.iter().map(|view| view.dtype).collect();
    let (produced, own) = call.producer.def().operations(call, target);
    own + call.results() * step_operations(target, &call.steps, produced, &types, call.output.dtype)
}

/// The operations per result of `steps` and of the store. `produced` is the type before the steps; `operands` are the
/// types of the call's operands.
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
    total + cast(dtype, output) + registers(output)
}

/// Registers that the elements of one register of 32-bit lanes take when stored: 1/4 for bytes.
pub(crate) fn registers(dtype: DType) -> f64 {
    dtype.byte_size() as f64 / 4.0
}

/// The cost of converting stored numbers to 32-bit lanes.
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
        // Clamp and convert; for four registers, two packs, two additions of the zero point, a pack and a shuffle.
        8 => 2.0 + (4.0 + 2.0 * shift) / 4.0,
        _ => 3.0 + shift + widen(to),
    }
}

fn lookup(target: &Target, entries: DType) -> f64 {
    match (entries.byte_size(), target.byte_permute) {
        // Two lookups, a comparison and a select.
        (1, true) => 1.0,
        // Sixteen rows, fifteen selects, four bits.
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

/// The cost of a function on floats. Functions on integers are assumed to cost the same.
fn function_operations(function: Function) -> f64 {
    match function {
        Function::Clip | Function::Select => 2.0,
        Function::Max | Function::Min | Function::LeakyRelu | Function::Prelu => 3.0,
        Function::HardSigmoid => 4.0,
        Function::HardSwish | Function::Sign => 5.0,
        Function::Div | Function::Reciprocal | Function::Sqrt => DIVISION,
        Function::Softsign => 2.0 + DIVISION,
        long if math::LONG.contains(&long) => tally(|a| {
            math::long(a, long, &[(), ()]);
        }),
        _ => 1.0,
    }
}

/// The number of operations in a function of [`math`].
pub(crate) fn tally(function: impl FnOnce(&Tally)) -> f64 {
    let tally = Tally::default();
    function(&tally);
    tally.0.get()
}

/// Counts operations instead of computing: its numbers have no value.
#[derive(Default)]
pub(crate) struct Tally(Cell<f64>);

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
        // A test of all lanes and a branch.
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

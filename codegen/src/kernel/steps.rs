//! Steps on vectors: emits the code of the epilogue, a register of elements at a time.
//!
//! Invariant: each step yields numbers in the lanes in which their type is stored, so that each result is rounded or
//! wrapped to its type exactly as the interpreter does it. Integers and truth values equal the interpreter's bit for
//! bit. Floats do if the function is exact, except for the sign of zeros and the bits of NaN.

use eightfold_ir::scalar::Meaning;
use eightfold_ir::{DType, Function};

use crate::kernel::Call;
use crate::step::{Arg, Step};
use crate::vector::{Compare, Emitter, Kind, Ptr, Vector};

mod cast;
mod function;

use cast::is_signed;
pub(crate) use cast::{cast, kind, work_kind, worked};

/// The inputs of steps besides the current numbers.
pub(crate) trait Operands<'ctx> {
    /// The stored elements of operand `index` of the call, at the coordinates of the current numbers.
    fn load(&mut self, index: usize) -> Vector<'ctx>;

    /// The address of operand `index`, a table.
    fn table(&self, index: usize) -> Ptr<'ctx>;
}

/// Applies all steps of `call` to `current`, which holds elements of type `dtype`. The result is in the lanes in which
/// the output stores it.
pub(crate) fn apply<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    current: Vector<'ctx>,
    dtype: DType,
    operands: &mut dyn Operands<'ctx>,
) -> Vector<'ctx> {
    let (current, dtype) = through(e, call, &call.steps, (current, dtype), operands);
    cast(e, current, dtype, call.output.dtype)
}

/// Applies some steps of `call` to the current numbers; returns the result and its type.
pub(crate) fn through<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    steps: &[Step],
    current: (Vector<'ctx>, DType),
    operands: &mut dyn Operands<'ctx>,
) -> (Vector<'ctx>, DType) {
    steps.iter().fold(current, |(current, dtype), step| {
        debug_assert_eq!(current.kind, kind(dtype));
        match step {
            Step::Apply(function, args) => applied(e, call, current, dtype, (*function, args), operands),
            Step::Cast(to) => (cast(e, current, dtype, *to), *to),
            Step::Dequantize { scale, zero_point } => (dequantized(e, current, dtype, *scale, *zero_point), DType::F32),
            Step::Quantize { dtype: to, scale, zero_point, min, max } => {
                let steps = match *scale {
                    1.0 => current,
                    scale => e.div(current, e.splat(scale, current.lanes)),
                };
                let stored = match kind(*to) {
                    Kind::I8 => e.quantize_bytes(steps, *zero_point, (*min, *max), is_signed(*to)),
                    kind => e.narrow(quantized(e, steps, *zero_point, *min, *max), kind),
                };
                (stored, *to)
            }
            Step::Table { operand, dtype: to } => (e.lookup(operands.table(*operand), kind(*to), current), *to),
        }
    })
}

/// `f32(x - zero_point) * scale`
pub(crate) fn dequantized<'ctx>(
    e: &Emitter<'_, 'ctx>,
    stored: Vector<'ctx>,
    dtype: DType,
    scale: f32,
    zero_point: i32,
) -> Vector<'ctx> {
    // The difference of two 32-bit integers may need 33 bits.
    let wide = zero_point != 0 && dtype.bits() >= 32;
    let kind = if wide { Kind::I64 } else { work_kind(dtype) };
    let mut number = e.widen(worked(e, stored, dtype), kind, true);
    if zero_point != 0 {
        number = e.sub(number, e.splat_int(zero_point.into(), kind, number.lanes));
    }
    e.mul(e.to_float(number, Kind::F32, true), e.splat(scale, stored.lanes))
}

/// Rounds and clamps `steps`, real numbers already divided by the scale, to stored integers in lanes of I32.
fn quantized<'ctx>(e: &Emitter<'_, 'ctx>, steps: Vector<'ctx>, zero_point: i32, min: i32, max: i32) -> Vector<'ctx> {
    // Up to 2^24 the bounds are exact in f32, and rounding does not exceed them.
    let exact = |end: i32| (i64::from(end) - i64::from(zero_point)).abs() <= 1 << 24;
    if exact(min) && exact(max) {
        return e.quantize(steps, zero_point, min, max);
    }
    let bound = |end: i32| e.splat(end.wrapping_sub(zero_point) as f32, steps.lanes);
    let clamped = e.min(e.max(steps, bound(min)), bound(max));
    let rounded = e.to_int(e.round_even(clamped), Kind::I32, true);
    e.add(rounded, e.splat_int(zero_point.into(), Kind::I32, steps.lanes))
}

/// Applies a function to the current numbers and its other arguments; returns the result and its type.
fn applied<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    current: Vector<'ctx>,
    dtype: DType,
    (function, args): (Function, &[Arg]),
    operands: &mut dyn Operands<'ctx>,
) -> (Vector<'ctx>, DType) {
    let own_type = |arg: &Arg| match *arg {
        Arg::Current => Some(dtype),
        Arg::Operand(operand) => Some(call.operands[operand].dtype),
        Arg::Dequantized { .. } => Some(DType::F32),
        Arg::Float(_) | Arg::Int(_) => None,
    };
    // A literal takes the type of the current number. In a `select` between literals alone, it takes its own type.
    let numbers = if function == Function::Select { &args[1..] } else { args };
    let literal = || if matches!(numbers[0], Arg::Float(_)) { DType::F32 } else { dtype };
    let mut types = numbers.iter().filter_map(own_type);
    let common = match types.next() {
        // If bf16 and f32 are mixed, bf16 is read as f32.
        Some(DType::Bf16) if types.any(|other| other == DType::F32) => DType::F32,
        first => first.unwrap_or_else(literal),
    };
    let mut value = |arg: &Arg| match *arg {
        Arg::Current => worked(e, current, dtype),
        Arg::Operand(operand) => worked(e, operands.load(operand), call.operands[operand].dtype),
        Arg::Dequantized { operand, scale, zero_point } => {
            dequantized(e, operands.load(operand), call.operands[operand].dtype, scale, zero_point)
        }
        Arg::Float(x) if common.is_float() => e.splat(x, current.lanes),
        Arg::Float(x) => e.splat_int(x as i64, work_kind(common), current.lanes),
        Arg::Int(x) if common.is_float() => e.splat(x as f32, current.lanes),
        Arg::Int(x) => e.splat_int(x, work_kind(common), current.lanes),
    };
    let values: Vec<Vector<'ctx>> = args.iter().map(&mut value).collect();
    let truth = |mask| (e.widen(mask, Kind::I8, false), DType::Bool);
    let number = |worked| (cast::stored(e, worked, common), common);
    match function.meaning() {
        Meaning::Arithmetic { .. } if common.is_float() => number(function::float(e, function, &values)),
        Meaning::Arithmetic { .. } => number(function::integer(e, function, &values)),
        Meaning::Comparison { .. } => truth(e.compare(function::comparison(function), values[0], values[1], true)),
        Meaning::Logic(_) => number(function::logic(e, function, &values)),
        Meaning::Select => {
            let zero = e.zero(values[0].kind, current.lanes);
            number(e.select(e.compare(Compare::NotEqual, values[0], zero, true), values[1], values[2]))
        }
    }
}

//! Steps on vectors: what an epilogue's interpreter does element by element, done to a register of elements.

use eightfold_ir::{DType, Function};

use super::vector::{Emitter, Kind, Ptr, Vector};
use crate::program::{Arg, Call, Step};

/// What steps read besides the current numbers.
pub(crate) trait Operands<'ctx> {
    /// The elements of operand `index` of the call, as they are stored, at the coordinates of the current numbers.
    fn load(&mut self, index: usize) -> Vector<'ctx>;

    /// The address of the first element of operand `index`, a table.
    fn table(&self, index: usize) -> Ptr<'ctx>;
}

/// The lanes that elements of this type are stored in.
pub(crate) fn kind(dtype: DType) -> Kind {
    match dtype {
        DType::I4 | DType::U4 | DType::I8 | DType::U8 | DType::Bool => Kind::I8,
        DType::I16 | DType::U16 => Kind::I16,
        DType::I32 | DType::U32 => Kind::I32,
        DType::I64 | DType::U64 => Kind::I64,
        DType::F16 | DType::Bf16 => Kind::F16,
        DType::F32 => Kind::F32,
        DType::F64 => Kind::F64,
    }
}

/// The numbers that `call`'s steps make of `current`, which holds elements of type `dtype`; in lanes of the kind in which
/// the output stores them.
pub(crate) fn apply<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    mut current: Vector<'ctx>,
    mut dtype: DType,
    operands: &mut dyn Operands<'ctx>,
) -> Vector<'ctx> {
    for step in &call.steps {
        (current, dtype) = match step {
            Step::Cast(DType::F32) if dtype == DType::I32 => (e.to_float(current, Kind::F32, true), DType::F32),
            Step::Apply(function, args) => {
                let args: Vec<_> = args.iter().map(|arg| argument(e, call, current, *arg, operands)).collect();
                (float(e, *function, &args), dtype)
            }
            Step::Quantize { dtype: to, scale, zero_point, min, max } => {
                let scaled = match *scale {
                    1.0 => current,
                    scale => e.div(current, e.splat(scale, current.lanes)),
                };
                (e.narrow(e.quantize(scaled, *zero_point, *min, *max), kind(*to)), *to)
            }
            other => unreachable!("{other:?} on {dtype}"),
        };
    }
    current
}

fn argument<'ctx>(
    e: &Emitter<'_, 'ctx>,
    call: &Call,
    current: Vector<'ctx>,
    arg: Arg,
    operands: &mut dyn Operands<'ctx>,
) -> Vector<'ctx> {
    match arg {
        Arg::Current => current,
        Arg::Operand(index) => operands.load(index),
        Arg::Dequantized { operand, scale, zero_point } => {
            let signed = matches!(call.operands[operand].dtype, DType::I8 | DType::I32);
            let stored = e.widen(operands.load(operand), Kind::I32, signed);
            let centred = e.sub(stored, e.splat_int(zero_point.into(), Kind::I32, current.lanes));
            e.mul(e.to_float(centred, Kind::F32, true), e.splat(scale, current.lanes))
        }
        Arg::Float(x) => e.splat(x, current.lanes),
        Arg::Int(x) => e.splat_int(x, current.kind, current.lanes),
    }
}

fn float<'ctx>(e: &Emitter<'_, 'ctx>, function: Function, args: &[Vector<'ctx>]) -> Vector<'ctx> {
    let zero = e.zero(args[0].kind, args[0].lanes);
    match function {
        Function::Add => e.add(args[0], args[1]),
        Function::Mul => e.mul(args[0], args[1]),
        // The current number on the right, so that NaN stays.
        Function::Relu => e.max(zero, args[0]),
        Function::Clip => e.min(args[2], e.max(args[1], args[0])),
        other => unreachable!("{}", other.name()),
    }
}

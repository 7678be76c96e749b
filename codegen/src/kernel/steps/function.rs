//! The scalar functions, on vectors.

use eightfold_ir::Function;

use crate::kernel::math::{self, Arithmetic as _, Vectors};
use crate::vector::{Compare, Emitter, Kind, Vector};

/// Applies a function to lanes of f32. Long functions become calls once the kernel's code would grow too long.
pub(super) fn float<'ctx>(e: &Emitter<'_, 'ctx>, function: Function, args: &[Vector<'ctx>]) -> Vector<'ctx> {
    match math::LONG.contains(&function) && !e.has_room_for_long_code(args[0].lanes) {
        true => e.call_for_each_register(function.name(), args, &|e, args| float_in_place(e, function, args)),
        false => float_in_place(e, function, args),
    }
}

fn float_in_place<'ctx>(e: &Emitter<'_, 'ctx>, function: Function, args: &[Vector<'ctx>]) -> Vector<'ctx> {
    let x = args[0];
    let y = || args[1];
    let m = &Vectors { emitter: e, lanes: x.lanes };
    if let Some(result) = math::long(m, function, args) {
        return result;
    }
    let (zero, one) = (m.float(0.0), m.float(1.0));
    // The variable is the right operand, so that NaN is kept.
    let clip = |x, low, high| e.min(high, e.max(low, x));
    let sloped = |slope| e.select(e.compare(Compare::GreaterOrEqual, x, zero, true), x, e.mul(slope, x));
    match function {
        Function::Abs => e.fabs(x),
        Function::Add => e.add(x, y()),
        Function::Ceil => e.ceil(x),
        Function::Clip => clip(x, args[1], args[2]),
        Function::Div => e.div(x, y()),
        Function::Floor => e.floor(x),
        Function::HardSigmoid => clip(e.add(e.mul(args[1], x), args[2]), zero, one),
        Function::HardSwish => e.mul(x, clip(e.add(e.mul(x, m.float(1.0 / 6.0)), m.float(0.5)), zero, one)),
        Function::LeakyRelu | Function::Prelu => sloped(y()),
        Function::Max => e.select(e.is_nan(x), x, e.max(x, y())),
        Function::Min => e.select(e.is_nan(x), x, e.min(x, y())),
        Function::Mul => e.mul(x, y()),
        Function::MulAdd => e.fma(x, args[1], args[2]),
        Function::Neg => e.neg(x),
        Function::Reciprocal => e.div(one, x),
        Function::Relu => e.max(zero, x),
        Function::Round => e.round_even(x),
        Function::Sign => {
            let signed = e.compare(Compare::Less, zero, e.fabs(x), true);
            e.select(signed, m.with_sign(one, x), x)
        }
        Function::Softsign => e.div(x, e.add(one, e.fabs(x))),
        Function::Sqrt => e.sqrt(x),
        Function::Sub => e.sub(x, y()),
        other => unreachable!("{} is not arithmetic", other.name()),
    }
}

/// Applies a function to signed lanes of I32 or I64, before wrapping to a type.
pub(super) fn integer<'ctx>(e: &Emitter<'_, 'ctx>, function: Function, args: &[Vector<'ctx>]) -> Vector<'ctx> {
    let x = args[0];
    let y = || args[1];
    let zero = e.zero(x.kind, x.lanes);
    match function {
        Function::Abs => e.max(x, e.neg(x)),
        Function::Add => e.add(x, y()),
        Function::Clip => e.min(e.max(x, args[1]), args[2]),
        Function::Div => quotient(e, x, y()),
        Function::Max => e.max(x, y()),
        Function::Min => e.min(x, y()),
        Function::Mod => modulus(e, x, y()),
        Function::Mul => e.mul(x, y()),
        Function::Neg => e.neg(x),
        Function::Pow => power(e, x, y()),
        Function::Relu => e.max(x, zero),
        Function::Sign => {
            let below = e.widen(e.compare(Compare::Less, x, zero, true), x.kind, true);
            let above = e.widen(e.compare(Compare::Greater, x, zero, true), x.kind, false);
            e.or(below, above)
        }
        Function::Sub => e.sub(x, y()),
        other => unreachable!("{} has no meaning on integers", other.name()),
    }
}

/// The quotient, rounded towards zero; 0 if the divisor is 0 or the quotient does not fit 64 bits.
fn quotient<'ctx>(e: &Emitter<'_, 'ctx>, x: Vector<'ctx>, y: Vector<'ctx>) -> Vector<'ctx> {
    let int = |n| e.splat_int(n, x.kind, x.lanes);
    let equal = |a, b| e.compare(Compare::Equal, a, b, true);
    let (zero, minus) = (equal(y, int(0)), equal(y, int(-1)));
    let quotient = e.select(minus, e.neg(x), e.div(x, e.select(e.or(zero, minus), int(1), y)));
    let undefined = match x.kind {
        Kind::I64 => e.or(zero, e.and(minus, equal(x, int(i64::MIN)))),
        _ => zero,
    };
    e.select(undefined, int(0), quotient)
}

/// The remainder with the sign of the divisor; 0 if the divisor is 0.
fn modulus<'ctx>(e: &Emitter<'_, 'ctx>, x: Vector<'ctx>, y: Vector<'ctx>) -> Vector<'ctx> {
    let int = |n| e.splat_int(n, x.kind, x.lanes);
    let equal = |a, b| e.compare(Compare::Equal, a, b, true);
    // Every number is a multiple of -1, and dividing the least number by -1 overflows.
    let whole = e.or(equal(y, int(0)), equal(y, int(-1)));
    let rest = e.rem(x, e.select(whole, int(1), y));
    let crossed = e.compare(Compare::Less, e.xor(rest, y), int(0), true);
    let crossed = e.and(crossed, e.compare(Compare::NotEqual, rest, int(0), true));
    e.select(whole, int(0), e.select(crossed, e.add(rest, y), rest))
}

/// `x^y`, wrapping; 0 for negative y and for y beyond 32 bits.
fn power<'ctx>(e: &Emitter<'_, 'ctx>, x: Vector<'ctx>, y: Vector<'ctx>) -> Vector<'ctx> {
    let int = |n| e.splat_int(n, x.kind, x.lanes);
    let (mut result, mut base, mut left) = (int(1), x, y);
    for _ in 0..32 {
        let odd = e.compare(Compare::NotEqual, e.and(left, int(1)), int(0), true);
        result = e.select(odd, e.mul(result, base), result);
        base = e.mul(base, base);
        left = e.shift_right(left, int(1), false);
    }
    let small =
        e.and(e.compare(Compare::Equal, left, int(0), true), e.compare(Compare::GreaterOrEqual, y, int(0), true));
    e.select(small, result, int(0))
}

/// Logic on truth values in lanes of I32.
pub(super) fn logic<'ctx>(e: &Emitter<'_, 'ctx>, function: Function, args: &[Vector<'ctx>]) -> Vector<'ctx> {
    match function {
        Function::And => e.and(args[0], args[1]),
        Function::Not => e.sub(e.splat_int(1, args[0].kind, args[0].lanes), args[0]),
        Function::Or => e.or(args[0], args[1]),
        Function::Xor => e.xor(args[0], args[1]),
        other => unreachable!("{} is not logic", other.name()),
    }
}

/// The comparison that a function makes.
pub(super) fn comparison(function: Function) -> Compare {
    match function {
        Function::Equal => Compare::Equal,
        Function::Greater => Compare::Greater,
        Function::GreaterOrEqual => Compare::GreaterOrEqual,
        Function::Less => Compare::Less,
        Function::LessOrEqual => Compare::LessOrEqual,
        other => unreachable!("{} is not a comparison", other.name()),
    }
}

//! Arithmetic, comparisons, selection: one IEEE or two's complement operation per lane; and index arithmetic.

use inkwell::values::BasicValueEnum;
use inkwell::{FloatPredicate, IntPredicate};

use super::{Emitter, Int, Kind, Vector};
use crate::vector::built;

/// How two numbers are compared. With NaN, all comparisons but [`Compare::NotEqual`] are false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Rounding directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearest, half to even.
    Even,
    Down,
    Up,
    TowardsZero,
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $float:ident $int:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
            debug_assert_eq!((a.kind, a.lanes), (b.kind, b.lanes));
            let value = if a.kind.is_float() {
                built(self.builder.$float(a.value, b.value, ""))
            } else {
                built(self.builder.$int(a.value, b.value, ""))
            };
            self.vector(value, a.kind, a.lanes)
        }
    )*};
}

macro_rules! integer {
    ($($(#[$doc:meta])* $name:ident $int:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
            debug_assert_eq!((a.kind, a.lanes), (b.kind, b.lanes));
            self.vector(built(self.builder.$int(a.value, b.value, "")), a.kind, a.lanes)
        }
    )*};
}

macro_rules! intrinsics {
    ($($(#[$doc:meta])* $name:ident $intrinsic:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, a: Vector<'ctx>) -> Vector<'ctx> {
            self.lanewise($intrinsic, &[a])
        }
    )*};
}

macro_rules! roundings {
    ($($(#[$doc:meta])* $name:ident $rounding:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, a: Vector<'ctx>) -> Vector<'ctx> {
            debug_assert_eq!(a.kind, Kind::F32);
            self.isa().round(self, a, Rounding::$rounding)
        }
    )*};
}

impl<'ctx> Emitter<'_, 'ctx> {
    binary! {
        /// `a + b`; integers wrap.
        add build_float_add build_int_add;
        /// `a - b`; integers wrap.
        sub build_float_sub build_int_sub;
        /// `a * b`; integers wrap.
        mul build_float_mul build_int_mul;
        /// `a / b`; of integers the signed quotient towards zero, undefined for a zero divisor.
        div build_float_div build_int_signed_div;
        /// The remainder with the sign of `a`; undefined for an integer zero divisor. For floats this is a library
        /// call, so kernels must not use it.
        rem build_float_rem build_int_signed_rem;
    }

    integer! {
        /// Bitwise and.
        and build_and;
        /// Bitwise or.
        or build_or;
        /// Bitwise exclusive or.
        xor build_xor;
        /// `a << b`
        shift_left build_left_shift;
    }

    intrinsics! {
        /// The square root.
        sqrt "llvm.sqrt";
        /// The magnitude of a float.
        fabs "llvm.fabs";
    }

    roundings! {
        /// Rounds F32 down to an integral number.
        floor Down;
        /// Rounds F32 up to an integral number.
        ceil Up;
        /// Rounds F32 towards zero to an integral number.
        trunc TowardsZero;
        /// Rounds F32 to the nearest integral number, half to even.
        round_even Even;
    }

    /// `a >> b`, keeping the sign if `signed`.
    pub(crate) fn shift_right(&self, a: Vector<'ctx>, b: Vector<'ctx>, signed: bool) -> Vector<'ctx> {
        self.vector(built(self.builder.build_right_shift(a.value, b.value, signed, "")), a.kind, a.lanes)
    }

    /// `-a`; flips the sign of any float, including zero and NaN.
    pub(crate) fn neg(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        let value = if a.kind.is_float() {
            built(self.builder.build_float_neg(a.value, ""))
        } else {
            built(self.builder.build_int_neg(a.value, ""))
        };
        self.vector(value, a.kind, a.lanes)
    }

    /// `a b + c` of F32, rounded once. Only for float kernels: elsewhere each operation rounds.
    ///
    /// Without an instruction, it is composed of operations on F64. The product is exact. If the sum is inexact, its
    /// last bit is made odd; so it rounds to F32 like the exact sum (Boldo and Melquiond, *Emulation of FMA and
    /// correctly rounded sums: proved algorithms using rounding to odd*, 2008).
    pub(crate) fn fma(&self, a: Vector<'ctx>, b: Vector<'ctx>, c: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!(a.kind, Kind::F32);
        if self.target.fma {
            return self.lanewise("llvm.fma", &[a, b, c]);
        }
        let [a, b, c] = [a, b, c].map(|v| self.convert_float(v, Kind::F64));
        let product = self.mul(a, b);
        let sum = self.add(product, c);
        // The rounding error of the sum, by Knuth's TwoSum. For infinities it is NaN, and no comparison holds.
        let without = self.sub(sum, product);
        let rest = self.add(self.sub(product, self.sub(sum, without)), self.sub(c, without));
        let zero = self.zero(Kind::F64, a.lanes);
        let [less, greater] = [Compare::Less, Compare::Greater].map(|how| self.compare(how, rest, zero, true));
        let int = |x| self.splat_int(x, Kind::I64, a.lanes);
        let bits = self.bits_as(sum, Kind::I64);
        // A step towards zero subtracts one from the bits. An odd last bit stays.
        let towards_zero = self.xor(less, self.compare(Compare::Less, bits, int(0), true));
        let step = self.select(towards_zero, int(-1), int(1));
        let even = self.compare(Compare::Equal, self.and(bits, int(1)), int(0), true);
        let short = self.and(even, self.or(less, greater));
        let odd = self.select(short, self.add(bits, step), bits);
        self.convert_float(self.bits_as(odd, Kind::F64), Kind::F32)
    }

    /// `a b + c` in a reduction of F32 products: rounded once if there is an instruction, else twice.
    pub(crate) fn accumulate(&self, a: Vector<'ctx>, b: Vector<'ctx>, c: Vector<'ctx>) -> Vector<'ctx> {
        if self.target.fma { self.fma(a, b, c) } else { self.add(self.mul(a, b), c) }
    }

    /// `a < b ? a : b` of floats, which is `b` if either is NaN (`minps`); the minimum of signed integers.
    pub(crate) fn min(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        match a.kind.is_float() {
            true => self.select(self.compare(Compare::Less, a, b, true), a, b),
            false => self.lanewise("llvm.smin", &[a, b]),
        }
    }

    /// `a > b ? a : b` of floats, which is `b` if either is NaN (`maxps`); the maximum of signed integers.
    pub(crate) fn max(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        match a.kind.is_float() {
            true => self.select(self.compare(Compare::Greater, a, b, true), a, b),
            false => self.lanewise("llvm.smax", &[a, b]),
        }
    }

    /// The minimum of unsigned integers.
    pub(crate) fn min_unsigned(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.lanewise("llvm.umin", &[a, b])
    }

    /// The maximum of unsigned integers.
    pub(crate) fn max_unsigned(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.lanewise("llvm.umax", &[a, b])
    }

    /// Compares lane by lane; `signed` applies to integers.
    pub(crate) fn compare(&self, how: Compare, a: Vector<'ctx>, b: Vector<'ctx>, signed: bool) -> Vector<'ctx> {
        debug_assert_eq!((a.kind, a.lanes), (b.kind, b.lanes));
        let value = if a.kind.is_float() {
            let predicate = match how {
                Compare::Equal => FloatPredicate::OEQ,
                Compare::NotEqual => FloatPredicate::UNE,
                Compare::Less => FloatPredicate::OLT,
                Compare::LessOrEqual => FloatPredicate::OLE,
                Compare::Greater => FloatPredicate::OGT,
                Compare::GreaterOrEqual => FloatPredicate::OGE,
            };
            built(self.builder.build_float_compare(predicate, a.value, b.value, ""))
        } else {
            built(self.builder.build_int_compare(int_predicate(how, signed), a.value, b.value, ""))
        };
        self.vector(value, Kind::Mask, a.lanes)
    }

    /// A mask of the lanes that are NaN.
    pub(crate) fn is_nan(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.vector(
            built(self.builder.build_float_compare(FloatPredicate::UNO, a.value, a.value, "")),
            Kind::Mask,
            a.lanes,
        )
    }

    /// `a` if the mask holds, else `b`.
    pub(crate) fn select(&self, mask: Vector<'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((mask.kind, a.kind), (Kind::Mask, b.kind));
        self.vector(built(self.builder.build_select(mask.value, a.value, b.value, "")), a.kind, a.lanes)
    }

    /// An index or a count as a constant.
    pub(crate) fn int(&self, x: usize) -> Int<'ctx> {
        Int(self.context.i64_type().const_int(x as u64, false))
    }

    /// A distance as a constant.
    pub(crate) fn signed(&self, x: isize) -> Int<'ctx> {
        Int(self.context.i64_type().const_int(x as u64, true))
    }

    /// `a + b`
    pub(crate) fn plus(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        Int(built(self.builder.build_int_add(a.0, b.0, "")))
    }

    /// `a - b`
    pub(crate) fn minus(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        Int(built(self.builder.build_int_sub(a.0, b.0, "")))
    }

    /// `a * b`
    pub(crate) fn times(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        Int(built(self.builder.build_int_mul(a.0, b.0, "")))
    }

    /// `a * by`
    pub(crate) fn scale(&self, a: Int<'ctx>, by: isize) -> Int<'ctx> {
        Int(built(self.builder.build_int_mul(a.0, self.signed(by).0, "")))
    }

    /// The quotient and the remainder of `a`, which must not be negative, by a constant.
    pub(crate) fn quotient(&self, a: Int<'ctx>, by: usize) -> (Int<'ctx>, Int<'ctx>) {
        let by = self.int(by).0;
        let quotient = built(self.builder.build_int_unsigned_div(a.0, by, ""));
        (Int(quotient), Int(built(self.builder.build_int_unsigned_rem(a.0, by, ""))))
    }

    /// The minimum of two indices.
    pub(crate) fn lesser(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        self.choose(self.holds(Compare::Less, a, b), a, b)
    }

    /// The maximum of two indices.
    pub(crate) fn greater(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        self.choose(self.holds(Compare::Greater, a, b), a, b)
    }

    /// `a` if the condition holds, else `b`.
    pub(crate) fn choose(&self, condition: super::Condition<'ctx>, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        match built(self.builder.build_select(condition.0, a.0, b.0, "")) {
            BasicValueEnum::IntValue(value) => Int(value),
            _ => unreachable!("a choice between integers is one"),
        }
    }

    /// Compares two indices as signed numbers.
    pub(crate) fn holds(&self, how: Compare, a: Int<'ctx>, b: Int<'ctx>) -> super::Condition<'ctx> {
        super::Condition(built(self.builder.build_int_compare(int_predicate(how, true), a.0, b.0, "")))
    }
}

fn int_predicate(how: Compare, signed: bool) -> IntPredicate {
    match (how, signed) {
        (Compare::Equal, _) => IntPredicate::EQ,
        (Compare::NotEqual, _) => IntPredicate::NE,
        (Compare::Less, true) => IntPredicate::SLT,
        (Compare::LessOrEqual, true) => IntPredicate::SLE,
        (Compare::Greater, true) => IntPredicate::SGT,
        (Compare::GreaterOrEqual, true) => IntPredicate::SGE,
        (Compare::Less, false) => IntPredicate::ULT,
        (Compare::LessOrEqual, false) => IntPredicate::ULE,
        (Compare::Greater, false) => IntPredicate::UGT,
        (Compare::GreaterOrEqual, false) => IntPredicate::UGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llvm::trial;

    #[test]
    fn fused_multiply_add_rounds_once_on_every_target() {
        let (tiny, near) = (f32::from_bits(1), 1.0 + f32::EPSILON);
        // Some sums are so close to a tie that f64 cannot represent the difference.
        let mut cases = vec![
            [1.0, 1.0, 1.0],
            [near, near, -1.0],
            [1.0, near, f32::EPSILON / 2.0],
            [f32::from_bits(0x3f80_0001), f32::from_bits(0x3380_0000), 1.0],
            [-0.0, 1.0, -0.0],
            [-0.0, 1.0, 0.0],
            [f32::MAX, 2.0, f32::NEG_INFINITY],
            [f32::MAX, 2.0, -f32::MAX],
            [f32::MAX, f32::MAX, 0.0],
            [f32::INFINITY, 0.0, 1.0],
            [f32::NAN, 1.0, 1.0],
            [tiny, tiny, 1.0],
            [tiny, -tiny, 1.0],
            [tiny, tiny, f32::MIN_POSITIVE],
            [tiny, 0.5, 0.0],
            [tiny, 0.5, tiny],
        ];
        // Random numbers of few bits with distant exponents, whose sums are close to ties.
        let mut numbers = trial::Numbers(7);
        let mut one = |span: i32| {
            let mantissa = numbers.between(0, 7) << 20 | numbers.between(0, 7);
            let exponent = 127 + numbers.between(-span, span);
            f32::from_bits((numbers.between(0, 1) << 31 | exponent << 23 | mantissa) as u32)
        };
        cases.extend((0..40_000).map(|_| [one(15), one(15), one(40)]));
        let bytes: Vec<Vec<u8>> =
            (0..3).map(|arg| cases.iter().flat_map(|case| case[arg].to_le_bytes()).collect()).collect();
        for target in trial::targets() {
            let left = trial::run(target, &[&bytes[0], &bytes[1], &bytes[2], &bytes[0]], |e, p| {
                e.repeat(e.int(cases.len() / 8), |turn| {
                    let at = |pointer| e.offset_by(pointer, e.scale(turn, 32));
                    let [a, b, c] = [p[0], p[1], p[2]].map(|pointer| e.load(at(pointer), Kind::F32, 8));
                    e.store(at(p[3]), e.fma(a, b, c));
                });
            });
            let found = trial::floats(&left[3]);
            for ([a, b, c], found) in cases.iter().zip(found) {
                let expected = a.mul_add(*b, *c);
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "{}: {a:e} * {b:e} + {c:e} = {found:e}, not {expected:e}", target.name);
            }
        }
    }
}

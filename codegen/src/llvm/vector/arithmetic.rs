//! Arithmetic, comparison, choice: one IEEE or two's complement operation a lane, and index arithmetic.

use inkwell::values::BasicValueEnum;
use inkwell::{FloatPredicate, IntPredicate};

use super::{Emitter, Int, Kind, Vector};
use crate::llvm::built;

/// How two numbers are compared. Comparisons with NaN are false but [`Compare::NotEqual`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
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

impl<'ctx> Emitter<'_, 'ctx> {
    binary! {
        /// `a + b`; integers wrap.
        add build_float_add build_int_add;
        /// `a - b`; integers wrap.
        sub build_float_sub build_int_sub;
        /// `a * b`; integers wrap.
        mul build_float_mul build_int_mul;
        /// `a / b`; of integers the signed quotient towards zero, not for a zero divisor.
        div build_float_div build_int_signed_div;
        /// The remainder with the sign of `a`; not for an integer zero divisor. Of floats a libcall: not for kernels.
        rem build_float_rem build_int_signed_rem;
    }

    integer! {
        /// Bits of both.
        and build_and;
        /// Bits of either.
        or build_or;
        /// Bits of exactly one.
        xor build_xor;
        /// `a` shifted towards the high end by `b` bits.
        shift_left build_left_shift;
    }

    intrinsics! {
        /// The square root.
        sqrt "llvm.sqrt";
        /// The magnitude of a float.
        fabs "llvm.fabs";
        /// The greatest integral float not above.
        floor "llvm.floor";
        /// The least integral float not below.
        ceil "llvm.ceil";
        /// The integral float towards zero.
        trunc "llvm.trunc";
        /// The nearest integral float, halves to even.
        round_even "llvm.roundeven";
    }

    /// `a` shifted towards the low end by `b` bits, keeping the sign if `signed`.
    pub(crate) fn shift_right(&self, a: Vector<'ctx>, b: Vector<'ctx>, signed: bool) -> Vector<'ctx> {
        self.vector(built(self.builder.build_right_shift(a.value, b.value, signed, "")), a.kind, a.lanes)
    }

    /// `-a`; of a float the other sign, whatever it is.
    pub(crate) fn neg(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        let value = if a.kind.is_float() {
            built(self.builder.build_float_neg(a.value, ""))
        } else {
            built(self.builder.build_int_neg(a.value, ""))
        };
        self.vector(value, a.kind, a.lanes)
    }

    /// `a b + c` rounded once. Only for float kernels: elsewhere each operation rounds.
    pub(crate) fn fma(&self, a: Vector<'ctx>, b: Vector<'ctx>, c: Vector<'ctx>) -> Vector<'ctx> {
        self.lanewise("llvm.fma", &[a, b, c])
    }

    /// `a < b ? a : b` of floats, which is `b` where either is NaN (`minps`); the lesser signed integer.
    pub(crate) fn min(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        match a.kind.is_float() {
            true => self.select(self.compare(Compare::Less, a, b, true), a, b),
            false => self.lanewise("llvm.smin", &[a, b]),
        }
    }

    /// `a > b ? a : b` of floats, which is `b` where either is NaN (`maxps`); the greater signed integer.
    pub(crate) fn max(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        match a.kind.is_float() {
            true => self.select(self.compare(Compare::Greater, a, b, true), a, b),
            false => self.lanewise("llvm.smax", &[a, b]),
        }
    }

    /// The lesser integer without sign.
    pub(crate) fn min_unsigned(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.lanewise("llvm.umin", &[a, b])
    }

    /// The greater integer without sign.
    pub(crate) fn max_unsigned(&self, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        self.lanewise("llvm.umax", &[a, b])
    }

    /// Which lanes compare so; `signed` counts for integers.
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

    /// Which lanes are NaN.
    pub(crate) fn is_nan(&self, a: Vector<'ctx>) -> Vector<'ctx> {
        self.vector(
            built(self.builder.build_float_compare(FloatPredicate::UNO, a.value, a.value, "")),
            Kind::Mask,
            a.lanes,
        )
    }

    /// `a` where the mask holds, else `b`.
    pub(crate) fn select(&self, mask: Vector<'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        debug_assert_eq!((mask.kind, a.kind), (Kind::Mask, b.kind));
        self.vector(built(self.builder.build_select(mask.value, a.value, b.value, "")), a.kind, a.lanes)
    }

    /// This index or count.
    pub(crate) fn int(&self, x: usize) -> Int<'ctx> {
        Int(self.context.i64_type().const_int(x as u64, false))
    }

    /// This distance.
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

    /// The quotient and remainder of `a`, not negative, by a constant.
    pub(crate) fn quotient(&self, a: Int<'ctx>, by: usize) -> (Int<'ctx>, Int<'ctx>) {
        let by = self.int(by).0;
        let quotient = built(self.builder.build_int_unsigned_div(a.0, by, ""));
        (Int(quotient), Int(built(self.builder.build_int_unsigned_rem(a.0, by, ""))))
    }

    /// The lesser of two indices.
    pub(crate) fn lesser(&self, a: Int<'ctx>, b: Int<'ctx>) -> Int<'ctx> {
        self.choose(self.holds(Compare::Less, a, b), a, b)
    }

    /// The greater of two indices.
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

    /// Whether two indices, as signed numbers, compare so.
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

//! Elementary functions on f32, composed of single IEEE operations.
//!
//! Each function is written once, over the verbs of [`Arithmetic`]. Generated code evaluates it on vectors, the tests
//! on single numbers. Both give the same bits, on every target: fused multiply-add is used exactly where it is written
//! here, and targets without this instruction compose it from others. There are no calls. The only table and the only
//! branch are in the reduction of large arguments of sine and cosine.
//!
//! Errors are in units of the last place (ulp) of the exact result, for all arguments unless stated otherwise.
//! Infinities, zeros and NaN give the results of C. The coefficients are our own minimax fits (Remez), each with the
//! relative error of the fit. Bit patterns of NaN are not defined.
//!
//! The ranges are reduced as in Cody and Waite, *Software Manual for the Elementary Functions* (1980).

mod arctangent;
mod pow;
mod trigonometric;
mod vectors;

use eightfold_ir::Function;

pub(crate) use self::arctangent::atan;
pub(crate) use self::pow::{fmod, pow};
pub(crate) use self::trigonometric::{cos, sin};
pub(crate) use self::vectors::Vectors;

/// Turns each row `Function => definition(arguments);` into an entry of [`LONG`] and an arm of [`long`].
macro_rules! long_functions {
    ($($function:ident => $definition:ident($($arg:ident),*);)*) => {
        /// The scalar functions that take dozens of instructions. Steps, the limit on a kernel's code size, and the
        /// cost model use this list.
        pub(crate) const LONG: &[Function] = &[$(Function::$function),*];

        /// A function of [`LONG`]; `None` for all others.
        pub(crate) fn long<A: Arithmetic>(a: &A, function: Function, args: &[A::F]) -> Option<A::F> {
            match (function, args) {
                $((Function::$function, &[$($arg),*, ..]) => Some($definition(a, $($arg),*)),)*
                _ => None,
            }
        }
    };
}

long_functions! {
    Atan => atan(x);
    Cos => cos(x);
    Elu => elu(x, alpha);
    Erf => erf(x);
    Exp => exp(x);
    Gelu => gelu(x);
    Log => log(x);
    Mod => fmod(x, y);
    Pow => pow(x, y);
    Sigmoid => sigmoid(x);
    Silu => silu(x);
    Sin => sin(x);
    Softplus => softplus(x);
    Tanh => tanh(x);
}

/// Elementwise verbs on numbers or on vectors of numbers. Each is one IEEE operation.
pub(crate) trait Arithmetic {
    /// f32.
    type F: Copy;
    /// i32, with as many lanes as `F`.
    type I: Copy;
    /// Truth values, with as many lanes as `F`.
    type M: Copy;

    /// `x` in every lane.
    fn float(&self, x: f32) -> Self::F;
    /// `x` in every lane.
    fn int(&self, x: i32) -> Self::I;
    /// `a + b`
    fn add(&self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(&self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(&self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(&self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(&self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The nearest integer towards zero.
    fn trunc(&self, a: Self::F) -> Self::F;
    /// `a < b`; false for NaN.
    fn less(&self, a: Self::F, b: Self::F) -> Self::M;
    /// `a == b`; false for NaN.
    fn equal(&self, a: Self::F, b: Self::F) -> Self::M;
    /// Logical and.
    fn both(&self, a: Self::M, b: Self::M) -> Self::M;
    /// `yes` if `m`, else `no`.
    fn select(&self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F;
    /// The bits of `a`.
    fn bits(&self, a: Self::F) -> Self::I;
    /// The number with these bits.
    fn of_bits(&self, a: Self::I) -> Self::F;
    /// `yes` if `m`, else `no`.
    fn select_int(&self, m: Self::M, yes: Self::I, no: Self::I) -> Self::I;
    /// The float nearest to the integer.
    fn of_int(&self, a: Self::I) -> Self::F;
    /// `a + b`, wrapping.
    fn add_int(&self, a: Self::I, b: Self::I) -> Self::I;
    /// `a - b`, wrapping.
    fn sub_int(&self, a: Self::I, b: Self::I) -> Self::I;
    /// The lower 32 bits of `a * b`.
    fn mul_int(&self, a: Self::I, b: Self::I) -> Self::I;
    /// The upper 32 bits of `a * b`, both unsigned.
    fn mul_high(&self, a: Self::I, b: Self::I) -> Self::I;
    /// `a < b`, both unsigned.
    fn below(&self, a: Self::I, b: Self::I) -> Self::M;
    /// Bitwise and.
    fn and(&self, a: Self::I, b: Self::I) -> Self::I;
    /// Bitwise exclusive or.
    fn xor(&self, a: Self::I, b: Self::I) -> Self::I;
    /// `a << by`
    fn shift_left(&self, a: Self::I, by: u32) -> Self::I;
    /// `a >> by`, keeping the sign.
    fn shift_right(&self, a: Self::I, by: u32) -> Self::I;
    /// `table[index]`; every index lies within the table.
    fn entry(&self, table: &'static [u32], index: Self::I) -> Self::I;
    /// `rare` if `m`, else `usual`. `rare` is not evaluated if no lane of `m` holds.
    fn rarely(
        &self,
        m: Self::M,
        usual: (Self::I, Self::F),
        rare: impl FnOnce() -> (Self::I, Self::F),
    ) -> (Self::I, Self::F);

    /// `sum of coefficients[i] x^i`, by Horner's method.
    fn polynomial(&self, x: Self::F, coefficients: &[f32]) -> Self::F {
        let (last, rest) = coefficients.split_last().expect("a polynomial has coefficients");
        rest.iter().rev().fold(self.float(*last), |sum, c| self.fma(sum, x, self.float(*c)))
    }

    /// `-a`
    fn neg(&self, a: Self::F) -> Self::F {
        self.of_bits(self.xor(self.bits(a), self.int(i32::MIN)))
    }

    /// `|a|`
    fn abs(&self, a: Self::F) -> Self::F {
        self.of_bits(self.and(self.bits(a), self.int(i32::MAX)))
    }

    /// `a` if `sign` is positive, `-a` if it is negative.
    fn with_sign(&self, a: Self::F, sign: Self::F) -> Self::F {
        self.of_bits(self.xor(self.bits(a), self.and(self.bits(sign), self.int(i32::MIN))))
    }

    /// The minimum of `a` and `high`; NaN stays NaN.
    fn at_most(&self, a: Self::F, high: f32) -> Self::F {
        let high = self.float(high);
        self.select(self.less(high, a), high, a)
    }

    /// The maximum of `a` and `low`; NaN stays NaN.
    fn at_least(&self, a: Self::F, low: f32) -> Self::F {
        let low = self.float(low);
        self.select(self.less(a, low), low, a)
    }
}

/// A number below 2^22 plus this constant has the nearest integer in its low bits.
const ROUNDER: f32 = 12_582_912.0;
const LN2: f32 = std::f32::consts::LN_2;
const EXP_MINUS_32: f32 = 1.266_416_6e-14;
/// ln 2 minus its value in f32.
const LN2_LOW: f32 = -1.904_654_3e-9;

/// `(exp(r) - 1 - r) / r^2` for |r| <= ln(2)/2, 2^-28.8.
const EXPM1: [f32; 6] = [0.5, 0.166_666_51, 0.041_666_51, 0.008_337_526, 0.001_393_045, 0.000_173_660_24];

/// `(log(1 + f) - f + f^2/2) / f^3` for sqrt(1/2) <= 1 + f <= sqrt(2), 2^-28 of the logarithm.
const LOG1P: [f32; 9] = [
    0.333_333_13,
    -0.250_000_1,
    0.200_021_34,
    -0.166_680_07,
    0.142_192_25,
    -0.124_051_36,
    0.118_903_24,
    -0.116_796_52,
    0.067_465_96,
];

/// `erf(x) / x - 1` in `x^2` for |x| <= 0.92, 2^-30.
const ERF: [f32; 7] =
    [0.128_379_17, -0.376_126_3, 0.112_836_26, -0.026_855_73, 0.005_192_393, -0.000_804_953_04, 0.000_079_951_76];

/// `-log(1 - erf(x))` for x from 0.92 to 4, 2^-33 of erf.
const ERFC: [f32; 8] = [
    -0.000_174_686_56,
    1.129_514_9,
    0.633_346_9,
    0.108_280_08,
    -0.025_119_439,
    0.004_171_09,
    -0.000_434_478,
    0.000_021_097_927,
];

/// `x = n ln(2) + r` with an integer n and |r| at most ln(2)/2, plus rounding; returns n and r.
fn by_ln2<A: Arithmetic>(a: &A, x: A::F) -> (A::I, A::F) {
    let t = a.fma(x, a.float(std::f32::consts::LOG2_E), a.float(ROUNDER));
    let n = a.sub(t, a.float(ROUNDER));
    let r = a.fma(n, a.float(-LN2), x);
    let r = a.fma(n, a.float(-LN2_LOW), r);
    (a.sub_int(a.bits(t), a.int(ROUNDER.to_bits() as i32)), r)
}

/// `exp(r) - 1` for |r| <= ln(2)/2.
fn expm1_reduced<A: Arithmetic>(a: &A, r: A::F) -> A::F {
    a.fma(a.mul(r, r), a.polynomial(r, &EXPM1), r)
}

/// `2^n` for n from -126 to 127.
fn power_of_two<A: Arithmetic>(a: &A, n: A::I) -> A::F {
    a.of_bits(a.shift_left(a.add_int(n, a.int(127)), 23))
}

/// `x 2^n` for n from -252 to 254, in two multiplications, so that it overflows and underflows only if the result does.
fn scaled<A: Arithmetic>(a: &A, x: A::F, n: A::I) -> A::F {
    let half = a.shift_right(n, 1);
    a.mul(a.mul(x, power_of_two(a, half)), power_of_two(a, a.sub_int(n, half)))
}

/// The exponential, within 1 ulp.
pub(crate) fn exp<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    // Beyond these bounds the result is 0 or infinite.
    let x = a.at_most(a.at_least(x, -104.0), 89.0);
    let (n, r) = by_ln2(a, x);
    scaled(a, a.add(expm1_reduced(a, r), a.float(1.0)), n)
}

/// `exp(x) - 1`, within 2 ulp; 0 for -0.
pub(crate) fn expm1<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let x = a.at_most(a.at_least(x, -18.0), 89.0);
    let (n, r) = by_ln2(a, x);
    // 2^n p + 2^n - 1, computed with 2^n / 2, which does not overflow.
    let half = power_of_two(a, a.sub_int(n, a.int(1)));
    let y = a.fma(half, expm1_reduced(a, r), a.sub(half, a.float(0.5)));
    a.add(y, y)
}

/// `log(2^e (1 + f))` for sqrt(1/2) <= 1 + f <= sqrt(2).
fn log_reduced<A: Arithmetic>(a: &A, e: A::F, f: A::F) -> A::F {
    let tail = a.fma(f, a.polynomial(f, &LOG1P), a.float(-0.5));
    let low = a.fma(a.mul(f, f), tail, a.mul(e, a.float(LN2_LOW)));
    a.fma(e, a.float(LN2), a.add(low, f))
}

/// `x = 2^e (1 + f)` for positive finite x; returns e and 1 + f.
fn decomposed<A: Arithmetic>(a: &A, x: A::F) -> (A::F, A::F) {
    let tiny = a.less(x, a.float(f32::MIN_POSITIVE));
    let x = a.select(tiny, a.mul(x, a.float(8_388_608.0)), x);
    let root = a.int(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let e = a.shift_right(a.sub_int(a.bits(x), root), 23);
    let m = a.of_bits(a.sub_int(a.bits(x), a.shift_left(e, 23)));
    (a.add(a.of_int(e), a.select(tiny, a.float(-23.0), a.float(0.0))), m)
}

/// The natural logarithm, within 2 ulp.
pub(crate) fn log<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let (e, m) = decomposed(a, x);
    let y = log_reduced(a, e, a.sub(m, a.float(1.0)));
    let (zero, infinite) = (a.float(0.0), a.float(f32::INFINITY));
    let y = a.select(a.equal(x, infinite), infinite, y);
    let pole = a.select(a.equal(x, zero), a.float(f32::NEG_INFINITY), a.float(f32::NAN));
    a.select(a.less(zero, x), y, pole)
}

/// `log(1 + x)` for x from 0 to 1, within 2 ulp.
fn log1p_of_unit<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let one = a.float(1.0);
    let small = a.less(x, a.float(std::f32::consts::SQRT_2 - 1.0));
    let f = a.select(small, x, a.mul(a.sub(x, one), a.float(0.5)));
    log_reduced(a, a.select(small, a.float(0.0), one), f)
}

/// The hyperbolic tangent, within 3 ulp.
pub(crate) fn tanh<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let magnitude = a.at_most(a.abs(x), 10.0);
    let e = expm1(a, a.add(magnitude, magnitude));
    a.with_sign(a.div(e, a.add(e, a.float(2.0))), x)
}

/// `1 / (1 + exp(-x))`, within 3 ulp.
pub(crate) fn sigmoid<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let e = exp(a, a.neg(a.abs(x)));
    let one = a.float(1.0);
    a.div(a.select(a.less(x, a.float(0.0)), e, one), a.add(e, one))
}

/// `x sigmoid(x)`, within 3 ulp.
pub(crate) fn silu<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    // x / (1 + exp(-x)). Below -64 the 1 is negligible, so a factor of exp(-32) can be taken out: exp(-x) would
    // overflow although the result is still a normal number.
    let far = a.less(x, a.float(-64.0));
    let exponent = a.sub(a.neg(x), a.select(far, a.float(32.0), a.float(0.0)));
    let y = a.div(x, a.add(exp(a, exponent), a.float(1.0)));
    a.mul(y, a.select(far, a.float(EXP_MINUS_32), a.float(1.0)))
}

/// `x` if x >= 0, else `alpha (exp(x) - 1)`; within 3 ulp if x and the result are normal numbers.
pub(crate) fn elu<A: Arithmetic>(a: &A, x: A::F, alpha: A::F) -> A::F {
    a.select(a.less(x, a.float(0.0)), a.mul(alpha, expm1(a, x)), x)
}

/// The error function, within 2 ulp.
pub(crate) fn erf<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let near = a.fma(x, a.polynomial(a.mul(x, x), &ERF), x);
    let magnitude = a.abs(x);
    let exponent = a.polynomial(a.at_most(magnitude, 4.0), &ERFC);
    let far = a.sub(a.float(1.0), exp(a, a.neg(exponent)));
    a.select(a.less(magnitude, a.float(0.92)), near, a.with_sign(far, x))
}

/// `x/2 (1 + erf(x / sqrt(2)))`, within 2^-23 of `|x|`.
pub(crate) fn gelu<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let e = erf(a, a.mul(x, a.float(std::f32::consts::FRAC_1_SQRT_2)));
    a.mul(a.mul(x, a.float(0.5)), a.add(e, a.float(1.0)))
}

/// `log(1 + exp(x))`, within 2 ulp.
pub(crate) fn softplus<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let tail = log1p_of_unit(a, exp(a, a.neg(a.abs(x))));
    a.add(a.at_least(x, 0.0), tail)
}

#[cfg(test)]
mod tests;

//! Powers, and the remainder of a division.

use super::{Arithmetic, LN2, ROUNDER, decomposed, expm1_reduced, scaled};

/// `2 / ln(2)` as a sum of two numbers.
const TWO_LOG2_E: [f32; 2] = [2.885_39, 3.851_926e-8];

/// `(atanh(s) - s) / s^3` in `s^2` for |s| <= 0.172, 2^-35 of atanh.
const ATANH: [f32; 4] = [0.333_333_3, 0.200_004_86, 0.142_493_98, 0.121_393_405];

/// `x` to the power `y`, within 3 ulp.
///
/// `2^(y log2(x))`; the logarithm and its product with y are sums of two numbers.
pub(crate) fn pow<A: Arithmetic>(a: &A, x: A::F, y: A::F) -> A::F {
    let (zero, one, infinite) = (a.float(0.0), a.float(1.0), a.float(f32::INFINITY));
    let magnitude = a.abs(x);
    let power = power_of_positive(a, magnitude, y);
    let falling = a.less(y, zero);
    let power = a.select(a.equal(magnitude, zero), a.select(falling, infinite, zero), power);
    let power = a.select(a.equal(magnitude, infinite), a.select(falling, zero, infinite), power);
    let power = a.select(a.equal(magnitude, one), one, power);

    // Negative numbers have integer powers only; odd powers are negative.
    let whole = a.equal(a.trunc(y), y);
    let half = a.mul(y, a.float(0.5));
    let even = a.equal(a.trunc(half), half);
    let signed = a.select(even, power, a.with_sign(power, x));
    let fractional = a.select(a.equal(magnitude, infinite), power, a.float(f32::NAN));
    let power = a.select(whole, signed, a.select(a.less(x, zero), fractional, power));

    let numbers = a.both(a.equal(x, x), a.equal(y, y));
    let power = a.select(numbers, power, a.float(f32::NAN));
    let power = a.select(a.equal(y, zero), one, power);
    a.select(a.equal(x, one), one, power)
}

/// `x^y` for positive finite x.
fn power_of_positive<A: Arithmetic>(a: &A, x: A::F, y: A::F) -> A::F {
    let (log_high, log_low) = log2(a, x);
    let product = a.mul(y, log_high);
    let rest = a.fma(y, log_low, a.fma(y, log_high, a.neg(product)));
    // Beyond these bounds the result is 0 or infinite. The rest may then be inf - inf, so it is replaced by 0.
    let clamped = a.at_most(a.at_least(product, -200.0), 200.0);
    let rest = a.select(a.equal(clamped, product), rest, a.float(0.0));
    let t = a.add(clamped, a.float(ROUNDER));
    let n = a.sub_int(a.bits(t), a.int(ROUNDER.to_bits() as i32));
    let r = a.add(a.sub(clamped, a.sub(t, a.float(ROUNDER))), rest);
    scaled(a, a.add(expm1_reduced(a, a.mul(r, a.float(LN2))), a.float(1.0)), n)
}

/// The logarithm to base 2 of positive finite x, a sum of two numbers, to about 2^-31.
fn log2<A: Arithmetic>(a: &A, x: A::F) -> (A::F, A::F) {
    let one = a.float(1.0);
    let (e, m) = decomposed(a, x);
    // s = (m - 1) / (m + 1) as a sum: the rounded quotient, and the remainder divided by m + 1.
    let difference = a.sub(m, one);
    let divisor = a.add(m, one);
    let divisor_low = a.sub(m, a.sub(divisor, one));
    let s = a.div(difference, divisor);
    let left = a.fma(a.neg(s), divisor_low, a.fma(a.neg(s), divisor, difference));
    let s_low = a.div(left, divisor);
    let square = a.mul(s, s);
    let tail = a.fma(a.mul(square, s), a.polynomial(square, &ATANH), s_low);
    let [factor, factor_low] = TWO_LOG2_E.map(|c| a.float(c));
    let high = a.mul(s, factor);
    let low = a.fma(s, factor_low, a.fma(s, factor, a.neg(high)));
    let low = a.fma(tail, factor, low);
    // Either |e| >= 1 or e = 0, as `sum` requires.
    let (total, rest) = sum(a, e, high);
    sum(a, total, a.add(rest, low))
}

/// `x + y` and its rounding error, if x is 0 or |x| >= |y| (Dekker's fast two-sum).
fn sum<A: Arithmetic>(a: &A, x: A::F, y: A::F) -> (A::F, A::F) {
    let total = a.add(x, y);
    (total, a.add(a.sub(x, total), y))
}

/// The remainder of `x / y` with the sign of `x` (C `fmod`), exact.
///
/// Long division, 22 bits of the quotient at a time. `r - q b` is exact if it is less than `b`, and also if rounding
/// has made the quotient one too large.
pub(crate) fn fmod<A: Arithmetic>(a: &A, x: A::F, y: A::F) -> A::F {
    let (zero, infinite) = (a.float(0.0), a.float(f32::INFINITY));
    let divisor = a.abs(y);
    let mut rest = a.abs(x);
    for power in (0..=12).rev().map(|digit| digit * 22) {
        let step = |power: i32| a.float(f32::from_bits(((power + 127) as u32) << 23));
        let third = power / 3;
        // 2^power, which subnormal divisors need, exceeds the range of f32: it is applied as three factors.
        let scaled = [third, third, power - 2 * third].iter().fold(divisor, |d, p| a.mul(d, step(*p)));
        let quotient = a.trunc(a.div(rest, scaled));
        let left = a.fma(a.neg(quotient), scaled, rest);
        let left = a.select(a.less(left, zero), a.add(left, scaled), left);
        rest = a.select(a.less(rest, scaled), rest, left);
    }
    let defined = a.both(a.less(a.abs(x), infinite), a.less(zero, divisor));
    a.select(defined, a.with_sign(rest, x), a.float(f32::NAN))
}

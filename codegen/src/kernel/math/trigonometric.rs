//! Sine and cosine of radians.

use super::{Arithmetic, ROUNDER};

/// Pi/2 as a sum of three numbers, to 72 bits.
const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];

/// `(sin(r) - r) / r^3` in `r^2` for |r| <= pi/4, 2^-32.
const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_379, -0.000_198_530_05, 0.000_002_831_241_3];

/// `(cos(r) - 1 + r^2/2) / r^4` in `r^2` for |r| <= pi/4, 2^-33.
const COS: [f32; 3] = [0.041_666_646, -0.001_388_730_1, 0.000_024_430_668];

/// Arguments up to this magnitude are reduced with [`HALF_PI`], larger ones with [`TWO_OVER_PI`].
const NEAR: f32 = 131_072.0;

/// The first 192 bits of 2/pi after the binary point, in bytes.
const TWO_OVER_PI_BYTES: [u8; 24] = [
    0xa2, 0xf9, 0x83, 0x6e, 0x4e, 0x44, 0x15, 0x29, 0xfc, 0x27, 0x57, 0xd1, 0xf5, 0x34, 0xdd, 0xc0, 0xdb, 0x62, 0x95,
    0x99, 0x3c, 0x43, 0x90, 0x41,
];

/// Entry `k` holds the 32 bits of 2/pi that end with byte `k`.
static TWO_OVER_PI: [u32; 24] = {
    let mut words = [0; 24];
    let mut k = 0;
    while k < 24 {
        let before = if k == 0 { 0 } else { words[k - 1] << 8 };
        words[k] = before | TWO_OVER_PI_BYTES[k] as u32;
        k += 1;
    }
    words
};

/// Sine, within 2 ulp.
pub(crate) fn sin<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    a.with_sign(by_quadrant(a, a.abs(x), 0), x)
}

/// Cosine, within 2 ulp.
pub(crate) fn cos<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    by_quadrant(a, a.abs(x), 1)
}

/// `sin(x + quarters pi/2)` for x >= 0.
fn by_quadrant<A: Arithmetic>(a: &A, x: A::F, quarters: i32) -> A::F {
    let far = a.less(a.float(NEAR), x);
    let (n, r) = a.rarely(far, near_reduced(a, x), || far_reduced(a, x));
    let square = a.mul(r, r);
    let sine = a.fma(a.mul(square, r), a.polynomial(square, &SIN), r);
    let tail = a.fma(square, a.polynomial(square, &COS), a.float(-0.5));
    let cosine = a.fma(square, tail, a.float(1.0));
    let quadrant = a.add_int(n, a.int(quarters));
    let odd = a.equal(a.of_int(a.and(quadrant, a.int(1))), a.float(1.0));
    let magnitude = a.select(odd, cosine, sine);
    let sign = a.shift_left(a.and(quadrant, a.int(2)), 30);
    a.of_bits(a.xor(a.bits(magnitude), sign))
}

/// Returns `n` modulo 4 and `r` with `x = n pi/2 + r` and |r| <= pi/4, plus rounding; for x up to [`NEAR`].
fn near_reduced<A: Arithmetic>(a: &A, x: A::F) -> (A::I, A::F) {
    let t = a.fma(x, a.float(std::f32::consts::FRAC_2_PI), a.float(ROUNDER));
    let n = a.sub(t, a.float(ROUNDER));
    (a.bits(t), HALF_PI.iter().fold(x, |r, part| a.fma(n, a.float(-part), r)))
}

/// Like [`near_reduced`], for x of at least 1.
///
/// Payne and Hanek, *Radian Reduction for Trigonometric Functions* (1983): of the product of the significand and 2/pi,
/// only the bits around the binary point are computed. Higher bits are whole turns.
fn far_reduced<A: Arithmetic>(a: &A, x: A::F) -> (A::I, A::F) {
    // x = m 2^(8 k - 22), m below 2^31.
    let biased = a.shift_right(a.bits(x), 23);
    let significand = a.xor(a.and(a.bits(x), a.int(0x007f_ffff)), a.int(0x0080_0000));
    let m = [1, 2, 4].iter().fold(significand, |m, bit| {
        let unset = a.equal(a.of_int(a.and(biased, a.int(*bit))), a.float(0.0));
        a.select_int(unset, m, a.shift_left(m, *bit as u32))
    });
    let k = a.and(a.shift_right(biased, 3), a.int(15));
    let word = |offset: i32| a.entry(&TWO_OVER_PI, a.add_int(k, a.int(offset)));
    // 2/pi x modulo 4 is high 2^-30 + low 2^-62. The three words of 2/pi have the weights 2^-30, 2^-62 and 2^-94.
    let (first, second, third) = (word(0), word(4), word(8));
    let carried = a.mul_high(m, third);
    let low = a.add_int(a.mul_int(m, second), carried);
    let carry = a.select_int(a.below(low, carried), a.int(1), a.int(0));
    let high = a.add_int(a.add_int(a.mul_int(m, first), a.mul_high(m, second)), carry);
    let n = a.shift_right(a.add_int(high, a.int(1 << 29)), 30);
    let high = a.sub_int(high, a.shift_left(n, 30));
    // The magnitude of a negative fraction, one unit less. So all pieces have one sign and do not cancel.
    let minus = a.shift_right(high, 31);
    let (high, low) = (a.xor(high, minus), a.xor(low, minus));
    // The fraction in three pieces of 24, 24 and 16 bits, each exact in f32.
    let middle = a.xor(a.shift_left(a.and(high, a.int(0xff)), 16), a.and(a.shift_right(low, 16), a.int(0xffff)));
    let piece = |bits, weight: i32| a.mul(a.of_int(bits), a.float(f32::from_bits(((127 + weight) as u32) << 23)));
    let top = piece(a.shift_right(high, 8), -22);
    let rest = a.add(piece(middle, -46), piece(a.and(low, a.int(0xffff)), -62));
    let fraction = a.add(top, rest);
    let fraction_low = a.add(a.sub(top, fraction), rest);
    // Multiplied by pi/2; both factors are sums of two numbers.
    let [factor, factor_low, _] = HALF_PI.map(|part| a.float(part));
    let product = a.mul(fraction, factor);
    let product_low = a.fma(fraction, factor, a.neg(product));
    let r = a.add(product, a.fma(fraction_low, factor, a.fma(fraction, factor_low, product_low)));
    let r = a.of_bits(a.xor(a.bits(r), a.and(minus, a.int(i32::MIN))));
    // The sine of an infinity is NaN: inf - inf is NaN.
    (n, a.add(r, a.sub(x, x)))
}

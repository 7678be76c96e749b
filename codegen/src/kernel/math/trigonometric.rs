//! Sine and cosine of radians.

use super::{Arithmetic, ROUNDER};

/// Pi/2 as a sum of three numbers, to 72 bits.
const HALF_PI: [f32; 3] = [1.570_796_4, -4.371_139e-8, -1.715_124_5e-15];

/// `(sin(r) - r) / r^3` in `r^2` for |r| <= pi/4, 2^-32.
const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_379, -0.000_198_530_05, 0.000_002_831_241_3];

/// `(cos(r) - 1 + r^2/2) / r^4` in `r^2` for |r| <= pi/4, 2^-33.
const COS: [f32; 3] = [0.041_666_646, -0.001_388_730_1, 0.000_024_430_668];

/// Sine, within 2 ulp for |x| <= 2^17. Beyond, the error grows with |x|; the result stays between -1 and 1.
pub(crate) fn sin<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    by_quadrant(a, x, 0)
}

/// Cosine; errors as for [`sin`].
pub(crate) fn cos<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    by_quadrant(a, x, 1)
}

/// The sine of x plus so many quarters of a turn.
fn by_quadrant<A: Arithmetic>(a: &A, x: A::F, quarters: i32) -> A::F {
    let t = a.fma(x, a.float(std::f32::consts::FRAC_2_PI), a.float(ROUNDER));
    let n = a.sub(t, a.float(ROUNDER));
    let r = HALF_PI.iter().fold(x, |r, part| a.fma(n, a.float(-part), r));
    let square = a.mul(r, r);
    let sine = a.fma(a.mul(square, r), a.polynomial(square, &SIN), r);
    let tail = a.fma(square, a.polynomial(square, &COS), a.float(-0.5));
    let cosine = a.fma(square, tail, a.float(1.0));
    let quadrant = a.add_int(a.bits(t), a.int(quarters));
    let odd = a.equal(a.of_int(a.and(quadrant, a.int(1))), a.float(1.0));
    let magnitude = a.select(odd, cosine, sine);
    let sign = a.shift_left(a.and(quadrant, a.int(2)), 30);
    let y = a.of_bits(a.xor(a.bits(magnitude), sign));
    a.at_most(a.at_least(y, -1.0), 1.0)
}

//! The arctangent, in radians.

use super::Arithmetic;

/// `(atan(x) - x) / x^3` in `x^2` for |x| <= 1, 2^-31 of the arctangent.
const ATAN: [f32; 10] = [
    -0.333_333_28,
    0.199_996_71,
    -0.142_798_33,
    0.110_582_24,
    -0.088_110_92,
    0.067_415_975,
    -0.044_689_95,
    0.022_539_876,
    -0.007_317_960_7,
    0.001_113_789_6,
];

/// Pi/2 as a sum of two numbers.
const HALF_PI: [f32; 2] = [1.570_796_4, -4.371_139e-8];

/// Arctangent, within 2 ulp.
pub(crate) fn atan<A: Arithmetic>(a: &A, x: A::F) -> A::F {
    let (magnitude, one) = (a.abs(x), a.float(1.0));
    // For x > 1: atan(x) = pi/2 - atan(1/x).
    let far = a.less(one, magnitude);
    let r = a.select(far, a.div(one, magnitude), magnitude);
    let square = a.mul(r, r);
    let (cube, tail) = (a.mul(square, r), a.polynomial(square, &ATAN));
    let near = a.fma(cube, tail, r);
    // Without the low part of pi/2 the error would be up to 0.7 ulp.
    let [half_pi, rest] = HALF_PI.map(|part| a.float(part));
    let rest = a.fma(a.neg(cube), tail, rest);
    let y = a.select(far, a.add(a.sub(half_pi, r), rest), near);
    a.with_sign(y, x)
}

//! Each function against f64, over a sample of all bit patterns and a finer one of where it varies.

use super::{Arithmetic, cos, elu, erf, exp, expm1, fmod, gelu, log, pow, sigmoid, silu, sin, softplus, tanh};

/// One number.
struct Scalar;

impl Arithmetic for Scalar {
    type F = f32;
    type I = i32;
    type M = bool;

    fn float(&self, x: f32) -> f32 {
        x
    }
    fn int(&self, x: i32) -> i32 {
        x
    }
    fn add(&self, a: f32, b: f32) -> f32 {
        a + b
    }
    fn sub(&self, a: f32, b: f32) -> f32 {
        a - b
    }
    fn mul(&self, a: f32, b: f32) -> f32 {
        a * b
    }
    fn div(&self, a: f32, b: f32) -> f32 {
        a / b
    }
    fn fma(&self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    fn trunc(&self, a: f32) -> f32 {
        a.trunc()
    }
    fn less(&self, a: f32, b: f32) -> bool {
        a < b
    }
    fn equal(&self, a: f32, b: f32) -> bool {
        a == b
    }
    fn both(&self, a: bool, b: bool) -> bool {
        a && b
    }
    fn select(&self, m: bool, yes: f32, no: f32) -> f32 {
        if m { yes } else { no }
    }
    fn bits(&self, a: f32) -> i32 {
        a.to_bits() as i32
    }
    fn of_bits(&self, a: i32) -> f32 {
        f32::from_bits(a as u32)
    }
    fn of_int(&self, a: i32) -> f32 {
        a as f32
    }
    fn add_int(&self, a: i32, b: i32) -> i32 {
        a.wrapping_add(b)
    }
    fn sub_int(&self, a: i32, b: i32) -> i32 {
        a.wrapping_sub(b)
    }
    fn and(&self, a: i32, b: i32) -> i32 {
        a & b
    }
    fn xor(&self, a: i32, b: i32) -> i32 {
        a ^ b
    }
    fn shift_left(&self, a: i32, by: u32) -> i32 {
        a << by
    }
    fn shift_right(&self, a: i32, by: u32) -> i32 {
        a >> by
    }
}

/// Every 1009th bit pattern, and 400 thousand numbers from `low` to `high`.
fn sample(low: f32, high: f32) -> impl Iterator<Item = f32> {
    let all = (0..=u32::MAX).step_by(1009).map(f32::from_bits);
    let steps = 400_000;
    let fine = (0..=steps).map(move |i| low + (high - low) * (i as f32 / steps as f32));
    let special =
        [0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    all.chain(fine).chain(special)
}

/// Distance of f32 numbers at this magnitude.
fn ulp(y: f64) -> f64 {
    let exponent = ((y.abs().to_bits() >> 52) as i32 - 1023).max(-126);
    2.0_f64.powi(exponent - 23)
}

/// The error of `got` in ulp; infinite where one is a number and the other is not.
fn error(got: f32, exact: f64) -> f64 {
    match (got.is_nan(), exact.is_nan()) {
        (true, true) => 0.0,
        (false, false) if exact as f32 == got => 0.0,
        // Half a step above the greatest number rounds to infinity; a step below it is an honest error.
        (false, false) if got.is_infinite() && exact.abs() > f64::from(f32::MAX) * (1.0 - 1e-7) => 1.0,
        (false, false) if got.is_finite() => (f64::from(got) - exact).abs() / ulp(exact),
        _ => f64::INFINITY,
    }
}

fn worst(numbers: impl Iterator<Item = f32>, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> (f64, f32) {
    numbers.fold((0.0, 0.0), |worst, x| {
        let e = error(f(x), exact(f64::from(x)));
        if e > worst.0 { (e, x) } else { worst }
    })
}

fn assert_within(bound: f64, name: &str, (got, at): (f64, f32)) {
    println!("{name}: {got:.3} ulp at {at:?}");
    assert!(got <= bound, "{name}: {got} ulp at {at:?}, stated {bound}");
}

fn sigmoid64(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Whether the result is large enough for ulp to mean anything after a product.
fn normal(y: f64) -> bool {
    y.is_nan() || y == 0.0 || y.abs() >= f64::from(f32::MIN_POSITIVE)
}

#[test]
fn errors_stay_within_what_the_documentation_states() {
    let s = &Scalar;
    assert_within(1.0, "exp", worst(sample(-105.0, 90.0), |x| exp(s, x), f64::exp));
    assert_within(2.0, "expm1", worst(sample(-20.0, 90.0), |x| expm1(s, x), f64::exp_m1));
    assert_within(2.0, "log", worst(sample(0.0, 4.0), |x| log(s, x), f64::ln));
    assert_within(3.0, "tanh", worst(sample(-10.0, 10.0), |x| tanh(s, x), f64::tanh));
    assert_within(3.0, "sigmoid", worst(sample(-105.0, 20.0), |x| sigmoid(s, x), sigmoid64));
    assert_within(2.0, "erf", worst(sample(-4.5, 4.5), |x| erf(s, x), libm::erf));
    let turns = |x: &f32| x.abs() <= 131_072.0 || !x.is_finite();
    assert_within(2.0, "sin", worst(sample(-100.0, 100.0).filter(turns), |x| sin(s, x), f64::sin));
    assert_within(2.0, "cos", worst(sample(-100.0, 100.0).filter(turns), |x| cos(s, x), f64::cos));
    let silu64 = |x: f64| x * sigmoid64(x);
    let numbers = sample(-80.0, 20.0).filter(|x| x.is_nan() || *x >= -87.0);
    assert_within(4.0, "silu", worst(numbers, |x| silu(s, x), silu64));
    let softplus64 = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p() + if x.is_nan() { x } else { 0.0 };
    let numbers = sample(-80.0, 20.0).filter(|x| normal(softplus64(f64::from(*x))));
    assert_within(3.0, "softplus", worst(numbers, |x| softplus(s, x), softplus64));
    let elu64 = |x: f64| if x > 0.0 { x } else { f64::from(1.3_f32) * x.exp_m1() };
    let numbers = sample(-20.0, 2.0).filter(|x| normal(elu64(f64::from(*x))));
    assert_within(3.0, "elu", worst(numbers, |x| elu(s, x, 1.3), elu64));
}

#[test]
fn gelu_is_within_2_to_the_minus_23_of_its_argument() {
    for x in sample(-15.0, 15.0).filter(|x| x.is_finite() && x.abs() > 1e-30) {
        let exact = 0.5 * f64::from(x) * libm::erfc(-f64::from(x) / 2.0_f64.sqrt());
        let e = (f64::from(gelu(&Scalar, x)) - exact).abs() / f64::from(x.abs());
        assert!(e <= 2.0_f64.powi(-23), "gelu({x:?}) is off by {e:e}");
    }
}

#[test]
fn sine_and_cosine_stay_bounded_everywhere() {
    for x in sample(0.0, 1e9).filter(|x| x.is_finite()) {
        assert!(sin(&Scalar, x).abs() <= 1.0 && cos(&Scalar, x).abs() <= 1.0, "at {x:?}");
    }
}

/// A sequence of bit patterns without visible order.
fn patterns(count: u32) -> impl Iterator<Item = f32> + Clone {
    (0..count).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761) ^ (i >> 7).wrapping_mul(40_503)))
}

#[test]
fn powers_are_within_3_ulp() {
    let special = [
        0.0,
        1.0,
        0.5,
        2.0,
        3.0,
        1.5,
        1e-40,
        1e10,
        f32::INFINITY,
        f32::NAN,
        f32::MAX,
        0.333,
        7.0,
        8_388_609.0,
        33_554_432.0,
    ];
    let special = special.iter().flat_map(|x| [*x, -*x]);
    let pairs = special.clone().flat_map(|x| special.clone().map(move |y| (x, y)));
    // Bases near 1 with large exponents, and all of both.
    let near = patterns(300_000).zip(patterns(600_000).skip(300_000));
    let near =
        near.map(|(x, y)| (1.0 + (x.to_bits() >> 9) as f32 / 8_388_608.0, (y.to_bits() as i32) as f32 / 16_777_216.0));
    let any = patterns(500_000).zip(patterns(1_000_000).skip(500_000));
    let (mut worst, mut at) = (0.0, (0.0, 0.0));
    for (x, y) in pairs.chain(near).chain(any) {
        let (got, exact) = (pow(&Scalar, x, y), f64::from(x).powf(f64::from(y)));
        let e = error(got, exact);
        assert!(
            exact as f32 != 0.0 || got != 0.0 || exact.is_sign_negative() == got.is_sign_negative(),
            "pow({x:?}, {y:?})"
        );
        if e > worst {
            (worst, at) = (e, (x, y));
        }
    }
    println!("pow: {worst:.3} ulp at {at:?}");
    assert!(worst <= 3.0, "pow{at:?} is off by {worst} ulp");
}

#[test]
fn remainders_are_exact() {
    let special = [0.0, 1.0, 0.3, 1e-45, 3e-39, 7.0, f32::MAX, f32::INFINITY, f32::NAN, f32::MIN_POSITIVE];
    let special = special.iter().flat_map(|x| [*x, -*x]);
    let pairs = special.clone().flat_map(|x| special.clone().map(move |y| (x, y)));
    let any = patterns(1_000_000).zip(patterns(2_000_000).skip(1_000_000));
    let near = any
        .clone()
        .map(|(x, y)| (x, f32::from_bits((x.to_bits() & 0xff80_0000).wrapping_sub(1 << 24) | y.to_bits() >> 9)));
    for (x, y) in pairs.chain(any).chain(near) {
        let (got, exact) = (fmod(&Scalar, x, y), x % y);
        assert!(
            got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan(),
            "{x:?} % {y:?}: {got:?}, not {exact:?}"
        );
    }
}

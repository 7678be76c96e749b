//! Each function compared with f64, on a sample of all bit patterns and a finer one of the interval where it varies.

mod all_floats;

use eightfold_ir::Function;
use eightfold_ir::scalar::{Accuracy, Meaning};

use super::{Arithmetic, atan, cos, elu, erf, exp, expm1, fmod, gelu, log, pow, sigmoid, silu, sin, softplus, tanh};
use crate::kernel::math;
use crate::llvm::trial;
use crate::vector::Kind;

/// Evaluates functions on single numbers.
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
    fn select_int(&self, m: bool, yes: i32, no: i32) -> i32 {
        if m { yes } else { no }
    }
    fn mul_int(&self, a: i32, b: i32) -> i32 {
        a.wrapping_mul(b)
    }
    fn mul_high(&self, a: i32, b: i32) -> i32 {
        ((u64::from(a as u32) * u64::from(b as u32)) >> 32) as i32
    }
    fn below(&self, a: i32, b: i32) -> bool {
        (a as u32) < b as u32
    }
    fn entry(&self, table: &'static [u32], index: i32) -> i32 {
        table[index as usize] as i32
    }
    fn rarely(&self, m: bool, usual: (i32, f32), rare: impl FnOnce() -> (i32, f32)) -> (i32, f32) {
        if m { rare() } else { usual }
    }
}

/// A function: its generated code, its exact value, and the interval where it varies. Elu has alpha = 1.3.
struct Row {
    function: Function,
    generated: fn(f32) -> f32,
    exact: fn(f64) -> f64,
    varies: (f32, f32),
}

const ALPHA: f32 = 1.3;

/// All functions of one argument that generated code approximates.
const ROWS: &[Row] = &[
    Row { function: Function::Atan, generated: |x| atan(&Scalar, x), exact: f64::atan, varies: (-20.0, 20.0) },
    Row { function: Function::Cos, generated: |x| cos(&Scalar, x), exact: f64::cos, varies: (-100.0, 100.0) },
    Row { function: Function::Elu, generated: |x| elu(&Scalar, x, ALPHA), exact: elu64, varies: (-20.0, 2.0) },
    Row { function: Function::Erf, generated: |x| erf(&Scalar, x), exact: libm::erf, varies: (-4.5, 4.5) },
    Row { function: Function::Exp, generated: |x| exp(&Scalar, x), exact: f64::exp, varies: (-105.0, 90.0) },
    Row { function: Function::Gelu, generated: |x| gelu(&Scalar, x), exact: gelu64, varies: (-15.0, 15.0) },
    Row { function: Function::Log, generated: |x| log(&Scalar, x), exact: f64::ln, varies: (0.0, 4.0) },
    Row { function: Function::Sigmoid, generated: |x| sigmoid(&Scalar, x), exact: sigmoid64, varies: (-105.0, 20.0) },
    Row { function: Function::Silu, generated: |x| silu(&Scalar, x), exact: silu64, varies: (-110.0, 20.0) },
    Row { function: Function::Sin, generated: |x| sin(&Scalar, x), exact: f64::sin, varies: (-100.0, 100.0) },
    Row { function: Function::Softplus, generated: |x| softplus(&Scalar, x), exact: softplus64, varies: (-80.0, 20.0) },
    Row { function: Function::Tanh, generated: |x| tanh(&Scalar, x), exact: f64::tanh, varies: (-10.0, 10.0) },
];

fn elu64(x: f64) -> f64 {
    if x > 0.0 { x } else { f64::from(ALPHA) * x.exp_m1() }
}

fn gelu64(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x / 2.0_f64.sqrt())
}

fn sigmoid64(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn silu64(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn softplus64(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

impl Row {
    /// Asserts that generated code and evaluator keep the stated accuracy on these numbers; prints the largest error.
    fn check(&self, numbers: impl Iterator<Item = f32>) {
        let Meaning::Arithmetic { float: evaluated, .. } = self.function.meaning() else { unreachable!("arithmetic") };
        let accuracy = self.function.accuracy();
        let mut worst = [(0.0, 0.0); 2];
        for x in numbers {
            let exact = (self.exact)(x.into());
            let found = [(self.generated)(x), evaluated(x, ALPHA, 0.0)];
            for (worst, got) in worst.iter_mut().zip(found) {
                let e = distance(accuracy, got, x, exact);
                if e > worst.0 {
                    *worst = (e, x);
                }
            }
        }
        let name = self.function.name();
        let [(generated, at), (evaluated, eval_at)] = worst;
        println!("{name}: {accuracy}; generated {generated:.3} at {at:e}, evaluator {evaluated:.3} at {eval_at:e}");
        let bound = bound(accuracy);
        assert!(generated <= bound, "{name}({at:e}) is off by {generated}, stated {bound}");
        assert!(evaluated <= evaluator_bound(accuracy), "the evaluator's {name}({eval_at:e}) is off by {evaluated}");
    }
}

/// The largest error that `accuracy` allows, in its unit.
fn bound(accuracy: Accuracy) -> f64 {
    match accuracy {
        Accuracy::Ulps(ulps) => f64::from(ulps),
        Accuracy::OfArgument => 1.0,
        Accuracy::SameBits => 0.0,
    }
}

/// The largest error of the evaluator, which rounds its f64 result once, in the unit of `accuracy`.
fn evaluator_bound(accuracy: Accuracy) -> f64 {
    if accuracy == Accuracy::OfArgument { bound(accuracy) } else { 0.51 }
}

/// The error of the result `got` for `x`, in the unit of `accuracy`.
fn distance(accuracy: Accuracy, got: f32, x: f32, exact: f64) -> f64 {
    match accuracy {
        Accuracy::OfArgument if !exact.is_nan() => {
            (f64::from(got) - exact).abs() / f64::from(x.abs()).max(1e-38) * 8_388_608.0
        }
        _ => error(got, exact),
    }
}

/// Every 1009th bit pattern, and 400,000 numbers from `low` to `high`.
fn sample(low: f32, high: f32) -> impl Iterator<Item = f32> {
    let all = (0..=u32::MAX).step_by(1009).map(f32::from_bits);
    let steps = 400_000;
    let fine = (0..=steps).map(move |i| low + (high - low) * (i as f32 / steps as f32));
    let special =
        [0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    all.chain(fine).chain(special)
}

/// Distance between neighbouring f32 numbers of this magnitude.
fn ulp(y: f64) -> f64 {
    let exponent = ((y.abs().to_bits() >> 52) as i32 - 1023).max(-126);
    2.0_f64.powi(exponent - 23)
}

/// The error of `got` in ulp; infinite if only one of the two is NaN or infinite.
fn error(got: f32, exact: f64) -> f64 {
    match (got.is_nan(), exact.is_nan()) {
        (true, true) => 0.0,
        (false, false) if (exact as f32).to_bits() == got.to_bits() => 0.0,
        // Zeros of different signs are an error.
        (false, false) if exact as f32 == got => f64::INFINITY,
        // Numbers up to half a step above the largest float round to infinity, which counts as an error of one step.
        (false, false) if got.is_infinite() && exact.abs() > f64::from(f32::MAX) * (1.0 - 1e-7) => 1.0,
        (false, false) if got.is_finite() => (f64::from(got) - exact).abs() / ulp(exact),
        _ => f64::INFINITY,
    }
}

#[test]
fn functions_are_as_accurate_as_they_state() {
    for row in ROWS {
        row.check(sample(row.varies.0, row.varies.1));
    }
    // For -0 it returns 0, which no caller relies on.
    for x in sample(-20.0, 90.0).filter(|x| *x != 0.0) {
        let e = error(expm1(&Scalar, x), f64::from(x).exp_m1());
        assert!(e <= 2.0, "expm1({x:e}) is off by {e} ulp");
    }
}

#[test]
fn every_approximated_function_of_one_number_is_checked() {
    let approximated = Function::ALL.iter().filter(|f| !f.is_exact() && **f != Function::Pow);
    assert!(approximated.eq(ROWS.iter().map(|row| &row.function)), "ROWS lists them in order");
}

#[test]
fn sine_and_cosine_of_large_numbers_are_right() {
    let of = |x: f32| (sin(&Scalar, x), cos(&Scalar, x));
    assert!((of(1e7).0 - 0.420_547_8).abs() < 1e-7, "{}", of(1e7).0);
    // Among these are the float nearest to a multiple of pi/2, floats a little below a multiple, and the largest float.
    for x in [1e9, 16_367_173.0 * 2.0_f32.powi(72), 8.773_116e33, 1.261_458_8e38, f32::MAX] {
        let (sine, cosine) = (error(of(x).0, f64::from(x).sin()), error(of(x).1, f64::from(x).cos()));
        assert!(sine <= 2.0 && cosine <= 2.0, "at {x:e} sin is off by {sine} ulp, cos by {cosine}");
    }
    for infinite in [f32::INFINITY, f32::NEG_INFINITY] {
        assert!(of(infinite).0.is_nan() && of(infinite).1.is_nan());
    }
}

#[test]
fn vectors_compute_the_same_bits_as_numbers_on_every_target() {
    // One vector mixes small, large, infinite and NaN arguments; other vectors hold one kind.
    let mut numbers: Vec<f32> = (0..64).map(|i| i as f32 * 0.37 - 10.0).collect();
    numbers
        .extend((0..64).map(|i| f32::from_bits(0x4700_0000 + i * 0x00e1_2345) * if i % 3 == 0 { -1.0 } else { 1.0 }));
    numbers.extend([0.0, -0.0, f32::INFINITY, f32::NAN, 1.0, 1e7, -1e9, f32::MAX]);
    numbers.extend([f32::NEG_INFINITY, 2.0, -100.0, -87.5, 1e-40, -1e-40, 131_072.0, 131_080.0]);
    type Named = (&'static str, fn(f32) -> f32);
    let functions: [Named; 3] =
        [("sin", |x| sin(&Scalar, x)), ("cos", |x| cos(&Scalar, x)), ("silu", |x| silu(&Scalar, x))];
    let bytes = trial::bytes(&numbers, f32::to_le_bytes);
    for target in trial::targets() {
        let blank = vec![0; bytes.len()];
        let left = trial::run(target, &[&bytes, &blank, &blank, &blank], |e, p| {
            e.repeat(e.int(numbers.len() / 8), |turn| {
                let at = |pointer| e.offset_by(pointer, e.scale(turn, 32));
                let m = &math::Vectors { emitter: e, lanes: 8 };
                let x = e.load(at(p[0]), Kind::F32, 8);
                let results = [math::sin(m, x), math::cos(m, x), math::silu(m, x)];
                results.into_iter().zip(&p[1..]).for_each(|(y, pointer)| e.store(at(*pointer), y));
            });
        });
        let found = left[1..].iter().map(|bytes| trial::floats(bytes));
        for ((name, function), found) in functions.iter().zip(found) {
            for (x, found) in numbers.iter().zip(found) {
                let expected = function(*x);
                let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                assert!(same, "{}: {name}({x:e}) = {found:e}, not {expected:e}", target.name);
            }
        }
    }
}

/// Pseudo-random bit patterns.
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
    // Bases near 1 with large exponents, and random pairs.
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

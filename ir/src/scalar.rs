//! The table of scalar functions. Each elementwise ONNX operator is one row.
//!
//! A row has the text name, the equivalent ONNX operator, the number of arguments, and the meaning. The evaluator,
//! constant folding, 256-entry tables and generated code all use these rows.
//!
//! If f32 operations cannot give a function exactly, the evaluator computes it in f64 and rounds once. A row states the
//! greatest error of generated code ([`Accuracy`]).

/// The greatest error of generated code in f32, relative to the exact result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accuracy {
    /// No error: the function consists of IEEE operations, so every target and the evaluator compute the same bits.
    SameBits,
    /// At most this many units in the last place (ulp) of the result. An ulp is at least 2^-149.
    Ulps(f32),
    /// At most 2^-23 times the magnitude of the argument.
    OfArgument,
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Accuracy::SameBits => write!(f, "as IEEE operations round"),
            Accuracy::Ulps(ulps) => write!(f, "within {ulps} ulp"),
            Accuracy::OfArgument => write!(f, "within 2^-23 |x|"),
        }
    }
}

/// The meaning of a scalar function.
#[derive(Clone, Copy)]
pub enum Meaning {
    /// Numbers to a number of the same type. Unused arguments are zero.
    Arithmetic {
        /// On floats.
        float: fn(f32, f32, f32) -> f32,
        /// On integers, before wrapping to the type; `None` if the function is not defined on integers.
        int: Option<fn(i64, i64, i64) -> i64>,
        /// The error of generated code on floats.
        accuracy: Accuracy,
    },
    /// Two numbers of one type to a truth value.
    Comparison {
        /// On floats.
        float: fn(f32, f32) -> bool,
        /// On integers.
        int: fn(i64, i64) -> bool,
    },
    /// Truth values to a truth value or, for bitwise functions, integers to an integer.
    Logic(fn(i64, i64) -> i64),
    /// The second argument if the first is true, otherwise the third.
    Select,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident $name:literal $onnx:literal $arity:literal $meaning:expr;)*) => {
        /// A scalar function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Function {
            $($(#[$doc])* $variant,)*
        }

        impl Function {
            /// All functions, in declaration order.
            pub const ALL: &'static [Function] = &[$(Function::$variant),*];

            /// Returns the name in the text form.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Function::$variant => $name,)* }
            }

            /// Returns the equivalent ONNX operator, or an empty string.
            #[must_use]
            pub fn onnx(self) -> &'static str {
                match self { $(Function::$variant => $onnx,)* }
            }

            /// Returns the number of arguments.
            #[must_use]
            pub fn arity(self) -> usize {
                match self { $(Function::$variant => $arity,)* }
            }

            /// Returns the meaning.
            #[must_use]
            pub fn meaning(self) -> Meaning {
                match self { $(Function::$variant => $meaning,)* }
            }
        }
    };
}

/// Defined on floats only, by IEEE operations.
const fn exact(float: fn(f32, f32, f32) -> f32) -> Meaning {
    Meaning::Arithmetic { float, int: None, accuracy: Accuracy::SameBits }
}

/// Defined on floats only. Generated code approximates it within this many ulp.
const fn within(ulps: f32, float: fn(f32, f32, f32) -> f32) -> Meaning {
    Meaning::Arithmetic { float, int: None, accuracy: Accuracy::Ulps(ulps) }
}

/// Defined on floats by IEEE operations, and on integers.
const fn both(float: fn(f32, f32, f32) -> f32, int: fn(i64, i64, i64) -> i64) -> Meaning {
    Meaning::Arithmetic { float, int: Some(int), accuracy: Accuracy::SameBits }
}

const fn comparison(float: fn(f32, f32) -> bool, int: fn(i64, i64) -> bool) -> Meaning {
    Meaning::Comparison { float, int }
}

/// `x Φ(x)`, Φ the normal distribution function.
fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
}

/// `log(1 + exp(x))`
fn softplus(x: f64) -> f64 {
    let tail = libm::log1p(libm::exp(-x.abs()));
    if x > 0.0 { x + tail } else { tail }
}

/// The remainder with the sign of the divisor, 0 for divisor 0.
fn modulo(x: i64, y: i64) -> i64 {
    let r = if y == 0 { 0 } else { x.wrapping_rem(y) };
    if r != 0 && (r < 0) != (y < 0) { r + y } else { r }
}

/// ONNX Max and Min: NaN if either is.
fn maximum(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

fn minimum(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

/// One comparison and selection per bound, like the vector instructions.
fn clip(x: f32, low: f32, high: f32) -> f32 {
    let x = if low > x { low } else { x };
    if high < x { high } else { x }
}

functions! {
    /// `|x|`
    Abs "abs" "Abs" 1 both(|x, _, _| x.abs(), |x, _, _| x.wrapping_abs());
    /// `x + y`
    Add "add" "Add" 2 both(|x, y, _| x + y, |x, y, _| x.wrapping_add(y));
    /// Both, on truth values.
    And "and" "And" 2 Meaning::Logic(|x, y| x & y);
    /// The arctangent, in radians.
    Atan "atan" "Atan" 1 within(2.0, |x, _, _| libm::atan(x.into()) as f32);
    /// The least integer not below `x`.
    Ceil "ceil" "Ceil" 1 exact(|x, _, _| x.ceil());
    /// `min(max(x, low), high)`. NaN stays NaN. A NaN bound has no effect.
    Clip "clip" "" 3 both(clip, |x, low, high| x.max(low).min(high));
    /// Cosine of radians.
    Cos "cos" "Cos" 1 within(2.0, |x, _, _| libm::cos(x.into()) as f32);
    /// `x / y`; on integers towards zero, 0 where `y` is 0.
    Div "div" "Div" 2 both(|x, y, _| x / y, |x, y, _| if y == 0 { 0 } else { x.wrapping_div(y) });
    /// `x` if `x >= 0`, otherwise `alpha (exp(x) - 1)`. The stated error excludes subnormal arguments and results.
    Elu "elu" "" 2 within(3.0, |x, alpha, _| match x >= 0.0 {
        true => x,
        false => (f64::from(alpha) * libm::expm1(x.into())) as f32,
    });
    /// `x == y`
    Equal "equal" "Equal" 2 comparison(|x, y| x == y, |x, y| x == y);
    /// The Gauss error function.
    Erf "erf" "Erf" 1 within(2.0, |x, _, _| libm::erf(x.into()) as f32);
    /// The exponential.
    Exp "exp" "Exp" 1 within(1.0, |x, _, _| libm::exp(x.into()) as f32);
    /// The greatest integer not above `x`.
    Floor "floor" "Floor" 1 exact(|x, _, _| x.floor());
    /// `x Φ(x)`, Φ the normal distribution function.
    Gelu "gelu" "" 1 Meaning::Arithmetic {
        float: |x, _, _| gelu(x.into()) as f32,
        int: None,
        accuracy: Accuracy::OfArgument,
    };
    /// `x > y`
    Greater "greater" "Greater" 2 comparison(|x, y| x > y, |x, y| x > y);
    /// `x >= y`
    GreaterOrEqual "greater_or_equal" "GreaterOrEqual" 2 comparison(|x, y| x >= y, |x, y| x >= y);
    /// `max(0, min(1, alpha x + beta))`
    HardSigmoid "hard_sigmoid" "" 3 exact(|x, alpha, beta| minimum(maximum(alpha * x + beta, 0.0), 1.0));
    /// `x hard_sigmoid(x)` with alpha = 1/6 and beta = 0.5.
    HardSwish "hard_swish" "HardSwish" 1 exact(|x, _, _| x * minimum(maximum(x * (1.0 / 6.0) + 0.5, 0.0), 1.0));
    /// `x` if `x >= 0`, otherwise `alpha x`.
    LeakyRelu "leaky_relu" "" 2 exact(|x, alpha, _| if x >= 0.0 { x } else { alpha * x });
    /// `x < y`
    Less "less" "Less" 2 comparison(|x, y| x < y, |x, y| x < y);
    /// `x <= y`
    LessOrEqual "less_or_equal" "LessOrEqual" 2 comparison(|x, y| x <= y, |x, y| x <= y);
    /// The natural logarithm.
    Log "log" "Log" 1 within(2.0, |x, _, _| libm::log(x.into()) as f32);
    /// The greater; NaN if either is.
    Max "max" "" 2 both(|x, y, _| maximum(x, y), |x, y, _| x.max(y));
    /// The lesser; NaN if either is.
    Min "min" "" 2 both(|x, y, _| minimum(x, y), |x, y, _| x.min(y));
    /// The remainder with the sign of the divisor on integers, of the dividend on floats (C `fmod`).
    Mod "mod" "" 2 both(|x, y, _| x % y, |x, y, _| modulo(x, y));
    /// `x y`
    Mul "mul" "Mul" 2 both(|x, y, _| x * y, |x, y, _| x.wrapping_mul(y));
    /// `x * y + z`, rounded once (IEEE fusedMultiplyAdd).
    MulAdd "mul_add" "" 3 exact(|x, y, z| x.mul_add(y, z));
    /// `-x`
    Neg "neg" "Neg" 1 both(|x, _, _| -x, |x, _, _| x.wrapping_neg());
    /// The negated truth value.
    Not "not" "Not" 1 Meaning::Logic(|x, _| 1 - x);
    /// Either, on truth values.
    Or "or" "Or" 2 Meaning::Logic(|x, y| x | y);
    /// `x` if `x >= 0`, otherwise `slope x`.
    Prelu "prelu" "PRelu" 2 exact(|x, slope, _| if x >= 0.0 { x } else { slope * x });
    /// `x` to the power `y`.
    Pow "pow" "" 2 Meaning::Arithmetic {
        float: |x, y, _| libm::pow(x.into(), y.into()) as f32,
        int: Some(|x, y, _| u32::try_from(y).map_or(0, |y| x.wrapping_pow(y))),
        accuracy: Accuracy::Ulps(3.0),
    };
    /// `1 / x`
    Reciprocal "reciprocal" "Reciprocal" 1 exact(|x, _, _| 1.0 / x);
    /// `max(x, 0)`; NaN stays NaN.
    Relu "relu" "Relu" 1 both(|x, _, _| maximum(x, 0.0), |x, _, _| x.max(0));
    /// To the nearest integer, halves to even.
    Round "round" "Round" 1 exact(|x, _, _| x.round_ties_even());
    /// The second argument if the first is true, otherwise the third.
    Select "select" "Where" 3 Meaning::Select;
    /// `1 / (1 + exp(-x))`
    Sigmoid "sigmoid" "Sigmoid" 1 within(3.0, |x, _, _| (1.0 / (1.0 + libm::exp(-f64::from(x)))) as f32);
    /// -1, 0 or 1.
    Sign "sign" "Sign" 1 both(|x, _, _| if x == 0.0 || x.is_nan() { x } else { x.signum() }, |x, _, _| x.signum());
    /// `x sigmoid(x)`, also called Swish.
    Silu "silu" "" 1 within(3.0, |x, _, _| (f64::from(x) / (1.0 + libm::exp(-f64::from(x)))) as f32);
    /// Sine of radians.
    Sin "sin" "Sin" 1 within(2.0, |x, _, _| libm::sin(x.into()) as f32);
    /// `log(1 + exp(x))`
    Softplus "softplus" "Softplus" 1 within(2.0, |x, _, _| softplus(x.into()) as f32);
    /// `x / (1 + |x|)`
    Softsign "softsign" "Softsign" 1 exact(|x, _, _| x / (1.0 + x.abs()));
    /// The square root.
    Sqrt "sqrt" "Sqrt" 1 exact(|x, _, _| x.sqrt());
    /// `x - y`
    Sub "sub" "Sub" 2 both(|x, y, _| x - y, |x, y, _| x.wrapping_sub(y));
    /// The hyperbolic tangent.
    Tanh "tanh" "Tanh" 1 within(3.0, |x, _, _| libm::tanh(x.into()) as f32);
    /// Exactly one, on truth values.
    Xor "xor" "Xor" 2 Meaning::Logic(|x, y| x ^ y);
}

impl Function {
    /// Returns the function with this name in the text form.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Function> {
        Function::ALL.iter().copied().find(|f| f.name() == name)
    }

    /// Returns the function that is equivalent to this ONNX operator without attributes.
    #[must_use]
    pub fn from_onnx(op_type: &str) -> Option<Function> {
        Function::ALL.iter().copied().find(|f| !f.onnx().is_empty() && f.onnx() == op_type)
    }

    /// Returns the error of generated code relative to the evaluator.
    #[must_use]
    pub fn accuracy(self) -> Accuracy {
        match self.meaning() {
            Meaning::Arithmetic { accuracy, .. } => accuracy,
            _ => Accuracy::SameBits,
        }
    }

    /// Returns true if every target computes the same bits.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.accuracy() == Accuracy::SameBits
    }

    /// Returns true if the result never decreases as the first argument grows and the others stay the same.
    #[must_use]
    pub fn is_monotonic(self) -> bool {
        matches!(self, Function::Relu | Function::Clip | Function::Max | Function::Min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_names_unique() {
        let names: Vec<_> = Function::ALL.iter().map(|f| f.name()).collect();
        let mut sorted: Vec<_> = Function::ALL.iter().map(|f| format!("{f:?}")).collect();
        let declared = sorted.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(names.len(), sorted.len());
        let close = declared.iter().zip(&sorted).filter(|(a, b)| a == b).count();
        assert!(close >= sorted.len() - 4, "rows drifted from alphabetical order");
        for f in Function::ALL {
            assert_eq!(Function::from_name(f.name()), Some(*f));
        }
    }

    fn of(function: Function, x: f32) -> f32 {
        match function.meaning() {
            Meaning::Arithmetic { float, .. } => float(x, 1.0, 0.0),
            _ => panic!("{} is not arithmetic", function.name()),
        }
    }

    #[test]
    fn sigmoid_and_its_relatives_neither_overflow_nor_flush() {
        assert_eq!((of(Function::Sigmoid, -1e30), of(Function::Sigmoid, 1e30)), (0.0, 1.0));
        assert!(of(Function::Sigmoid, -80.0) > 0.0);
        // sigmoid(-100) is subnormal; -100 * sigmoid(-100) is not.
        assert_eq!(of(Function::Silu, -100.0), (-100.0 * (-100f64).exp()) as f32);
        assert_eq!((of(Function::Softplus, 1e30), of(Function::Softplus, -1e30)), (1e30, 0.0));
        assert!(of(Function::Softplus, f32::NAN).is_nan());
        assert_eq!(of(Function::Gelu, -1e30), 0.0);
    }

    #[test]
    fn elu_of_zero_is_zero_whatever_alpha() {
        let Meaning::Arithmetic { float: elu, .. } = Function::Elu.meaning() else { unreachable!("arithmetic") };
        assert_eq!(elu(0.0, f32::INFINITY, 0.0), 0.0);
        assert_eq!(elu(-1.0, f32::INFINITY, 0.0), f32::NEG_INFINITY);
    }

    #[test]
    fn sine_and_cosine_of_large_numbers_are_right() {
        let near = |got: f32, expected: f32| assert!((got - expected).abs() < 1e-7, "{got}, not {expected}");
        near(of(Function::Sin, 1e7), 0.420_547_8);
        near(of(Function::Cos, 1e9), 0.837_887_2);
        near(of(Function::Sin, f32::MAX), -0.521_876_5);
        near(of(Function::Cos, f32::MAX), 0.853_021);
        assert!(of(Function::Sin, f32::INFINITY).is_nan() && of(Function::Cos, f32::NEG_INFINITY).is_nan());
    }

    #[test]
    fn max_keeps_nan_from_either_side() {
        assert!(maximum(f32::NAN, 1.0).is_nan());
        assert!(maximum(1.0, f32::NAN).is_nan());
        assert!(minimum(1.0, f32::NAN).is_nan());
    }
}

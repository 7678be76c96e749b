//! The epilogue of a node: pointwise steps that run on each element after the operator has computed it.
//!
//! A node is an operator, which computes one number per output element, and an [`Epilogue`], a list of steps that run
//! on that number in order. An elementwise ONNX operator is imported as the operator `map`, which returns its operand,
//! with one step. Fusing it into its producer moves the step. So one interpreter ([`run`]) defines elementwise
//! operators, fused activations, residual additions and requantization.

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, index_map};
use crate::id::ValueId;
use crate::quant::quantize;
use crate::scalar::{Function, Meaning};
use crate::tensor::Data;
use crate::types::{DType, Shape};

/// An argument of a scalar function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// The current number.
    Current,
    /// The element of a tensor at the same coordinates (NumPy broadcasting). A bf16 element is converted to f32 if the
    /// current number is f32.
    Value(ValueId),
    /// The element of an integer tensor at the same coordinates, read as `f32(element - zero_point) * scale`.
    Dequantized {
        /// The tensor.
        value: ValueId,
        /// The scale.
        scale: f32,
        /// The zero point.
        zero_point: i32,
    },
    /// A float literal.
    Float(f32),
    /// An integer literal.
    Int(i64),
}

/// One pointwise step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A scalar function in the type of the current number. At least one argument is [`Arg::Current`].
    Apply(Function, SmallVec<[Arg; 3]>),
    /// A conversion to another type. Float to integer truncates towards zero and saturates; integer to float rounds to
    /// nearest even.
    Cast(DType),
    /// Integer to f32: `f32(x - zero_point) * scale`.
    Dequantize {
        /// The scale.
        scale: f32,
        /// The zero point.
        zero_point: i32,
    },
    /// f32 to integer: divides by `scale`, clamps in f32 so that the result is in `min..=max`, rounds half to even,
    /// adds `zero_point`. NaN becomes `min`. A scale of 1 requantizes a number that is already in units of the output's
    /// scale.
    Quantize {
        /// The type of the stored integer.
        dtype: DType,
        /// The scale.
        scale: f32,
        /// The zero point.
        zero_point: i32,
        /// The least stored integer: that of the type, or a greater one if an activation clamps the result.
        min: i32,
        /// The greatest stored integer.
        max: i32,
    },
    /// A lookup in a constant of 256 elements. The index is the number for u8, and its low eight bits for i8.
    Table(ValueId),
}

impl Step {
    /// Creates a step that applies a unary function to the current number.
    #[must_use]
    pub fn unary(function: Function) -> Self {
        debug_assert_eq!(function.arity(), 1);
        Step::Apply(function, smallvec![Arg::Current])
    }

    /// Creates a step that applies a binary function; the current number is the left argument.
    #[must_use]
    pub fn binary(function: Function, right: Arg) -> Self {
        debug_assert_eq!(function.arity(), 2);
        Step::Apply(function, smallvec![Arg::Current, right])
    }

    /// Creates a `clip` to constant bounds.
    #[must_use]
    pub fn clip(low: f32, high: f32) -> Self {
        Step::Apply(Function::Clip, smallvec![Arg::Current, Arg::Float(low), Arg::Float(high)])
    }

    /// Creates a quantization to the full range of `dtype`.
    #[must_use]
    pub fn quantize(dtype: DType, scale: f32, zero_point: i32) -> Self {
        let (min, max) = dtype.storage_range().expect("quantized storage is an integer of at most 32 bits");
        Step::Quantize { dtype, scale, zero_point, min, max }
    }

    /// Returns the tensors that the step reads, in argument order.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        let (args, table) = match self {
            Step::Apply(_, args) => (args.as_slice(), None),
            Step::Table(value) => (&[][..], Some(*value)),
            _ => (&[][..], None),
        };
        let of_args = args.iter().filter_map(|arg| match arg {
            Arg::Value(value) | Arg::Dequantized { value, .. } => Some(*value),
            _ => None,
        });
        of_args.chain(table)
    }

    /// Replaces each tensor that the step reads by `f` of it.
    pub fn map_values(&mut self, mut f: impl FnMut(ValueId) -> ValueId) {
        match self {
            Step::Apply(_, args) => {
                for arg in args {
                    if let Arg::Value(value) | Arg::Dequantized { value, .. } = arg {
                        *value = f(*value);
                    }
                }
            }
            Step::Table(value) => *value = f(*value),
            _ => {}
        }
    }

    /// Returns true if every target computes the same bits.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        match self {
            Step::Apply(function, _) => function.is_exact(),
            _ => true,
        }
    }
}

/// The steps of a node, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Epilogue {
    /// The steps, in the order in which they run.
    pub steps: Vec<Step>,
}

impl Epilogue {
    /// Creates an empty epilogue.
    #[must_use]
    pub fn none() -> Self {
        Epilogue::default()
    }

    /// Creates an epilogue of these steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Epilogue { steps }
    }

    /// Returns true if there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the tensors that the steps read, in order, with repetitions.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.steps.iter().flat_map(Step::values)
    }

    /// Returns this epilogue followed by the steps of `next`.
    #[must_use]
    pub fn then(&self, next: &Epilogue) -> Epilogue {
        Epilogue { steps: self.steps.iter().chain(&next.steps).cloned().collect() }
    }
}

/// Why a step cannot run on its operands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The function has another number of arguments: an error of the code that built the step.
    #[error("{function} takes {expected} arguments, got {got}")]
    Arity {
        /// The function's text name.
        function: &'static str,
        /// The number of arguments of the function.
        expected: usize,
        /// The number of arguments given.
        got: usize,
    },
    /// The type of an argument is not the type of the current number.
    #[error("{function} expects {expected}, got {got}")]
    Type {
        /// The text name of the function or step.
        function: &'static str,
        /// The expected type.
        expected: String,
        /// The given type.
        got: String,
    },
    /// The shape of an argument does not broadcast to the current shape.
    #[error("shapes {current} and {operand} do not broadcast")]
    Broadcast {
        /// The current shape.
        current: Box<Shape>,
        /// The argument's shape.
        operand: Box<Shape>,
    },
    /// A scale is not positive and finite.
    #[error("{step} expects a positive, finite scale, got {got:?}")]
    Scale {
        /// The text name of the function or step.
        step: &'static str,
        /// The scale.
        got: f32,
    },
    /// The range of stored integers is empty or exceeds the type.
    #[error("quantize to {dtype} expects {low} <= min <= max <= {high}, got {min} and {max}, zero_point {zero_point}")]
    Range {
        /// The type of the stored integer.
        dtype: DType,
        /// The least integer of the type.
        low: i32,
        /// The greatest integer of the type.
        high: i32,
        /// The least integer allowed.
        min: i32,
        /// The greatest integer allowed.
        max: i32,
        /// The zero point.
        zero_point: i32,
    },
}

fn type_error(function: &'static str, expected: impl ToString, got: impl ToString) -> StepError {
    StepError::Type { function, expected: expected.to_string(), got: got.to_string() }
}

fn expect_scale(step: &'static str, got: f32) -> Result<(), StepError> {
    if got.is_finite() && got > 0.0 { Ok(()) } else { Err(StepError::Scale { step, got }) }
}

/// Returns the type and shape after `step`, from those before it. `operand` returns the type and shape of each tensor
/// that the step reads.
///
/// # Errors
/// If the step is not defined for these types.
pub fn infer(
    step: &Step,
    (dtype, shape): (DType, Shape),
    operand: &impl Fn(ValueId) -> (DType, Shape),
) -> Result<(DType, Shape), StepError> {
    match step {
        Step::Apply(function, args) => {
            let name = function.name();
            if args.len() != function.arity() || !args.contains(&Arg::Current) {
                return Err(StepError::Arity { function: name, expected: function.arity(), got: args.len() });
            }
            let mut shape = shape;
            let mut dtypes: SmallVec<[DType; 3]> = SmallVec::new();
            for arg in args {
                let (arg_dtype, arg_shape) = match arg {
                    Arg::Current => (dtype, None),
                    Arg::Value(value) => {
                        let (d, s) = operand(*value);
                        let widened = d == DType::Bf16 && dtype == DType::F32;
                        (if widened { DType::F32 } else { d }, Some(s))
                    }
                    Arg::Dequantized { value, scale, .. } => {
                        let (d, s) = operand(*value);
                        expect_scale(name, *scale)?;
                        if !d.is_integer() {
                            return Err(type_error(name, "a dequantized integer operand", d));
                        }
                        (DType::F32, Some(s))
                    }
                    Arg::Float(_) if dtype.is_float() || *function == Function::Select => (DType::F32, None),
                    Arg::Int(_) if !dtype.is_float() || *function == Function::Select => (dtype, None),
                    Arg::Float(x) => return Err(type_error(name, dtype, format!("the float {x:?}"))),
                    Arg::Int(x) => return Err(type_error(name, dtype, format!("the integer {x}"))),
                };
                // A literal has the type of the current number.
                let literal = matches!(arg, Arg::Float(_) | Arg::Int(_));
                dtypes.push(if literal && *function != Function::Select { dtype } else { arg_dtype });
                if let Some(s) = arg_shape {
                    let Some(both) = shape.broadcast(&s) else {
                        return Err(StepError::Broadcast { current: Box::new(shape), operand: Box::new(s) });
                    };
                    shape = both;
                }
            }
            let same = |dtypes: &[DType]| match dtypes.iter().find(|d| **d != dtypes[0]) {
                Some(other) => Err(type_error(name, format!("arguments of one type ({})", dtypes[0]), other)),
                None => Ok(dtypes[0]),
            };
            let result = match function.meaning() {
                Meaning::Arithmetic { int, .. } => {
                    let d = same(&dtypes)?;
                    if !(d.is_float() || d.is_integer() && int.is_some()) {
                        return Err(type_error(name, "a float", d));
                    }
                    d
                }
                Meaning::Comparison { .. } => same(&dtypes).map(|_| DType::Bool)?,
                Meaning::Logic(_) => match same(&dtypes)? {
                    DType::Bool => DType::Bool,
                    d => return Err(type_error(name, DType::Bool, d)),
                },
                Meaning::Select => {
                    if dtypes[0] != DType::Bool {
                        return Err(type_error(name, "a bool first", dtypes[0]));
                    }
                    same(&dtypes[1..])?
                }
            };
            Ok((result, shape))
        }
        Step::Cast(to) => Ok((*to, shape)),
        Step::Dequantize { scale, .. } if dtype.is_integer() => {
            expect_scale("dequantize", *scale)?;
            Ok((DType::F32, shape))
        }
        Step::Dequantize { .. } => Err(type_error("dequantize", "an integer", dtype)),
        Step::Quantize { dtype: to, scale, zero_point, min, max } if dtype == DType::F32 => {
            let Some((low, high)) = to.storage_range() else {
                return Err(type_error("quantize", "an integer type of at most 32 bits, not u32", to));
            };
            expect_scale("quantize", *scale)?;
            if !(low <= *min && min <= max && *max <= high && (low..=high).contains(zero_point)) {
                let (dtype, min, max, zero_point) = (*to, *min, *max, *zero_point);
                return Err(StepError::Range { dtype, low, high, min, max, zero_point });
            }
            Ok((*to, shape))
        }
        Step::Quantize { .. } => Err(type_error("quantize", DType::F32, dtype)),
        Step::Table(value) => {
            if dtype.bits() != 8 || !dtype.is_integer() {
                return Err(type_error("table", "u8 or i8", dtype));
            }
            let (entry, table_shape) = operand(*value);
            if table_shape.elements() != 256 {
                return Err(type_error("table", "a constant of 256 entries", table_shape));
            }
            Ok((entry, shape))
        }
    }
}

/// Runs the steps on `current`. Reads tensors through `operand`. This function defines the meaning of an epilogue.
///
/// # Errors
/// The errors of [`infer`].
pub fn run<'a>(
    epilogue: &Epilogue,
    mut current: Array,
    operand: &impl Fn(ValueId) -> &'a Array,
) -> Result<Array, StepError> {
    let types = |value| {
        let array = operand(value);
        (array.dtype, array.shape.clone())
    };
    for step in &epilogue.steps {
        let (dtype, shape) = infer(step, (current.dtype, current.shape.clone()), &types)?;
        let data = match step {
            Step::Apply(function, args) => apply(*function, args, &current, dtype, &shape, operand),
            Step::Cast(to) => cast(current.data, *to),
            Step::Dequantize { scale, zero_point } => dequantize(&current.ints(), *scale, *zero_point),
            Step::Quantize { scale, zero_point, min, max, .. } => {
                let q = |x: &f32| i64::from(quantize(*x, *scale, *zero_point, *min, *max));
                Data::Int(current.floats().iter().map(q).collect())
            }
            Step::Table(value) => operand(*value).data.gather(current.ints().iter().map(|x| (*x & 0xff) as usize)),
        };
        current = Array { dtype, shape, data }.rounded();
    }
    Ok(current)
}

fn cast(data: Data, to: DType) -> Data {
    match (data, to.is_float()) {
        (Data::Float(v), true) => Data::Float(v),
        (Data::Int(v), true) => Data::Float(v.into_iter().map(|x| x as f32).collect()),
        (Data::Int(v), false) => Data::Int(v),
        (Data::Float(v), false) if to == DType::Bool => Data::Int(v.into_iter().map(|x| i64::from(x != 0.0)).collect()),
        (Data::Float(v), false) if to == DType::U64 => Data::Int(v.into_iter().map(|x| (x as u64) as i64).collect()),
        (Data::Float(v), false) => {
            let (low, high) = to.integer_range().unwrap_or((i64::MIN, i64::MAX));
            Data::Int(v.into_iter().map(|x| (x as i64).clamp(low, high)).collect())
        }
    }
}

fn dequantize(stored: &[i64], scale: f32, zero_point: i32) -> Data {
    Data::Float(stored.iter().map(|x| (x - i64::from(zero_point)) as f32 * scale).collect())
}

/// Broadcasts an argument to the step's output shape. A single element stays one element.
fn spread<'a>(arg: &Arg, current: &Array, shape: &Shape, operand: &impl Fn(ValueId) -> &'a Array, float: bool) -> Data {
    let fill = |array: &Array| match array.shape == *shape || array.data.len() == 1 {
        true => array.data.clone(),
        false => array.data.gather(index_map(&array.shape, shape)),
    };
    match arg {
        Arg::Current => fill(current),
        Arg::Value(value) => fill(operand(*value)),
        Arg::Dequantized { value, scale, zero_point } => {
            let array = operand(*value);
            let data = dequantize(&array.ints(), *scale, *zero_point);
            fill(&Array { dtype: DType::F32, shape: array.shape.clone(), data })
        }
        Arg::Float(x) => Data::Float(vec![*x]),
        Arg::Int(x) if float => Data::Float(vec![*x as f32]),
        Arg::Int(x) => Data::Int(vec![*x]),
    }
}

fn apply<'a>(
    function: Function,
    args: &[Arg],
    current: &Array,
    dtype: DType,
    shape: &Shape,
    operand: &impl Fn(ValueId) -> &'a Array,
) -> Data {
    let n = shape.elements();
    let args: SmallVec<[Data; 3]> = args.iter().map(|a| spread(a, current, shape, operand, dtype.is_float())).collect();
    let f = |a: usize, i: usize| match args.get(a) {
        Some(Data::Float(v)) => v[if v.len() == 1 { 0 } else { i }],
        Some(Data::Int(v)) => v[if v.len() == 1 { 0 } else { i }] as f32,
        None => 0.0,
    };
    let k = |a: usize, i: usize| match args.get(a) {
        Some(Data::Int(v)) => v[if v.len() == 1 { 0 } else { i }],
        _ => 0,
    };
    let on_floats = matches!(args[0], Data::Float(_));
    match function.meaning() {
        Meaning::Arithmetic { float, .. } if dtype.is_float() => {
            Data::Float((0..n).map(|i| float(f(0, i), f(1, i), f(2, i))).collect())
        }
        Meaning::Arithmetic { int, .. } => {
            let int = int.expect("infer has refused integers for a float-only function");
            Data::Int((0..n).map(|i| int(k(0, i), k(1, i), k(2, i))).collect())
        }
        Meaning::Comparison { float, .. } if on_floats => {
            Data::Int((0..n).map(|i| i64::from(float(f(0, i), f(1, i)))).collect())
        }
        Meaning::Comparison { int, .. } => Data::Int((0..n).map(|i| i64::from(int(k(0, i), k(1, i)))).collect()),
        Meaning::Logic(logic) => Data::Int((0..n).map(|i| logic(k(0, i), k(1, i))).collect()),
        Meaning::Select if dtype.is_float() => {
            Data::Float((0..n).map(|i| if k(0, i) != 0 { f(1, i) } else { f(2, i) }).collect())
        }
        Meaning::Select => Data::Int((0..n).map(|i| if k(0, i) != 0 { k(1, i) } else { k(2, i) }).collect()),
    }
}

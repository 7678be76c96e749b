//! The steps language: what happens to each element after an operator has produced it.
//!
//! A node is an operator, which produces one number per output element, and an [`Epilogue`], a list of pointwise steps
//! that run on that number in order. An elementwise ONNX operator is the operator `map`, which passes its operand
//! through, with one step; fusing it into its producer moves the step. So one interpreter ([`run`]) gives meaning to
//! elementwise operators, fused activations, residual additions and requantization alike.

use smallvec::{SmallVec, smallvec};

use crate::array::{Array, index_map};
use crate::id::ValueId;
use crate::quant::quantize;
use crate::scalar::{Function, Meaning};
use crate::tensor::Data;
use crate::types::{DType, Shape};

/// Where an argument of a scalar function comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// The current number.
    Current,
    /// The element of a tensor at the same coordinates (NumPy broadcasting); bf16 is read as f32 where the current number
    /// is f32.
    Value(ValueId),
    /// The element of an integer tensor at the same coordinates, read as `f32(element - zero_point) * scale`.
    Dequantized {
        /// The tensor.
        value: ValueId,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// This number, on float data.
    Float(f32),
    /// This number, on integer data.
    Int(i64),
}

/// One pointwise step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A scalar function in the type of the current number; one argument at least is [`Arg::Current`].
    Apply(Function, SmallVec<[Arg; 3]>),
    /// To another type: float to integer towards zero with saturation, integer to float to nearest even.
    Cast(DType),
    /// Integer to f32: `f32(x - zero_point) * scale`.
    Dequantize {
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
    },
    /// f32 to integer: divide by `scale`, clamp in f32 so that the result is in `min..=max`, round half to even, add
    /// `zero_point`. NaN goes to `min`. A scale of 1 is requantization: the number already counts output steps.
    Quantize {
        /// The integer type stored.
        dtype: DType,
        /// Real numbers per step.
        scale: f32,
        /// The integer that means zero.
        zero_point: i32,
        /// The least integer stored: that of the type, or higher where an activation cuts it off.
        min: i32,
        /// The greatest integer stored.
        max: i32,
    },
    /// Entry of a constant of 256 elements: at the number itself for u8, at its low eight bits for i8.
    Table(ValueId),
}

impl Step {
    /// A unary function of the current number.
    #[must_use]
    pub fn unary(function: Function) -> Self {
        debug_assert_eq!(function.arity(), 1);
        Step::Apply(function, smallvec![Arg::Current])
    }

    /// A binary function with the current number on the left.
    #[must_use]
    pub fn binary(function: Function, right: Arg) -> Self {
        debug_assert_eq!(function.arity(), 2);
        Step::Apply(function, smallvec![Arg::Current, right])
    }

    /// `clip` to constant bounds.
    #[must_use]
    pub fn clip(low: f32, high: f32) -> Self {
        Step::Apply(Function::Clip, smallvec![Arg::Current, Arg::Float(low), Arg::Float(high)])
    }

    /// Quantization over the whole range of `dtype`.
    #[must_use]
    pub fn quantize(dtype: DType, scale: f32, zero_point: i32) -> Self {
        let (min, max) = dtype.storage_range().expect("quantized storage is an integer of at most 32 bits");
        Step::Quantize { dtype, scale, zero_point, min, max }
    }

    /// The tensors that the step reads, in argument order.
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

    /// Replaces each tensor that the step reads.
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

    /// Whether every target computes the same bits from the same bits.
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
    /// In the order in which they run.
    pub steps: Vec<Step>,
}

impl Epilogue {
    /// No steps.
    #[must_use]
    pub fn none() -> Self {
        Epilogue::default()
    }

    /// These steps.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        Epilogue { steps }
    }

    /// Whether there are no steps.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The tensors that the steps read, in order, with repetition.
    pub fn values(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.steps.iter().flat_map(Step::values)
    }

    /// This epilogue followed by the steps of `next`.
    #[must_use]
    pub fn then(&self, next: &Epilogue) -> Epilogue {
        Epilogue { steps: self.steps.iter().chain(&next.steps).cloned().collect() }
    }
}

/// A step that cannot run on what reaches it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Fault of whoever built the step: the function has another number of arguments.
    #[error("{function} takes {expected} arguments, got {got}")]
    Arity {
        /// The function's text name.
        function: &'static str,
        /// Its number of arguments.
        expected: usize,
        /// Arguments given.
        got: usize,
    },
    /// An argument's type is not that of the current number.
    #[error("{function} wants {expected}, got {got}")]
    Type {
        /// The function's or step's text name.
        function: &'static str,
        /// What it takes.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An operand's shape does not broadcast against the current one.
    #[error("shapes {current} and {operand} do not broadcast")]
    Broadcast {
        /// Shape so far.
        current: Box<Shape>,
        /// The operand's shape.
        operand: Box<Shape>,
    },
    /// A scale that is no positive, finite number.
    #[error("{step} wants a positive, finite scale, got {got:?}")]
    Scale {
        /// The function's or step's text name.
        step: &'static str,
        /// The scale.
        got: f32,
    },
    /// Integers that the storage type does not have, or none at all.
    #[error("quantize to {dtype} wants {low} <= min <= max <= {high}, got {min} and {max}, zero_point {zero_point}")]
    Range {
        /// The integer type stored.
        dtype: DType,
        /// Its least integer.
        low: i32,
        /// Its greatest integer.
        high: i32,
        /// The least integer allowed.
        min: i32,
        /// The greatest integer allowed.
        max: i32,
        /// The integer that means zero.
        zero_point: i32,
    },
}

fn type_error(function: &'static str, expected: impl ToString, got: impl ToString) -> StepError {
    StepError::Type { function, expected: expected.to_string(), got: got.to_string() }
}

fn expect_scale(step: &'static str, got: f32) -> Result<(), StepError> {
    if got.is_finite() && got > 0.0 { Ok(()) } else { Err(StepError::Scale { step, got }) }
}

/// The type and shape of a tensor after `step`, given those before it and those of the tensors it reads.
///
/// # Errors
/// When the step has no meaning on these types.
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
                // A literal takes the type of the number it meets.
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

/// Runs the steps on `current`, reading tensors through `operand`. This function is the meaning of an epilogue.
///
/// # Errors
/// Those of [`infer`].
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

/// An argument, spread over the step's output shape; one element stands for all of them.
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

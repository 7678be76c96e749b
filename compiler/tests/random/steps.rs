//! Random steps.

use eightfold_ir::{Arg, DType, Function, QuantParams, Shape, Step};
use smallvec::SmallVec;

use crate::draw::Draw;
use crate::precision::Precision;

/// Functions that keep a small error small. Other functions are applied only to exact values: they may be
/// discontinuous.
const TAME: &[Function] = &[
    Function::Relu,
    Function::Add,
    Function::Clip,
    Function::Mul,
    Function::Sigmoid,
    Function::Abs,
    Function::Atan,
    Function::Elu,
    Function::Erf,
    Function::Gelu,
    Function::HardSigmoid,
    Function::HardSwish,
    Function::LeakyRelu,
    Function::Max,
    Function::Min,
    Function::MulAdd,
    Function::Neg,
    Function::Prelu,
    Function::Silu,
    Function::Softplus,
    Function::Softsign,
    Function::Sub,
    Function::Tanh,
];

/// Such functions on inexact integers; wrapping functions are not among them.
const TAME_ON_INTEGERS: &[Function] = &[Function::Relu, Function::Clip, Function::Max, Function::Min];

/// The state that steps are drawn from.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) dtype: DType,
    pub(crate) shape: Shape,
    pub(crate) precision: Precision,
    /// Whether a step may broadcast the shape.
    pub(crate) widens: bool,
}

impl Draw<'_> {
    /// A step for such numbers; `None` if the drawn step does not fit.
    pub(crate) fn step(&mut self, current: &Current) -> Option<Step> {
        let exact = current.precision == Precision::Exact;
        match (self.tape.below(8), current.dtype) {
            (5, DType::F32) => Some(self.quantize_step()),
            (5 | 6, dtype) if dtype.is_integer() && dtype.bits() <= 32 => {
                let zero_point = if dtype.bits() == 8 { self.tape.pick(&[3, 0, 100]) } else { 0 };
                Some(Step::Dequantize { scale: self.tape.pick(&[0.25, 0.1]), zero_point })
            }
            (6, _) if exact => Some(Step::Cast(self.tape.pick(&CASTS))),
            (7, DType::U8 | DType::I8) if exact => {
                let dtype = self.tape.pick(&[DType::U8, DType::I8, DType::F32]);
                Some(Step::Table(self.constant(dtype, &[256])))
            }
            _ => self.function(current),
        }
    }

    fn quantize_step(&mut self) -> Step {
        let dtype = self.tape.pick(&[DType::U8, DType::I8]);
        let (least, greatest) = dtype.storage_range().expect("eight bits");
        let zero_point = if dtype == DType::U8 { self.tape.pick(&[128, 0, 7]) } else { self.tape.pick(&[0, -5]) };
        let min = if self.tape.one_in(4) { zero_point } else { least };
        Step::Quantize { dtype, scale: self.tape.pick(&[0.125, 1.0, 0.07]), zero_point, min, max: greatest }
    }

    fn function(&mut self, current: &Current) -> Option<Step> {
        let list = match (current.precision, current.dtype) {
            (Precision::Exact, _) => Function::ALL,
            (_, dtype) if dtype.is_float() => TAME,
            _ => TAME_ON_INTEGERS,
        };
        let function = self.tape.pick(list);
        if function == Function::Select && current.dtype == DType::Bool {
            let dtype = self.tape.pick(&[DType::F32, DType::U8, DType::I64]);
            let others = [self.argument(dtype, current), self.argument(dtype, current)];
            return Some(Step::Apply(function, [Arg::Current, others[0], others[1]].into_iter().collect()));
        }
        let mut args: SmallVec<[Arg; 3]> = (0..function.arity()).map(|_| Arg::Current).collect();
        let own = self.tape.below(args.len());
        for index in (0..args.len()).filter(|index| *index != own) {
            args[index] = self.argument(current.dtype, current);
        }
        Some(Step::Apply(function, args))
    }

    /// An argument of this type: a number, a constant, or another value.
    fn argument(&mut self, dtype: DType, current: &Current) -> Arg {
        let literal = self.tape.below(9) as f32 / 2.0 - 2.0;
        match self.tape.below(6) {
            0 | 1 if dtype.is_float() => Arg::Float(literal),
            0 | 1 => Arg::Int(literal.abs() as i64),
            2 | 3 => Arg::Value(self.broadcasting(dtype, current)),
            4 if dtype == DType::F32 => match self.stored(current) {
                Some(value) => Arg::Dequantized { value, scale: 0.125, zero_point: self.tape.pick(&[0, 9]) },
                None => Arg::Value(self.broadcasting(dtype, current)),
            },
            _ => match self.other(dtype, current) {
                Some(value) => Arg::Value(value),
                None => Arg::Value(self.broadcasting(dtype, current)),
            },
        }
    }

    /// A constant whose shape broadcasts to the current shape, or enlarges it.
    fn broadcasting(&mut self, dtype: DType, current: &Current) -> eightfold_ir::ValueId {
        let rank = current.shape.rank();
        let missing = if rank > 0 { self.tape.below(rank + 1) } else { 0 };
        let extent = |axis: usize| if self.tape.one_in(3) { 1 } else { current.shape[axis] };
        let mut shape: Vec<usize> = (missing..rank).map(extent).collect();
        if current.widens && self.tape.one_in(8) {
            shape = current.shape.to_vec();
            match shape.iter().position(|extent| *extent == 1) {
                Some(axis) => shape[axis] = 3,
                None => shape.insert(0, 2),
            }
        }
        self.constant(dtype, &shape)
    }
}

/// Target types of conversions.
const CASTS: [DType; 11] = [
    DType::F32,
    DType::I32,
    DType::U8,
    DType::I8,
    DType::I64,
    DType::Bool,
    DType::F16,
    DType::Bf16,
    DType::I16,
    DType::U16,
    DType::U32,
];

/// The quantization of a result that the steps end in, if any.
pub(crate) fn parameters(steps: &[Step]) -> Option<QuantParams> {
    match steps.last()? {
        Step::Quantize { dtype, scale, zero_point, .. } => {
            let scale = if *scale == 1.0 { 0.125 } else { *scale };
            Some(QuantParams::per_tensor(*dtype, scale, *zero_point))
        }
        _ => None,
    }
}

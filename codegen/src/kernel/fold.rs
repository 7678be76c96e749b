//! Folds of pools and reductions: the neutral element, the operation and the result.
//!
//! Integers are exact. Minima and maxima of bytes are computed on bytes, sums of up to 255 bytes in 16 bits, and other
//! sums in lanes that wrap as the result type does. Floats are added in f32, in the given order.

use eightfold_ir::DType;

use super::attribute::Attribute;
use crate::kernel::steps::{cast, dequantized, work_kind, worked};
use crate::vector::{Emitter, Int, Kind, Ptr, State, Vector};

/// The operation that combines the elements of a pool or reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fold {
    /// Sum; of integers, the sum of `x - zero_point` in i32 (of 64-bit types in i64).
    Sum {
        /// The zero point, subtracted from each integer.
        zero_point: i32,
    },
    /// Mean of floats.
    Mean,
    /// Mean of dequantized 8-bit integers, added in f32 in the order of the window.
    DequantizedMean {
        /// The scale: real size of one integer step.
        scale: f32,
        /// The zero point.
        zero_point: i32,
    },
    /// Maximum.
    Max,
    /// Minimum.
    Min,
    /// Product.
    Prod,
    /// Sum of squares.
    SumSquare,
    /// Sum of magnitudes.
    SumAbs,
}

impl Fold {
    /// The name without parameters.
    pub(crate) fn name(self) -> String {
        self.text().split('/').next().unwrap_or_default().to_owned()
    }

    /// The type of the result for inputs of type `input`.
    pub(crate) fn result(self, input: DType) -> DType {
        match self {
            Fold::DequantizedMean { .. } => DType::F32,
            Fold::Sum { .. } if input.is_integer() => DType::I32,
            _ => input,
        }
    }

    /// Operations to fold in one element.
    pub(crate) fn operations(self, input: DType) -> f64 {
        let bytes = input.bits() <= 8;
        match self {
            Fold::Max | Fold::Min if bytes => 0.25,
            Fold::Max | Fold::Min if input.is_float() => 3.0,
            Fold::Sum { .. } if bytes => 1.0,
            Fold::DequantizedMean { .. } => 5.0,
            Fold::SumSquare | Fold::SumAbs => 2.0,
            Fold::Max | Fold::Min | Fold::Prod | Fold::Sum { .. } | Fold::Mean => 1.0,
        }
    }
}

/// `max`, `sum/128` with the zero point, `mean/0.05/128` with scale and zero point.
impl Attribute for Fold {
    fn text(&self) -> String {
        match self {
            Fold::Sum { zero_point: 0 } => "sum".to_owned(),
            Fold::Sum { zero_point } => format!("sum/{zero_point}"),
            Fold::Mean => "mean".to_owned(),
            Fold::DequantizedMean { scale, zero_point } => format!("mean/{scale:?}/{zero_point}"),
            Fold::Max => "max".to_owned(),
            Fold::Min => "min".to_owned(),
            Fold::Prod => "prod".to_owned(),
            Fold::SumSquare => "sum_square".to_owned(),
            Fold::SumAbs => "sum_abs".to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split('/').collect();
        Some(match words[..] {
            ["sum"] => Fold::Sum { zero_point: 0 },
            ["sum", zero_point] => Fold::Sum { zero_point: zero_point.parse().ok()? },
            ["mean"] => Fold::Mean,
            ["mean", scale, zero_point] => {
                Fold::DequantizedMean { scale: scale.parse().ok()?, zero_point: zero_point.parse().ok()? }
            }
            ["max"] => Fold::Max,
            ["min"] => Fold::Min,
            ["prod"] => Fold::Prod,
            ["sum_square"] => Fold::SumSquare,
            ["sum_abs"] => Fold::SumAbs,
            _ => return None,
        })
    }

    /// The name alone: scales and zero points do not affect the time.
    fn key(&self) -> Option<String> {
        Some(self.name().to_owned())
    }
}

/// The sum of this many bytes fits 16 bits, signed or unsigned.
const SHORT: usize = 255;

/// A fold of numbers of one type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folding {
    fold: Fold,
    input: DType,
    /// The lanes of the accumulator.
    kind: Kind,
    /// The type of the finished result.
    pub(crate) produced: DType,
}

impl Folding {
    /// The fold of at most `most` numbers of type `input`.
    pub(crate) fn of(fold: Fold, input: DType, most: usize) -> Self {
        let bytes = input.is_integer() && input.bits() <= 8;
        let kind = match fold {
            Fold::DequantizedMean { .. } => Kind::F32,
            Fold::Max | Fold::Min if bytes => Kind::I8,
            Fold::Sum { .. } if bytes && most <= SHORT => Kind::I16,
            _ => work_kind(input),
        };
        let produced = match fold {
            Fold::DequantizedMean { .. } => DType::F32,
            Fold::Sum { .. } if input.is_integer() && input.bits() <= 16 => DType::I32,
            _ => input,
        };
        Folding { fold, input, kind, produced }
    }

    /// Whether the fold is a mean, which needs a divisor.
    pub(crate) fn mean(self) -> bool {
        matches!(self.fold, Fold::Mean | Fold::DequantizedMean { .. })
    }

    fn signed(self) -> bool {
        self.input.integer_range().is_none_or(|(least, _)| least < 0)
    }

    /// The neutral element: the fold of no elements.
    pub(crate) fn start<'ctx>(self, e: &Emitter<'_, 'ctx>, lanes: usize) -> Vector<'ctx> {
        let (least, greatest) = self.input.integer_range().unwrap_or((i64::MIN, i64::MAX));
        let number = |int: i64, float: f32| match self.kind {
            Kind::F32 => e.splat(float, lanes),
            kind => e.splat_int(int, kind, lanes),
        };
        match self.fold {
            Fold::Max => number(least, f32::NEG_INFINITY),
            Fold::Min => number(greatest, f32::INFINITY),
            Fold::Prod => number(1, 1.0),
            Fold::Sum { .. } | Fold::Mean | Fold::DequantizedMean { .. } => number(0, 0.0),
            Fold::SumSquare | Fold::SumAbs => number(0, 0.0),
        }
    }

    /// Converts stored elements to the lanes in which they are folded.
    pub(crate) fn read<'ctx>(self, e: &Emitter<'_, 'ctx>, stored: Vector<'ctx>) -> Vector<'ctx> {
        if let Fold::DequantizedMean { scale, zero_point } = self.fold {
            return dequantized(e, stored, self.input, scale, zero_point);
        }
        match self.kind {
            Kind::I8 | Kind::I16 if self.input.bits() <= 8 => e.widen(stored, self.kind, self.signed()),
            _ => worked(e, stored, self.input),
        }
    }

    /// Folds the elements `x`, as returned by [`Folding::read`], into the accumulator `folded`.
    pub(crate) fn take<'ctx>(self, e: &Emitter<'_, 'ctx>, folded: Vector<'ctx>, x: Vector<'ctx>) -> Vector<'ctx> {
        let x = match self.fold {
            Fold::SumSquare => e.mul(x, x),
            Fold::SumAbs if x.kind.is_float() => e.fabs(x),
            Fold::SumAbs => e.max(x, e.neg(x)),
            _ => x,
        };
        self.join(e, folded, x)
    }

    /// Combines two accumulators.
    pub(crate) fn join<'ctx>(self, e: &Emitter<'_, 'ctx>, a: Vector<'ctx>, b: Vector<'ctx>) -> Vector<'ctx> {
        let unsigned_bytes = self.kind == Kind::I8 && !self.signed();
        match self.fold {
            Fold::Max if unsigned_bytes => e.max_unsigned(b, a),
            Fold::Min if unsigned_bytes => e.min_unsigned(b, a),
            // Of equal numbers the first is kept. Once there is a NaN, it is kept.
            Fold::Max if a.kind.is_float() => e.select(e.is_nan(b), b, e.max(b, a)),
            Fold::Min if a.kind.is_float() => e.select(e.is_nan(b), b, e.min(b, a)),
            Fold::Max => e.max(b, a),
            Fold::Min => e.min(b, a),
            Fold::Prod => e.mul(a, b),
            Fold::Sum { .. } | Fold::Mean | Fold::DequantizedMean { .. } => e.add(a, b),
            Fold::SumSquare | Fold::SumAbs => e.add(a, b),
        }
    }

    /// Folds all lanes into one: first the lower with the upper half, and so on.
    pub(crate) fn across<'ctx>(self, e: &Emitter<'_, 'ctx>, folded: Vector<'ctx>) -> Vector<'ctx> {
        match folded.lanes {
            1 => folded,
            lanes => {
                let [low, high] = [0, lanes / 2].map(|start| e.slice(folded, start, lanes / 2));
                self.across(e, self.join(e, low, high))
            }
        }
    }

    /// Converts the accumulator to the result, stored elements of type [`Folding::produced`]. `count` is the number of
    /// folded elements, or the divisor of a mean.
    pub(crate) fn finish<'ctx>(self, e: &Emitter<'_, 'ctx>, folded: Vector<'ctx>, count: Int<'ctx>) -> Vector<'ctx> {
        let lanes = folded.lanes;
        let folded = if self.kind == Kind::I16 { e.widen(folded, Kind::I32, self.signed()) } else { folded };
        let worked = match self.fold {
            Fold::Sum { zero_point } if zero_point != 0 && !folded.kind.is_float() => {
                let count = e.narrow(e.splat_index(count, lanes), folded.kind);
                e.sub(folded, e.mul(count, e.splat_int(zero_point.into(), folded.kind, lanes)))
            }
            Fold::Mean | Fold::DequantizedMean { .. } => {
                let count = e.narrow(e.splat_index(count, lanes), Kind::I32);
                e.div(folded, e.to_float(count, Kind::F32, true))
            }
            _ => folded,
        };
        let dtype = match worked.kind {
            Kind::F32 => DType::F32,
            Kind::I32 => DType::I32,
            Kind::I64 => DType::I64,
            _ => self.produced,
        };
        cast(e, worked, dtype, self.produced)
    }
}

/// A loop over elements to fold: its count, and its stride in bytes.
pub(crate) type Turns<'ctx> = (Int<'ctx>, isize);

/// Runs `body` on the address of each turn of the loops, outermost first; `body` folds the elements there into the
/// accumulator.
pub(crate) fn over<'ctx>(
    e: &Emitter<'_, 'ctx>,
    loops: &[Turns<'ctx>],
    pointer: Ptr<'ctx>,
    folded: Vector<'ctx>,
    body: &mut dyn FnMut(Ptr<'ctx>, Vector<'ctx>) -> Vector<'ctx>,
) -> Vector<'ctx> {
    let Some(((count, stride), inner)) = loops.split_first() else { return body(pointer, folded) };
    let state = State { vectors: vec![folded], ..State::default() };
    let state = e.carry(*count, state, |i, state| {
        let pointer = e.offset_by(pointer, e.scale(i, *stride));
        state.vectors[0] = over(e, inner, pointer, state.vectors[0], body);
    });
    state.vectors[0]
}

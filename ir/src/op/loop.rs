//! `loop`: a body that runs while a condition holds (ONNX Loop).

use smallvec::SmallVec;

use super::scan::stacked;
use crate::array::Array;
use crate::eval_error::EvalError;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{DType, Shape, TensorType};

op! {
    /// Runs `body` while the condition holds, at most `trip` times, and never more than `max_trip` times.
    ///
    /// Operands: `trip`, an i64 of one element, or absent; `condition`, a bool of one element, or absent, which means
    /// true; `states` initial states; then what the body reads in every turn. Inputs of the body: the number of the turn,
    /// a scalar i64; the condition, a scalar bool; the states; the others. Outputs of the body: the next condition, a
    /// bool of one element; the next states; slices. Results: the final states, then the slices, stacked along axis 0 to
    /// `max_trip` rows. Rows that no turn wrote are 0.
    pub struct Loop = "loop" {
        /// The greatest number of turns.
        max_trip: usize,
        /// The number of states.
        states: usize = 0,
    } bodies {
        /// What is computed in each turn.
        body,
    }
}

/// The operands before the states, and the inputs of the body before them.
pub const FIRST_STATE: usize = 2;

impl OpDef for Loop {
    const NAME: &'static str = "loop";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        operands.expect_count(FIRST_STATE.saturating_add(self.states), usize::MAX)?;
        for (index, expected) in [DType::I64, DType::Bool].into_iter().enumerate() {
            let Some(operand) = operands.optional(index) else { continue };
            if operand.ty.dtype != expected {
                return Err(operands.dtype_error(index, expected, operand.ty.dtype));
            }
            if operand.ty.shape.elements() != 1 {
                return Err(operands.shape_error(index, "one element", &operand.ty.shape));
            }
        }
        let entering = operands.entering(FIRST_STATE)?;
        let scalar = |dtype| TensorType::new(dtype, Shape::scalar());
        let inputs: Vec<TensorType> =
            [scalar(DType::I64), scalar(DType::Bool)].into_iter().chain(entering.iter().cloned()).collect();
        let wrong = |reason| operands.body_error("body", reason);
        self.body.fits(&inputs).map_err(wrong)?;
        self.body.returns(1, &entering[..self.states]).map_err(wrong)?;
        let mut outputs = self.body.0.output_types().into_iter();
        match outputs.next() {
            Some(condition) if condition.dtype == DType::Bool && condition.shape.elements() == 1 => {}
            Some(other) => return Err(wrong(format!("output 0 must be a bool of one element, got {other}"))),
            None => return Err(wrong("must have an output".to_owned())),
        }
        let result = |(index, ty): (usize, TensorType)| {
            let is_state = index < self.states;
            TensorType::new(ty.dtype, if is_state { ty.shape } else { stacked(&ty.shape, 0, self.max_trip) })
        };
        let types: Types = outputs.enumerate().map(result).collect();
        if types.is_empty() { Err(wrong("must have an output besides the condition".to_owned())) } else { Ok(types) }
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn eval_bodies(&self, operands: &[Option<EvalOperand<'_>>]) -> Result<SmallVec<[Array; 1]>, EvalError> {
        let first = |index: usize| operands[index].map(|operand| operand.array.ints()[0]);
        let most = first(0).map_or(self.max_trip, |trip| self.max_trip.min(trip.max(0) as usize));
        let mut holds = first(1).is_none_or(|condition| condition != 0);
        let arrays: Vec<&Array> = operands[FIRST_STATE..].iter().map(|o| o.expect("inferred").array).collect();
        let (states, captures) = arrays.split_at(self.states);
        let mut states: Vec<Array> = states.iter().copied().cloned().collect();
        let slices = self.body.0.output_types().split_off(1 + self.states);
        let zeros = |ty: TensorType| Array::zeros(ty.dtype, stacked(&ty.shape, 0, self.max_trip));
        let mut results: Vec<Array> = slices.into_iter().map(zeros).collect();
        for turn in 0..most {
            if !holds {
                break;
            }
            let scalar = |dtype, x: i64| {
                let mut scalar = Array::zeros(dtype, Shape::scalar());
                scalar.data = crate::tensor::Data::Int(vec![x]);
                scalar
            };
            let (number, condition) = (scalar(DType::I64, turn as i64), scalar(DType::Bool, 1));
            let inputs: Vec<&Array> =
                [&number, &condition].into_iter().chain(&states).chain(captures.iter().copied()).collect();
            let mut outputs = self.body.0.eval(&inputs)?;
            for (result, slice) in results.iter_mut().zip(outputs.split_off(1 + self.states)) {
                result.set(0, turn, &slice);
            }
            holds = outputs.remove(0).ints()[0] != 0;
            states = outputs;
        }
        Ok(states.into_iter().chain(results).collect())
    }

    fn macs(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.body.0.macs().saturating_mul(self.max_trip as u64)
    }

    fn reads(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.body.0.reads().saturating_add(1).saturating_mul(self.max_trip as u64)
    }
}

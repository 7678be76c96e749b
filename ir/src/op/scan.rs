//! `scan`: a body that runs a fixed number of times, once for each slice of its operands (ONNX Scan).

use smallvec::SmallVec;

use crate::array::Array;
use crate::attr::Sizes;
use crate::eval_error::EvalError;
use crate::op::{EvalOperand, InferError, OpDef, Operands, QuantRule, Types};
use crate::types::{Shape, TensorType};

op! {
    /// Runs `body` `count` times. Each turn gets the states, as the turn before left them, and one slice of each scanned
    /// operand. It returns the next states, and slices that are stacked to the further results.
    ///
    /// Operands: `states` initial states; scanned operands, one for each entry of `axes`; then what the body reads in
    /// every turn. Inputs of the body: the states, the slices (without the scanned axis), the others. Outputs of the
    /// body: the states, then the slices. Results: the final states, then the stacked slices.
    pub struct Scan = "scan" {
        /// The number of turns.
        count: usize,
        /// The number of states.
        states: usize = 0,
        /// The axis of each scanned operand.
        axes: Sizes = Sizes::new(),
        /// For each scanned operand 1 if turns begin at the end of its axis, else 0. If empty: all 0.
        reverse: Sizes = Sizes::new(),
        /// The axis of each stacked result. If empty: all 0.
        output_axes: Sizes = Sizes::new(),
        /// For each stacked result 1 if turns begin at the end of its axis, else 0. If empty: all 0.
        output_reverse: Sizes = Sizes::new(),
    } bodies {
        /// What is computed in each turn.
        body,
    }
}

impl Scan {
    /// Returns the position on the axis of scanned operand `index` that turn `turn` reads.
    #[must_use]
    pub fn position(&self, index: usize, turn: usize) -> usize {
        if self.is_reversed(index) { self.count - 1 - turn } else { turn }
    }

    /// Whether turns begin at the end of the axis of scanned operand `index`.
    #[must_use]
    pub fn is_reversed(&self, index: usize) -> bool {
        self.reverse.get(index).is_some_and(|flag| *flag == 1)
    }

    /// Returns the axis of stacked result `index`.
    #[must_use]
    pub fn output_axis(&self, index: usize) -> usize {
        self.output_axes.get(index).copied().unwrap_or(0)
    }

    /// Whether turns begin at the end of the axis of stacked result `index`.
    #[must_use]
    pub fn is_output_reversed(&self, index: usize) -> bool {
        self.output_reverse.get(index).is_some_and(|flag| *flag == 1)
    }

    /// Checks the lists of flags and axes: they are empty or have as many entries as there are operands or results.
    fn check_lists(&self, operands: &Operands<'_>, stacked: usize) -> Result<(), InferError> {
        let lists = [
            ("reverse", &self.reverse, self.axes.len(), true),
            ("output_axes", &self.output_axes, stacked, false),
            ("output_reverse", &self.output_reverse, stacked, true),
        ];
        for (name, list, expected, is_flags) in lists {
            if !list.is_empty() && list.len() != expected {
                return Err(operands.attr_error(name, format!("must have {expected} entries, got {}", list.len())));
            }
            if let Some(entry) = list.iter().find(|entry| is_flags && **entry > 1) {
                return Err(operands.attr_error(name, format!("has entries of 0 or 1, got {entry}")));
            }
        }
        Ok(())
    }
}

/// Returns the extents of `count` slices of this shape, stacked along `axis`, which is at most its rank.
pub(super) fn stacked(slice: &Shape, axis: usize, count: usize) -> Shape {
    let mut extents = slice.to_vec();
    extents.insert(axis, count);
    Shape::new(&extents)
}

impl OpDef for Scan {
    const NAME: &'static str = "scan";

    fn infer(&self, operands: Operands<'_>) -> Result<Types, InferError> {
        let fixed = self.states.saturating_add(self.axes.len());
        operands.expect_count(fixed, usize::MAX)?;
        let mut inputs = operands.entering(0)?;
        for (index, axis) in self.axes.iter().enumerate() {
            let operand = self.states + index;
            let mut extents = inputs[operand].shape.to_vec();
            if extents.get(*axis) != Some(&self.count) {
                let expected = format!("{} elements along axis {axis}", self.count);
                return Err(operands.shape_error(operand, expected, &inputs[operand].shape));
            }
            extents.remove(*axis);
            inputs[operand].shape = Shape::new(&extents);
        }
        let wrong = |reason| operands.body_error("body", reason);
        self.body.fits(&inputs).map_err(wrong)?;
        self.body.returns(0, &inputs[..self.states]).map_err(wrong)?;
        let outputs = self.body.0.output_types();
        if outputs.is_empty() {
            return Err(wrong("must have an output".to_owned()));
        }
        self.check_lists(&operands, outputs.len() - self.states)?;
        let mut types = Types::new();
        for (index, output) in outputs.into_iter().enumerate() {
            let shape = match index.checked_sub(self.states) {
                None => output.shape,
                Some(slice) if self.output_axis(slice) > output.shape.rank() => {
                    let reason = format!("must be at most {}, the rank of slice {slice}", output.shape.rank());
                    return Err(operands.attr_error("output_axes", reason));
                }
                Some(slice) => stacked(&output.shape, self.output_axis(slice), self.count),
            };
            types.push(TensorType::new(output.dtype, shape));
        }
        Ok(types)
    }

    fn quant_rule(&self) -> QuantRule {
        QuantRule::FloatOnly
    }

    fn eval_bodies(&self, operands: &[Option<EvalOperand<'_>>]) -> Result<SmallVec<[Array; 1]>, EvalError> {
        let arrays: Vec<&Array> = operands.iter().map(|operand| operand.expect("inferred").array).collect();
        let (states, rest) = arrays.split_at(self.states);
        let (scanned, captures) = rest.split_at(self.axes.len());
        let mut states: Vec<Array> = states.iter().copied().cloned().collect();
        let slices = self.body.0.output_types().split_off(self.states).into_iter().enumerate();
        let zeros =
            |(index, ty): (usize, TensorType)| Array::zeros(ty.dtype, stacked(&ty.shape, self.output_axis(index), self.count));
        let mut results: Vec<Array> = slices.map(zeros).collect();
        for turn in 0..self.count {
            let slice = |(index, array): (usize, &&Array)| array.at(self.axes[index], self.position(index, turn));
            let slices: Vec<Array> = scanned.iter().enumerate().map(slice).collect();
            let inputs: Vec<&Array> = states.iter().chain(&slices).chain(captures.iter().copied()).collect();
            let mut outputs = self.body.0.eval(&inputs)?;
            for (index, slice) in outputs.split_off(self.states).iter().enumerate() {
                let position = if self.is_output_reversed(index) { self.count - 1 - turn } else { turn };
                results[index].set(self.output_axis(index), position, slice);
            }
            states = outputs;
        }
        Ok(states.into_iter().chain(results).collect())
    }

    fn macs(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.body.0.macs().saturating_mul(self.count as u64)
    }

    fn reads(&self, _operands: Operands<'_>, _output: &Shape) -> u64 {
        self.body.0.reads().saturating_add(1).saturating_mul(self.count as u64)
    }
}

//! Bodies: graphs inside operators, such as the two branches of `if`.
//!
//! A body is closed. What it reads from the graph around it is an operand of the node and an input of the body. So a
//! body can be evaluated, verified and rewritten like any other graph.
//!
//! A graph contains operators, so this module cannot name the graph. It has the questions that operators ask of a body
//! ([`Subgraph`]); `nested` answers them for [`Graph`](crate::Graph).

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use crate::array::Array;
use crate::eval_error::EvalError;
use crate::types::TensorType;

/// What an operator asks of a graph inside it.
pub(crate) trait Subgraph: Any + Debug + Send + Sync {
    /// Returns the types of the inputs.
    fn input_types(&self) -> Vec<TensorType>;

    /// Returns the types of the outputs.
    fn output_types(&self) -> Vec<TensorType>;

    /// Computes the outputs.
    fn eval(&self, inputs: &[&Array]) -> Result<Vec<Array>, EvalError>;

    /// Returns the number of multiply-accumulates of one evaluation.
    fn macs(&self) -> u64;

    /// Returns the cost of one evaluation in elements read.
    fn reads(&self) -> u64;

    /// Whether both compute the same in the same order.
    fn is_equal(&self, other: &dyn Subgraph) -> bool;

    /// The graph itself.
    fn as_any(&self) -> &dyn Any;

    /// The graph itself, to be changed.
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

/// A graph inside an operator. Copies share the graph until one of them changes.
#[derive(Clone, Debug)]
pub struct Body(pub(crate) Arc<dyn Subgraph>);

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.is_equal(&*other.0)
    }
}

impl Body {
    /// Checks that the body's inputs have these types, apart from their layout, and that nothing that enters or leaves
    /// it is quantized.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(crate) fn fits(&self, expected: &[TensorType]) -> Result<(), String> {
        let inputs = self.0.input_types();
        if inputs.len() != expected.len() {
            return Err(format!("must have {} inputs, got {}", expected.len(), inputs.len()));
        }
        let alike = |a: &TensorType, b: &TensorType| (a.dtype, &a.shape) == (b.dtype, &b.shape);
        for (index, (input, expected)) in inputs.iter().zip(expected).enumerate() {
            if !alike(input, expected) {
                return Err(format!("input {index} must be {expected}, got {input}"));
            }
            if input.quant.is_some() {
                return Err(format!("input {index} must not be quantized"));
            }
        }
        match self.0.output_types().iter().position(|output| output.quant.is_some()) {
            Some(index) => Err(format!("output {index} must not be quantized")),
            None => Ok(()),
        }
    }

    /// Checks that the first outputs, from `from` on, have the types of the states that they are the next values of.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(crate) fn returns(&self, from: usize, states: &[TensorType]) -> Result<(), String> {
        let outputs = self.0.output_types();
        if outputs.len() < from + states.len() {
            return Err(format!("must have at least {} outputs, got {}", from + states.len(), outputs.len()));
        }
        for (index, (output, state)) in outputs[from..].iter().zip(states).enumerate() {
            if (output.dtype, &output.shape) != (state.dtype, &state.shape) {
                return Err(format!("output {} must be {state}, got {output}", from + index));
            }
        }
        Ok(())
    }
}

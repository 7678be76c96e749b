//! Graphs as bodies of operators.

use std::any::Any;
use std::sync::Arc;

use crate::array::Array;
use crate::body::{Body, Subgraph};
use crate::eval::eval_arrays;
use crate::eval_error::EvalError;
use crate::graph::{Graph, Node};
use crate::id::{NodeId, ValueId};
use crate::op::InferOperand;
use crate::types::TensorType;

impl Body {
    /// Makes a graph a body.
    #[must_use]
    pub fn new(graph: Graph) -> Self {
        Body(Arc::new(graph))
    }

    /// Returns the graph.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        self.0.as_any().downcast_ref().expect("every body is a graph")
    }

    /// Returns the graph, to be changed. If other operators share it, they keep the old one.
    pub fn graph_mut(&mut self) -> &mut Graph {
        if Arc::get_mut(&mut self.0).is_none() {
            *self = Body::new(self.graph().clone());
        }
        let own = Arc::get_mut(&mut self.0).expect("nobody else has the copy");
        own.as_any_mut().downcast_mut().expect("every body is a graph")
    }
}

impl Subgraph for Graph {
    fn input_types(&self) -> Vec<TensorType> {
        self.inputs().iter().map(|id| self.ty(*id).clone()).collect()
    }

    fn output_types(&self) -> Vec<TensorType> {
        self.outputs().iter().map(|output| self.ty(output.value).clone()).collect()
    }

    fn eval(&self, inputs: &[&Array]) -> Result<Vec<Array>, EvalError> {
        let wanted: Vec<ValueId> = self.outputs().iter().map(|output| output.value).collect();
        eval_arrays(self, inputs, &wanted)
    }

    fn macs(&self) -> u64 {
        self.nodes().map(|node| self.macs_of(node)).fold(0, u64::saturating_add)
    }

    fn reads(&self) -> u64 {
        self.nodes().map(|node| self.reads_of(node)).fold(0, u64::saturating_add)
    }

    fn is_equal(&self, other: &dyn Subgraph) -> bool {
        other.as_any().downcast_ref::<Graph>().is_some_and(|other| self == other)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl Graph {
    /// Returns the number of multiply-accumulates of one evaluation of a node, those in its bodies included.
    #[must_use]
    pub fn macs_of(&self, node: &Node) -> u64 {
        node.op.macs(&self.operands_of(node), &self.ty(node.output()).shape)
    }

    /// Returns the cost of one evaluation of a node in elements read, apart from writing the results.
    #[must_use]
    pub fn reads_of(&self, node: &Node) -> u64 {
        node.op.reads(&self.operands_of(node), &self.ty(node.output()).shape)
    }

    /// Returns the bodies of a node, with their names, to be changed. Their inputs and outputs must keep their types.
    pub fn bodies_mut(&mut self, node: NodeId) -> Vec<(&'static str, &mut Graph)> {
        let bodies = self.op_mut(node).bodies_mut();
        bodies.into_iter().map(|(name, body)| (name, body.graph_mut())).collect()
    }

    fn operands_of(&self, node: &Node) -> Vec<Option<InferOperand<'_>>> {
        let operand = |id: ValueId| InferOperand { ty: self.ty(id), quant: self.quant(id) };
        node.operands.iter().map(|o| o.map(operand)).collect()
    }
}

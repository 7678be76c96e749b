//! The only way to change a graph: a rewrite describes the new nodes and the values that they replace.
//!
//! A pass reads the graph, builds a rewrite without changing the graph, and applies it. A fusion that stops halfway
//! therefore leaves no trace, and all changes go through one function.

use smallvec::SmallVec;

use crate::epilogue::Epilogue;
use crate::graph::{Def, Graph, Node, infer};
use crate::id::{NodeId, QuantId, ValueId};
use crate::op::{InferError, Op, Types};
use crate::origin::Origin;
use crate::precision::Precision;
use crate::tensor::Tensor;
use crate::types::TensorType;

#[expect(clippy::large_enum_variant, reason = "a rewrite holds a handful of them")]
enum New {
    Const {
        name: String,
        tensor: Tensor,
        quant: Option<QuantId>,
    },
    Node {
        op: Op,
        operands: SmallVec<[Option<ValueId>; 4]>,
        epilogue: Epilogue,
        types: Types,
        precision: Option<Precision>,
        origin: Origin,
        order: u32,
    },
}

/// New constants and nodes, and the values that they replace.
pub struct Rewrite {
    /// What made the rewrite, for remarks and logs: the name of a pass or fusion.
    pub label: &'static str,
    /// The first free value number when the rewrite began. New values count up from it, as they will in the graph.
    base: usize,
    types: Vec<TensorType>,
    new: Vec<New>,
    replaced: Vec<(ValueId, ValueId)>,
}

impl Rewrite {
    /// Creates an empty rewrite of `graph`, which must not change before the rewrite is applied.
    #[must_use]
    pub fn new(graph: &Graph, label: &'static str) -> Self {
        Rewrite { label, base: graph.value_count(), types: Vec::new(), new: Vec::new(), replaced: Vec::new() }
    }

    /// Adds a constant. `name` may be empty.
    pub fn constant(&mut self, name: &str, tensor: Tensor, quant: Option<QuantId>) -> ValueId {
        let ty = TensorType::new(tensor.dtype(), tensor.shape().clone()).with_quant(quant);
        self.new.push(New::Const { name: name.to_owned(), tensor, quant });
        self.value(ty)
    }

    /// Adds a node that replaces the nodes `from`. It gets their origins and the position of the last one. It gets the
    /// precision of the first decided node with its operator or, if there is none, of the first decided node whose
    /// precision it supports. Output 0 has the quantization `quant`, if given, otherwise the inferred one. Returns
    /// output 0.
    ///
    /// # Errors
    /// If the operator or a step is not defined for its operands.
    pub fn node(
        &mut self,
        graph: &Graph,
        from: &[NodeId],
        op: impl Into<Op>,
        operands: &[Option<ValueId>],
        epilogue: Epilogue,
        quant: Option<QuantId>,
    ) -> Result<ValueId, InferError> {
        let op = op.into();
        let mut types = infer(&op, operands, &epilogue, &|id| self.ty(graph, id), &|q| graph.qparams(q))?;
        if quant.is_some() {
            types[0].quant = quant;
        }
        let mut origin = Origin::default();
        from.iter().for_each(|id| origin.unite(&graph.node(*id).origin));
        let precision = inherited(&op, &from.iter().map(|id| graph.node(*id)).collect::<Vec<_>>());
        let order = from.iter().map(|id| graph.node(*id).order).max().unwrap_or(0);
        let first = self.value(types[0].clone());
        types[1..].iter().for_each(|ty| _ = self.value(ty.clone()));
        let operands = operands.iter().copied().collect();
        self.new.push(New::Node { op, operands, epilogue, types, precision, origin, order });
        Ok(first)
    }

    /// Returns the ONNX nodes that the rewrite is about: the origins of the new nodes, or of the producers of the
    /// replaced values.
    #[must_use]
    pub fn origin(&self, graph: &Graph) -> Origin {
        let mut origin = Origin::default();
        for new in &self.new {
            if let New::Node { origin: own, .. } = new {
                origin.unite(own);
            }
        }
        if origin.is_empty() {
            let producers = self.replaced.iter().filter_map(|(old, _)| graph.producer(*old));
            producers.for_each(|node| origin.unite(&node.origin));
        }
        origin
    }

    /// Replaces every use of `old` by `new`. `new` gets the name of `old` if it has none.
    pub fn replace(&mut self, old: ValueId, new: ValueId) {
        self.replaced.push((old, new));
    }

    /// Returns the type of a value of the graph or of this rewrite.
    #[must_use]
    pub fn ty<'a>(&'a self, graph: &'a Graph, id: ValueId) -> &'a TensorType {
        match id.index().checked_sub(self.base) {
            Some(index) => &self.types[index],
            None => graph.ty(id),
        }
    }

    fn value(&mut self, ty: TensorType) -> ValueId {
        self.types.push(ty);
        ValueId::new(self.base + self.types.len() - 1)
    }
}

/// Returns the precision of a node with this operator that replaces others: that of the first decided node with the
/// same operator or, if there is none, of the first decided node whose precision suits.
fn inherited(op: &Op, from: &[&Node]) -> Option<Precision> {
    let same = |node: &Node| node.op.name() == op.name();
    let any_same = from.iter().any(|node| same(node));
    let heirs = from.iter().filter(|node| !any_same || same(node));
    heirs.filter_map(|node| node.precision).find(|precision| precision.suits(op))
}

impl Graph {
    /// Applies a rewrite: adds what is new, redirects uses, removes what nothing reads any more. Returns the new nodes.
    pub fn apply(&mut self, rewrite: Rewrite) -> Vec<NodeId> {
        assert_eq!(rewrite.base, self.value_count(), "the graph has changed since the rewrite was begun");
        let mut added = Vec::new();
        for new in rewrite.new {
            match new {
                New::Const { name, tensor, quant } => _ = self.add_const(&name, tensor, quant),
                New::Node { op, operands, epilogue, types, precision, origin, order } => {
                    let node = self.insert(op, operands, epilogue, types, origin, order);
                    self.set_precision(node, precision);
                    added.push(node);
                }
            }
        }
        for (old, new) in rewrite.replaced {
            let producer = match self.value(old).def {
                Def::Node { node, .. } => Some(node),
                _ => None,
            };
            self.replace_uses_but(old, new, &added);
            if let Some(node) = producer {
                self.remove_if_dead(node);
            }
        }
        added.retain(|id| self.get(*id).is_some());
        added
    }
}

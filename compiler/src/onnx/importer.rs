//! The state of an import: the graph so far, what names stand for, and how much may yet be made.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use eightfold_ir::{DType, Graph, QuantId, QuantParams, Shape, Tensor, ValueId};

use super::error::Unsupported;
use super::model::Model;
use super::names::Names;

/// A tensor on its way into the graph.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// Known already; enters the graph when an operator reads it.
    Const {
        /// The name it will have, if any.
        name: Rc<str>,
        /// Its contents.
        tensor: Tensor,
    },
    /// Computed by the graph.
    Value(ValueId),
}

impl Operand {
    pub(crate) fn constant(name: &str, tensor: Tensor) -> Self {
        Operand::Const { name: Rc::from(name), tensor }
    }
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Slot {
    Known(Operand),
    /// A constant of an element type that is not supported.
    Foreign(String),
    /// The output of a node that could not be imported.
    Lost,
}

/// The names of a graph, a function call or a subgraph.
pub(super) struct Scope {
    pub(super) names: HashMap<String, Slot>,
    /// Whether names of the scope around it can be seen.
    pub(super) open: bool,
}

/// Quantization of integer inputs, found out where they are dequantized.
pub(crate) type Labels = BTreeMap<String, QuantParams>;

/// The state of an import.
pub(crate) struct Importer<'m> {
    pub(super) model: &'m Model,
    pub(crate) graph: Graph,
    pub(super) scopes: Vec<Scope>,
    /// Constants that are in the graph, by where their bytes lie, type and quantization.
    pub(super) placed: HashMap<(usize, DType, Shape, Option<QuantId>), ValueId>,
    pub(super) origins: Names,
    pub(super) unsupported: Vec<Unsupported>,
    pub(super) expanded: usize,
    /// Bytes of the names of nodes so far.
    pub(super) named: usize,
    /// Bytes of constants that may yet be computed.
    pub(super) room: usize,
    /// Quantization that inputs would need in their type.
    pub(crate) wanted: Labels,
}

impl Importer<'_> {
    pub(super) fn bind(&mut self, name: &str, slot: Slot) {
        let scope = self.scopes.last_mut().unwrap_or_else(|| unreachable!("the graph's scope is never popped"));
        scope.names.insert(name.to_owned(), slot);
    }

    pub(super) fn lookup(&self, name: &str) -> Option<&Slot> {
        for scope in self.scopes.iter().rev() {
            if let Some(slot) = scope.names.get(name) {
                return Some(slot);
            }
            if !scope.open {
                break;
            }
        }
        None
    }

    /// Whether a constant of so many bytes may be computed, which is counted.
    pub(crate) fn afford(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// The value of an operand, constants entering the graph with the quantization `quant`.
    pub(crate) fn place(&mut self, operand: &Operand, quant: Option<QuantId>) -> ValueId {
        match operand {
            Operand::Value(value) => *value,
            Operand::Const { name, tensor } => {
                let graph = &mut self.graph;
                // The graph keeps the bytes alive, so no other tensor can come to lie there.
                let key = (tensor.bytes().as_ptr() as usize, tensor.dtype(), tensor.shape().clone(), quant);
                *self.placed.entry(key).or_insert_with(|| graph.add_const(name, tensor.clone(), quant))
            }
        }
    }
}

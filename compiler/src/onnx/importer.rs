//! The state of an import: the graph so far, the meaning of names, and the remaining limits.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use eightfold_ir::{DType, Graph, QuantId, QuantParams, Shape, Tensor, ValueId};

use super::error::UnsupportedNode;
use super::model::OnnxModel;
use super::names::Names;

/// A tensor of the model during import.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    /// A constant; enters the graph when an operator uses it.
    Const {
        /// Its name in the graph; may be empty.
        name: Rc<str>,
        /// Its contents.
        tensor: Tensor,
    },
    /// A value of the graph.
    Value(ValueId),
}

impl Operand {
    pub(crate) fn constant(name: &str, tensor: Tensor) -> Self {
        Operand::Const { name: Rc::from(name), tensor }
    }
}

/// The meaning of a name.
#[derive(Clone)]
pub(crate) enum Slot {
    Known(Operand),
    /// A constant of an unsupported element type.
    Foreign(String),
    /// The output of a node that could not be imported.
    Lost,
}

/// The names of a graph, a function call or a subgraph.
pub(crate) struct Scope {
    pub(crate) names: HashMap<String, Slot>,
    /// Whether names of the surrounding scope are visible.
    pub(crate) open: bool,
}

/// Quantization of integer inputs, discovered where they are dequantized.
pub(crate) type Labels = BTreeMap<String, QuantParams>;

/// The state of an import.
pub(crate) struct Importer<'m> {
    pub(super) model: &'m OnnxModel,
    pub(crate) graph: Graph,
    pub(crate) scopes: Vec<Scope>,
    /// Constants in the graph, by address of their bytes, type, shape and quantization.
    pub(crate) placed: HashMap<(usize, DType, Shape, Option<QuantId>), ValueId>,
    pub(super) origins: Names,
    pub(super) unsupported: Vec<UnsupportedNode>,
    pub(super) expanded: usize,
    /// Bytes of the node names so far.
    pub(super) named: usize,
    /// Bytes of constants that may still be computed.
    pub(super) room: usize,
    /// Quantization that inputs need in their type.
    pub(crate) wanted: Labels,
    /// The greatest numbers of turns of loops, by node.
    pub(crate) max_trip: BTreeMap<String, usize>,
    /// Loops whose stacked outputs are longer than the number of their turns may be, and how long they are.
    pub(crate) bounded: Vec<(String, usize)>,
}

impl Importer<'_> {
    pub(super) fn bind(&mut self, name: &str, slot: Slot) {
        let scope = self.scopes.last_mut().unwrap_or_else(|| unreachable!("the graph's scope is never popped"));
        scope.names.insert(name.to_owned(), slot);
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<&Slot> {
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

    /// Whether a constant of `bytes` bytes may be computed; counts it.
    pub(crate) fn afford(&mut self, bytes: usize) -> bool {
        let left = self.room.checked_sub(bytes);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }

    /// The graph value of an operand; a constant gets the quantization `quant`.
    pub(crate) fn place(&mut self, operand: &Operand, quant: Option<QuantId>) -> ValueId {
        match operand {
            Operand::Value(value) => *value,
            Operand::Const { name, tensor } => {
                let graph = &mut self.graph;
                // The graph keeps the bytes alive, so no other tensor can have the same address.
                let key = (tensor.bytes().as_ptr() as usize, tensor.dtype(), tensor.shape().clone(), quant);
                *self.placed.entry(key).or_insert_with(|| graph.add_const(name, tensor.clone(), quant))
            }
        }
    }
}

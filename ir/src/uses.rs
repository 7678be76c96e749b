//! The readers of each value: a petgraph graph whose vertices are the values and nodes of a [`Graph`](crate::Graph).
//!
//! An edge leads from each node to each value that it defines, and from each value to each node that reads it. The
//! weight of the latter is the number of reads: an operator can read a tensor twice, and its epilogue can read it
//! again.

use petgraph::graphmap::DiGraphMap;

use crate::id::{NodeId, ValueId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Vertex {
    Value(ValueId),
    Node(NodeId),
}

/// The graph of readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses(DiGraphMap<Vertex, usize>);

impl Uses {
    /// Adds a value: the output of `producer`, an input or a constant.
    pub(crate) fn define(&mut self, value: ValueId, producer: Option<NodeId>) {
        match producer {
            Some(node) => _ = self.0.add_edge(Vertex::Node(node), Vertex::Value(value), 1),
            None => _ = self.0.add_node(Vertex::Value(value)),
        }
    }

    /// Returns the nodes that read a value, in no particular order, with the number of reads.
    pub(crate) fn readers(&self, value: ValueId) -> impl Iterator<Item = (NodeId, usize)> + '_ {
        self.0.edges(Vertex::Value(value)).filter_map(|(_, reader, reads)| match reader {
            Vertex::Node(node) => Some((node, *reads)),
            Vertex::Value(_) => None,
        })
    }

    /// Records `reads` more reads of `value` by `node`.
    pub(crate) fn connect(&mut self, value: ValueId, node: NodeId, reads: usize) {
        let (from, to) = (Vertex::Value(value), Vertex::Node(node));
        let before = self.0.edge_weight(from, to).copied().unwrap_or(0);
        self.0.add_edge(from, to, before + reads);
    }

    /// Records that `node` no longer reads `value`.
    pub(crate) fn disconnect(&mut self, value: ValueId, node: NodeId) {
        self.0.remove_edge(Vertex::Value(value), Vertex::Node(node));
    }

    /// Removes a node with all its edges.
    pub(crate) fn remove(&mut self, node: NodeId) {
        self.0.remove_node(Vertex::Node(node));
    }
}

//! The order in which a graph is printed, and the names and numbers of its parts.
//!
//! The order depends only on the structure: nodes in topological order, constants and quantization parameters by first
//! use. So two graphs that were built in different ways but compute the same in the same order have the same text.

use std::collections::BTreeMap;

use crate::graph::{Def, Graph};
use crate::id::{NodeId, QuantId, ValueId};
use crate::literal::Name;

/// The position of each part of a graph in its text.
#[derive(Clone, Debug)]
pub struct Numbering<'g> {
    graph: &'g Graph,
    qparams: Vec<QuantId>,
    consts: Vec<ValueId>,
    nodes: Vec<NodeId>,
    quant_numbers: BTreeMap<QuantId, usize>,
    value_numbers: BTreeMap<ValueId, usize>,
    /// For each node, the number of lines of the nodes before it.
    node_lines: BTreeMap<NodeId, usize>,
    /// The number of lines of all nodes.
    lines_of_nodes: usize,
}

impl<'g> Numbering<'g> {
    /// Computes the numbering of `graph`.
    #[must_use]
    pub fn new(graph: &'g Graph) -> Self {
        // Nodes on a cycle are invalid, but the verifier must be able to print them, so they come last.
        let mut nodes = graph.topo();
        let mut rest: Vec<_> = graph.nodes_unordered().map(|n| (n.order, n.id)).collect();
        if rest.len() > nodes.len() {
            let seen: std::collections::BTreeSet<NodeId> = nodes.iter().copied().collect();
            rest.retain(|(_, id)| !seen.contains(id));
            rest.sort_unstable();
            nodes.extend(rest.into_iter().map(|(_, id)| id));
        }

        let mut seen = vec![false; graph.value_count()];
        let used = nodes.iter().flat_map(|id| graph.node(*id).uses()).chain(graph.outputs().iter().map(|o| o.value));
        let all = graph.values().map(|(id, _)| id);
        let consts = used
            .chain(all)
            .filter(|id| matches!(graph.value(*id).def, Def::Const(_)))
            .filter(|id| !std::mem::replace(&mut seen[id.index()], true))
            .collect::<Vec<_>>();

        let outputs = nodes.iter().flat_map(|id| &graph.node(*id).outputs);
        let written: Vec<ValueId> = graph.inputs().iter().chain(&consts).chain(outputs).copied().collect();
        let (mut qparams, mut quant_numbers) = (Vec::new(), BTreeMap::new());
        for quant in written.iter().filter_map(|id| graph.ty(*id).quant) {
            quant_numbers.entry(quant).or_insert_with(|| {
                qparams.push(quant);
                qparams.len() - 1
            });
        }
        let unnamed = written.iter().filter(|id| graph.value(**id).name.is_none());
        let value_numbers = unnamed.enumerate().map(|(number, id)| (*id, number)).collect();
        let (mut node_lines, mut lines_of_nodes) = (BTreeMap::new(), 0);
        for id in &nodes {
            node_lines.insert(*id, lines_of_nodes);
            let bodies = graph.node(*id).op.bodies();
            let inside: usize = bodies.iter().map(|(_, body)| Numbering::new(body.graph()).lines() + 1).sum();
            lines_of_nodes += 1 + inside;
        }
        Numbering { graph, qparams, consts, nodes, quant_numbers, value_numbers, node_lines, lines_of_nodes }
    }

    /// Returns the number of lines of all items.
    fn lines(&self) -> usize {
        self.qparams.len()
            + self.graph.inputs().len()
            + self.consts.len()
            + self.lines_of_nodes
            + self.graph.outputs().len()
    }

    /// Returns each body of a node with its name and the line on which its block begins, from 1.
    #[must_use]
    pub fn bodies(&self, id: NodeId) -> Vec<(&'static str, usize, &'g Graph)> {
        let mut line = self.node_line(id).unwrap_or(1);
        let block = |(name, body): (&'static str, &'g crate::body::Body)| {
            let begin = line;
            line += Numbering::new(body.graph()).lines() + 1;
            (name, begin, body.graph())
        };
        self.graph.node(id).op.bodies().into_iter().map(block).collect()
    }

    /// Returns the quantization parameters that a value uses, in order.
    #[must_use]
    pub fn qparams(&self) -> &[QuantId] {
        &self.qparams
    }

    /// Returns the constants, in order.
    #[must_use]
    pub fn consts(&self) -> &[ValueId] {
        &self.consts
    }

    /// Returns the nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// Returns the number after `#` of parameters that a value uses.
    #[must_use]
    pub fn quant(&self, id: QuantId) -> Option<usize> {
        self.quant_numbers.get(&id).copied()
    }

    /// Returns the name of a value, with its `%`.
    #[must_use]
    pub fn value(&self, id: ValueId) -> String {
        match (&self.graph.value(id).name, self.value_numbers.get(&id)) {
            (Some(name), _) => format!("%{}", Name(name)),
            (None, Some(number)) => format!("%{number}"),
            // A removed value. The text must not parse.
            (None, None) => format!("%!{}", id.index()),
        }
    }

    /// Returns the first line of a node in the text, from 1.
    #[must_use]
    pub fn node_line(&self, id: NodeId) -> Option<usize> {
        let before = 1 + self.qparams.len() + self.graph.inputs().len() + self.consts.len();
        self.node_lines.get(&id).map(|lines| before + lines + 1)
    }

    /// Returns the line of the text that defines a value, from 1.
    #[must_use]
    pub fn value_line(&self, id: ValueId) -> Option<usize> {
        let before = 1 + self.qparams.len();
        match self.graph.value(id).def {
            Def::Input => self.graph.inputs().iter().position(|v| *v == id).map(|i| before + i + 1),
            Def::Const(_) => {
                self.consts.iter().position(|v| *v == id).map(|i| before + self.graph.inputs().len() + i + 1)
            }
            Def::Node { node, .. } => self.node_line(node),
            Def::Dead => None,
        }
    }

    /// Returns the line of the output `index` in the text, from 1.
    #[must_use]
    pub fn output_line(&self, index: usize) -> usize {
        1 + self.lines() - self.graph.outputs().len() + index + 1
    }
}

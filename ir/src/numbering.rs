//! The order in which a graph is written, and the names and numbers that things have there.
//!
//! The order follows the structure alone: nodes in topological order, constants and quantization parameters by first
//! use. So two graphs that were built along different ways but compute the same in the same order read the same.

use std::collections::BTreeMap;

use crate::graph::{Def, Graph};
use crate::id::{NodeId, QuantId, ValueId};
use crate::literal::Name;

/// Where everything in a graph stands in its text.
#[derive(Clone, Debug)]
pub struct Numbering<'g> {
    graph: &'g Graph,
    qparams: Vec<QuantId>,
    consts: Vec<ValueId>,
    nodes: Vec<NodeId>,
    quant_numbers: BTreeMap<QuantId, usize>,
    value_numbers: BTreeMap<ValueId, usize>,
    node_numbers: BTreeMap<NodeId, usize>,
}

impl<'g> Numbering<'g> {
    /// The numbering of `graph`.
    #[must_use]
    pub fn new(graph: &'g Graph) -> Self {
        // A cycle is an error, but one that the verifier has to show: its nodes come last.
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
        let node_numbers = nodes.iter().enumerate().map(|(number, id)| (*id, number)).collect();
        Numbering { graph, qparams, consts, nodes, quant_numbers, value_numbers, node_numbers }
    }

    /// The quantization parameters that some value carries, in order.
    #[must_use]
    pub fn qparams(&self) -> &[QuantId] {
        &self.qparams
    }

    /// The constants, in order.
    #[must_use]
    pub fn consts(&self) -> &[ValueId] {
        &self.consts
    }

    /// The nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The number behind `#`, for parameters that some value carries.
    #[must_use]
    pub fn quant(&self, id: QuantId) -> Option<usize> {
        self.quant_numbers.get(&id).copied()
    }

    /// The name of a value with its `%`.
    #[must_use]
    pub fn value(&self, id: ValueId) -> String {
        match (&self.graph.value(id).name, self.value_numbers.get(&id)) {
            (Some(name), _) => format!("%{}", Name(name)),
            (None, Some(number)) => format!("%{number}"),
            // A removed value; the text shall not read back.
            (None, None) => format!("%!{}", id.index()),
        }
    }

    /// The line of the text, from 1, on which a node stands.
    #[must_use]
    pub fn node_line(&self, id: NodeId) -> Option<usize> {
        let before = 1 + self.qparams.len() + self.graph.inputs().len() + self.consts.len();
        self.node_numbers.get(&id).map(|number| before + number + 1)
    }

    /// The line of the text, from 1, on which a value is defined.
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

    /// The line of the text, from 1, on which output number `index` stands.
    #[must_use]
    pub fn output_line(&self, index: usize) -> usize {
        1 + self.qparams.len() + self.graph.inputs().len() + self.consts.len() + self.nodes.len() + index + 1
    }
}

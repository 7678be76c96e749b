//! The nodes of a graph and their cost.

use std::collections::BTreeSet;

use eightfold::{Model, node_macs, node_precision};
use eightfold_ir::{Graph, Node, Step, ValueId};
use serde::Serialize;

use crate::cli::output::{count, one_line, table};

/// A graph.
#[derive(Serialize)]
pub(super) struct Report {
    kind: &'static str,
    name: String,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    opset: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    producer: String,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    macs: u64,
    parameters: u64,
    parameter_bytes: u64,
    nodes: Vec<Row>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Serialize)]
struct Row {
    node: String,
    op: String,
    output: String,
    #[serde(rename = "type")]
    ty: String,
    precision: &'static str,
    macs: u64,
    parameters: u64,
}

impl Report {
    /// The graph of a model.
    pub(super) fn of(model: &Model) -> Report {
        let graph = &model.graph;
        let name = |id: ValueId| graph.value(id).name.as_deref().unwrap_or_default().to_owned();
        let input = |&id: &ValueId| Port { name: name(id), ty: graph.ty(id).to_string() };
        let nodes: Vec<Row> = graph.nodes().map(|node| row(graph, node)).collect();
        let constants: BTreeSet<ValueId> = graph.nodes().flat_map(|node| constants(graph, node)).collect();
        let constants: Vec<_> = constants.into_iter().map(|id| graph.ty(id)).collect();
        Report {
            kind: "graph",
            name: model.name.clone(),
            sha256: model.sha256.clone(),
            opset: model.opset,
            producer: model.producer.clone(),
            inputs: graph.inputs().iter().map(input).collect(),
            outputs: graph
                .outputs()
                .iter()
                .map(|output| Port { name: output.name.to_string(), ty: graph.ty(output.value).to_string() })
                .collect(),
            macs: nodes.iter().map(|node| node.macs).sum(),
            parameters: constants.iter().map(|ty| ty.shape.elements() as u64).sum(),
            parameter_bytes: constants.iter().map(|ty| ty.dtype.packed_size(ty.shape.elements()) as u64).sum(),
            nodes,
        }
    }

    /// The report as text.
    pub(super) fn text(&self) -> String {
        let opset = self.opset.map_or_else(String::new, |opset| format!(", opset {opset}"));
        let producer = if self.producer.is_empty() { String::new() } else { format!(", by {}", self.producer) };
        let mut lines = vec![format!("{}{opset}{producer}", self.name)];
        lines.extend(self.inputs.iter().map(|port| format!("  input   {}  {}", one_line(&port.name), port.ty)));
        lines.extend(self.outputs.iter().map(|port| format!("  output  {}  {}", one_line(&port.name), port.ty)));
        let (nodes, macs, parameters) = (self.nodes.len(), count(self.macs), count(self.parameters));
        lines.push(format!("  {nodes} nodes, {macs} MACs, {parameters} parameters\n"));
        let row = |row: &Row| {
            let number = |n: u64| if n == 0 { String::new() } else { count(n) };
            let (macs, parameters) = (number(row.macs), number(row.parameters));
            [row.node.clone(), row.op.clone(), row.ty.clone(), row.precision.to_owned(), macs, parameters]
        };
        let header = ["node", "operator", "output", "precision", "MACs", "parameters"];
        lines.push(table(header, self.nodes.iter().map(row), &[4, 5]));
        lines.join("\n")
    }
}

fn constants<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = ValueId> + 'a {
    node.uses().filter(|id| graph.constant(*id).is_some())
}

fn row(graph: &Graph, node: &Node) -> Row {
    let output = node.output();
    // An elementwise operator is a `map` with an epilogue, so the functions of the epilogue are shown too.
    let steps: Vec<&str> = node.epilogue.steps.iter().map(step_name).collect();
    let op = std::iter::once(node.op.name()).chain(steps).collect::<Vec<_>>().join(" |> ");
    Row {
        node: node.origin.names().collect::<Vec<_>>().join(", "),
        op,
        output: graph.value(output).name.as_deref().unwrap_or_default().to_owned(),
        ty: graph.ty(output).to_string(),
        precision: node_precision(graph, node),
        macs: node_macs(graph, node),
        parameters: constants(graph, node).map(|id| graph.ty(id).shape.elements() as u64).sum(),
    }
}

fn step_name(step: &Step) -> &'static str {
    match step {
        Step::Apply(function, _) => function.name(),
        Step::Cast(_) => "cast",
        Step::Dequantize { .. } => "dequantize",
        Step::Quantize { .. } => "quantize",
        Step::Table(_) => "table",
    }
}

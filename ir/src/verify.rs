//! The verifier: the rules of a valid graph, which every pass keeps and code generation relies on.
//!
//! The verifier checks all rules and reports all violations, each with its place in the text of the graph. A
//! [`VerifiedGraph`] proves that a graph is valid; only [`verify`] creates one.

mod precision;
mod quantization;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use crate::epilogue::{Epilogue, Step};
use crate::graph::{Def, Graph, Node};
use crate::id::{NodeId, ValueId};
use crate::numbering::Numbering;
use crate::op::Op;
use crate::origin::Origin;
use crate::types::{DType, Layout};

/// A graph that satisfies all rules.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedGraph<'g>(&'g Graph);

impl Deref for VerifiedGraph<'_> {
    type Target = Graph;

    fn deref(&self) -> &Graph {
        self.0
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident $name:literal;)*) => {
        /// A rule of valid graphs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $($(#[$doc])* $variant,)*
        }

        impl Rule {
            /// All rules, in the order in which they are checked.
            pub const ALL: &'static [Rule] = &[$(Rule::$variant),*];

            /// Returns the name of the rule in messages.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Rule::$variant => $name,)* }
            }
        }
    };
}

rules! {
    /// Each operand is an input, a constant, or an output of a node of the graph.
    Operands "operands";
    /// No node depends on itself.
    Acyclic "acyclic";
    /// The index of readers agrees with the operands of the nodes.
    Users "users";
    /// Each name leads to its value, and no two values or outputs share a name.
    Names "names";
    /// There is at least one output, and the values of all outputs exist.
    Outputs "outputs";
    /// Operators and steps are defined for their operands, and each type is the inferred one.
    Types "types";
    /// Steps keep the shape of the operator's result. Only the steps of `map` may broadcast it.
    StepShape "step_shape";
    /// Only tensors of rank 3 or more are `nhwc`. The result of `relayout` has the layout in its attribute.
    Layout "layout";
    /// The elements of a constant are valid for its type.
    Elements "elements";
    /// A table is a constant.
    Table "table";
    /// The result of `quantize_linear` has quantization parameters.
    Quantized "quantized";
    /// Quantized tensors are stored in the integer type of their parameters.
    Storage "storage";
    /// There is one scale and one zero point for each channel or block, along an existing axis.
    Entries "entries";
    /// Scales are positive and finite.
    Scale "scale";
    /// Zero points are integers of the storage type. The zero points of 32-bit integers are 0.
    ZeroPoint "zero_point";
    /// Operators that move numbers keep the quantization.
    SameScale "same_scale";
    /// The last step quantizes with the parameters of the result's type.
    Requantize "requantize";
    /// The scale of an integer bias is the product of the scales of operand and weights.
    Bias "bias";
    /// The operator and its operands support the node's precision.
    Precision "precision";
    /// A channel order contains each position of an axis once.
    ChannelOrder "channel_order";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyError {
    /// The line in the text of the graph, from 1.
    pub line: Option<usize>,
    /// The node, if the violation is about one; the node with the body if it is inside one.
    pub node: Option<NodeId>,
    /// The part of the graph on that line: a value, or a node's first output with its operator.
    pub place: String,
    /// The ONNX nodes that the node comes from.
    pub origin: Origin,
    /// The violated rule.
    pub rule: Rule,
    /// The requirement of the rule.
    pub expected: String,
    /// The actual state.
    pub got: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "{}", self.place)?;
        if !self.origin.is_empty() {
            write!(f, " (from {})", self.origin)?;
        }
        write!(f, ": {}: expected {}, got {}", self.rule, self.expected, self.got)
    }
}

impl std::error::Error for VerifyError {}

/// All violations in a graph: at least one, in order of lines.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct VerifyErrors {
    /// The graph's name.
    pub graph: String,
    /// The violations.
    pub errors: Vec<VerifyError>,
}

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "graph {:?} is not valid", self.graph)?;
        self.errors.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// Checks all rules.
///
/// # Errors
/// All violations.
pub fn verify(graph: &Graph) -> Result<VerifiedGraph<'_>, VerifyErrors> {
    let mut errors = violations(graph);
    if errors.is_empty() {
        return Ok(VerifiedGraph(graph));
    }
    errors.sort_by_key(|error| (error.line, error.rule));
    Err(VerifyErrors { graph: graph.name.clone(), errors })
}

/// Returns all violations in a graph and in the bodies of its nodes.
fn violations(graph: &Graph) -> Vec<VerifyError> {
    let mut verifier = Verifier { graph, numbering: Numbering::new(graph), errors: Vec::new() };
    verifier.structure();
    verifier.outputs();
    for (id, _) in graph.values() {
        verifier.value(id);
    }
    for id in verifier.numbering.nodes().to_vec() {
        verifier.node(graph.node(id));
        verifier.bodies(graph.node(id));
    }
    verifier.errors
}

struct Verifier<'g> {
    graph: &'g Graph,
    numbering: Numbering<'g>,
    errors: Vec<VerifyError>,
}

impl<'g> Verifier<'g> {
    fn node_error(&mut self, node: &Node, rule: Rule, expected: impl Into<String>, got: impl Into<String>) {
        let place = match node.outputs.first() {
            Some(output) => format!("{} = {}", self.numbering.value(*output), node.op.name()),
            None => node.op.name().to_owned(),
        };
        let (line, origin) = (self.numbering.node_line(node.id), node.origin.clone());
        let (node, expected, got) = (Some(node.id), expected.into(), got.into());
        self.errors.push(VerifyError { line, node, place, origin, rule, expected, got });
    }

    /// Checks the bodies of a node. Their violations get a place in the whole graph.
    fn bodies(&mut self, node: &Node) {
        for (name, begin, body) in self.numbering.bodies(node.id) {
            let around = node.outputs.first().map(|output| self.numbering.value(*output)).unwrap_or_default();
            self.errors.extend(violations(body).into_iter().map(|error| VerifyError {
                line: Some(begin - 1 + error.line.unwrap_or(1)),
                node: Some(node.id),
                place: format!("{around} = {}, {name}: {}", node.op.name(), error.place),
                ..error
            }));
        }
    }

    fn value_error(&mut self, id: ValueId, rule: Rule, expected: impl Into<String>, got: impl Into<String>) {
        let node = match self.graph.value(id).def {
            Def::Node { node, .. } => self.graph.get(node),
            _ => None,
        };
        self.errors.push(VerifyError {
            line: self.numbering.value_line(id),
            node: node.map(|n| n.id),
            place: self.numbering.value(id),
            origin: node.map_or_else(Origin::default, |n| n.origin.clone()),
            rule,
            expected: expected.into(),
            got: got.into(),
        });
    }

    /// Checks definitions, uses and order.
    fn structure(&mut self) {
        let graph = self.graph;
        let ordered = graph.topo().len();
        for (position, id) in self.numbering.nodes().to_vec().into_iter().enumerate() {
            let node = graph.node(id);
            if position >= ordered {
                self.node_error(node, Rule::Acyclic, "operands that earlier nodes compute", "a cycle");
            }
            for used in node.uses() {
                let missing = match graph.value(used).def {
                    Def::Input | Def::Const(_) => false,
                    Def::Dead => true,
                    Def::Node { node, .. } => graph.get(node).is_none(),
                };
                if missing {
                    let got = format!("{}, which has been removed", self.numbering.value(used));
                    self.node_error(node, Rule::Operands, "values of the graph", got);
                }
            }
            for (output, value) in node.outputs.iter().enumerate() {
                if graph.value(*value).def != (Def::Node { node: id, output }) {
                    let got = format!("{}, which is defined elsewhere", self.numbering.value(*value));
                    self.node_error(node, Rule::Operands, "its own outputs", got);
                }
            }
        }
        let (actual, indexed) = (graph.actual_users(), graph.indexed_users());
        for (id, _) in graph.values() {
            let (actual, indexed) = (&actual[id.index()], &indexed[id.index()]);
            if actual != indexed {
                self.value_error(id, Rule::Users, format!("the users {actual:?}"), format!("{indexed:?} in the index"));
            }
        }
    }

    fn outputs(&mut self) {
        let outputs = self.graph.outputs();
        let mut error = |line, place, rule, expected: &str, got: &str| {
            let (expected, got) = (expected.to_owned(), got.to_owned());
            self.errors.push(VerifyError { line, node: None, place, origin: Origin::default(), rule, expected, got });
        };
        if outputs.is_empty() {
            error(None, "the graph".to_owned(), Rule::Outputs, "at least one output", "none");
        }
        let mut names = BTreeMap::new();
        for (index, output) in outputs.iter().enumerate() {
            let (line, place) = (Some(self.numbering.output_line(index)), format!("output {:?}", output.name));
            if self.graph.value(output.value).def == Def::Dead {
                error(line, place.clone(), Rule::Outputs, "a value of the graph", "a removed value");
            }
            if names.insert(&output.name, ()).is_some() {
                error(line, place, Rule::Names, "a unique name", "the name of another output");
            }
        }
    }

    fn value(&mut self, id: ValueId) {
        let value = self.graph.value(id);
        if let Some(name) = &value.name
            && self.graph.find(name) != Some(id)
        {
            self.value_error(id, Rule::Names, "a name that refers to it", format!("{name:?}, which does not"));
        }
        if value.ty.layout == Layout::Nhwc && value.ty.shape.rank() < 3 {
            self.value_error(id, Rule::Layout, "rank 3 or more for nhwc", value.ty.shape.to_string());
        }
        if let Def::Const(tensor) = &value.def {
            if (tensor.dtype(), tensor.shape()) != (value.ty.dtype, &value.ty.shape) {
                let got = format!("data of {}x{}", tensor.shape(), tensor.dtype());
                self.value_error(id, Rule::Types, value.ty.to_string(), got);
            }
            // Only `bool` has byte values that are not valid.
            let truths = if tensor.dtype() == DType::Bool { tensor.bytes() } else { &[] };
            if let Some(byte) = truths.iter().find(|byte| **byte > 1) {
                self.value_error(id, Rule::Elements, tensor.dtype().to_string(), format!("the byte {byte:#04x}"));
            }
        }
        if let Some(order) = &value.channel_order {
            match value.ty.shape.get(order.axis) {
                Some(extent) if order.is_permutation(*extent) => {}
                Some(extent) => {
                    let expected = format!("each position below {extent} once");
                    self.value_error(id, Rule::ChannelOrder, expected, format!("{:?}", order.from));
                }
                None => {
                    let expected = format!("an axis below rank {}", value.ty.shape.rank());
                    self.value_error(id, Rule::ChannelOrder, expected, format!("axis {}", order.axis));
                }
            }
        }
        self.quantization(id);
    }

    fn node(&mut self, node: &Node) {
        let graph = self.graph;
        for step in &node.epilogue.steps {
            if let Step::Table(table) = step
                && graph.constant(*table).is_none()
            {
                let got = format!("{}, which is not constant", self.numbering.value(*table));
                self.node_error(node, Rule::Table, "a constant", got);
            }
        }
        if node.uses().any(|v| graph.value(v).def == Def::Dead) {
            return;
        }
        let inferred = match graph.infer(&node.op, &node.operands, &node.epilogue) {
            Ok(types) => types,
            Err(error) => {
                return self.node_error(
                    node,
                    Rule::Types,
                    "an operator that is defined for these operands",
                    error.to_string(),
                );
            }
        };
        if inferred.len() != node.outputs.len() {
            let (expected, got) = (inferred.len(), node.outputs.len());
            self.node_error(node, Rule::Types, format!("{expected} outputs"), got.to_string());
        }
        for (output, expected) in node.outputs.iter().zip(&inferred) {
            let got = graph.ty(*output);
            if (got.dtype, &got.shape) != (expected.dtype, &expected.shape) {
                self.node_error(node, Rule::Types, expected.to_string(), got.to_string());
            }
        }
        if !matches!(node.op, Op::Map(_)) {
            let produced = graph.infer(&node.op, &node.operands, &Epilogue::none());
            let kept = produced.map(|types| types[0].shape.clone()).unwrap_or_else(|_| inferred[0].shape.clone());
            if kept != inferred[0].shape {
                let (expected, got) = (format!("steps that keep the shape {kept}"), inferred[0].shape.to_string());
                self.node_error(node, Rule::StepShape, expected, got);
            }
        }
        if let Op::Relayout(relayout) = &node.op {
            let (expected, got) = (Layout::from(relayout.to), graph.ty(node.output()).layout);
            if expected != got {
                self.node_error(
                    node,
                    Rule::Layout,
                    format!("{expected:?}").to_lowercase(),
                    format!("{got:?}").to_lowercase(),
                );
            }
        }
        self.operator_quantization(node, &inferred);
        self.precision(node);
    }
}

/// Violations that no text can express.
#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::epilogue::Epilogue;
    use crate::graph::Output;
    use crate::op::map::Map;
    use crate::types::{Shape, TensorType};

    fn chain() -> (Graph, [ValueId; 3]) {
        let mut graph = Graph::new("g");
        let x = graph.add_input("x", TensorType::new(DType::F32, Shape::new(&[4])));
        let a = graph.add("a", Map {}, &[Some(x)], Origin::of("/a")).unwrap();
        let b = graph.add("b", Map {}, &[Some(a)], Origin::of("/b")).unwrap();
        graph.add_output("b", b);
        (graph, [x, a, b])
    }

    fn errors(graph: &Graph) -> Vec<(Rule, String)> {
        let errors = verify(graph).expect_err("the graph is wrong").errors;
        errors.into_iter().map(|e| (e.rule, e.to_string())).collect()
    }

    #[test]
    fn a_sound_chain_is_valid() {
        assert!(verify(&chain().0).is_ok());
    }

    #[test]
    fn a_cycle_is_refused_and_printed() {
        let (mut graph, [x, _, b]) = chain();
        graph.replace_uses_but(x, b, &[]);
        let message =
            "line 3, %a = map (from \"/a\"): acyclic: expected operands that earlier nodes compute, got a cycle";
        assert_eq!(errors(&graph)[0], (Rule::Acyclic, message.to_owned()));
        assert!(crate::print(&graph).contains("%a = map(%b)"));
    }

    #[test]
    fn a_removed_operand_and_output_are_refused() {
        let (mut graph, [x, ..]) = chain();
        let gone = graph.add("gone", Map {}, &[Some(x)], Origin::default()).unwrap();
        let node = graph.producer(gone).unwrap().id;
        graph.remove_if_dead(node);
        let ty = graph.ty(gone).clone();
        graph.insert(Map {}.into(), smallvec![Some(gone)], Epilogue::none(), smallvec![ty], Origin::default(), 9);
        graph.set_outputs(vec![Output { name: "y".into(), value: gone }]);
        let rules: Vec<Rule> = errors(&graph).into_iter().map(|(rule, _)| rule).collect();
        assert_eq!(rules, [Rule::Operands, Rule::Outputs]);
    }

    #[test]
    fn a_stale_index_of_users_is_refused() {
        let (mut graph, _) = chain();
        graph.forget_uses();
        let errors = errors(&graph);
        assert_eq!(errors.iter().map(|error| error.0).collect::<Vec<_>>(), [Rule::Users; 2]);
    }

    #[test]
    fn types_are_inferred_again() {
        let (mut graph, [x, ..]) = chain();
        let wrong = TensorType::new(DType::F32, Shape::new(&[5]));
        graph.insert(Map {}.into(), smallvec![Some(x)], Epilogue::none(), smallvec![wrong], Origin::default(), 9);
        assert_eq!(errors(&graph), [(Rule::Types, "line 5, %0 = map: types: expected 4xf32, got 5xf32".to_owned())]);
    }
}

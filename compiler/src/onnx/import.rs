//! Walks a decoded model in topological order and lets each node's adapter add operators to the graph.
//!
//! Names live in scopes: one for the graph, and one for each function call or subgraph that is being expanded. If a
//! node cannot be imported, it is recorded and its outputs become unknown. Of the nodes after it, only the operator is
//! checked, so one error can list everything that is missing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use eightfold_ir::{Graph, Origin, TensorType};

use super::adapt::{self, Adapt, AdaptError};
use super::error::{OnnxError, UnsupportedNode, UnsupportedNodes};
use super::imported::{ImportOptions, ImportRemark, Imported};
use super::importer::{Importer, Labels, Operand, Scope, Slot};
use super::model::{Attribute, Body, Content, Declared, Function, Node, OnnxModel};
use super::names::Names;
use super::{constants, dims, order};

/// The maximum nesting of functions and subgraphs.
const DEEPEST: usize = 32;
/// The maximum number of nodes after all functions are expanded.
const MOST_NODES: usize = 1 << 17;

/// Constants that are computed at import may take this many bytes, plus [`ROOM_PER_BYTE`] for each byte of the model's
/// own constants: a small file must not fill the memory.
const ROOM: usize = 64 << 20;
const ROOM_PER_BYTE: usize = 8;

/// The maximum number of bytes in node names after functions are expanded. Each name includes those of the surrounding
/// calls, so a few functions with long names that call each other twice would create gigabytes.
const MOST_NAMES: usize = 64 << 20;

/// Imports `model`.
pub(crate) fn import(model: &OnnxModel, options: &ImportOptions) -> Result<Imported, OnnxError> {
    let mut labels = Labels::new();
    loop {
        let (importer, remarks) = run(model, options, &labels)?;
        // The quantization of an integer input is only known where the input is used, but belongs to its type.
        let new: Vec<_> = importer.wanted.into_iter().filter(|(name, _)| !labels.contains_key(name)).collect();
        if new.is_empty() {
            return Ok(Imported {
                graph: importer.graph,
                remarks,
                opset: model.opsets.get("").copied(),
                producer: model.producer.clone(),
                sha256: model.sha256.clone(),
                external: model.external.clone(),
            });
        }
        labels.extend(new);
    }
}

fn run<'m>(
    model: &'m OnnxModel,
    options: &ImportOptions,
    labels: &Labels,
) -> Result<(Importer<'m>, Vec<ImportRemark>), OnnxError> {
    let body = &model.body;
    if body.outputs.is_empty() {
        return Err(OnnxError::NoOutputs);
    }
    let mut importer = Importer {
        model,
        graph: Graph::new(body.name.clone()),
        scopes: vec![Scope { names: HashMap::new(), open: false }],
        placed: HashMap::new(),
        origins: Names::default(),
        unsupported: Vec::new(),
        expanded: 0,
        named: 0,
        room: ROOM + model.constant_bytes().saturating_mul(ROOM_PER_BYTE),
        wanted: Labels::new(),
        max_trip: options.max_trip.clone(),
        bounded: Vec::new(),
    };
    let initializers: BTreeSet<&str> = body.initializers.iter().map(|(name, _)| name.as_str()).collect();
    let inputs: Vec<&Declared> = body.inputs.iter().filter(|i| !initializers.contains(i.name.as_str())).collect();
    let dtype = |input: &&Declared| {
        let error = |got: String| OnnxError::NotNumbers { name: input.name.clone(), got };
        input.dtype.clone().ok_or_else(|| error("without a type".to_owned()))?.map_err(error)
    };
    let dtypes = inputs.iter().map(dtype).collect::<Result<Vec<_>, _>>()?;
    constants::check(&inputs, &options.constants)?;
    let (shapes, mut remarks) = dims::bind(&inputs, &options.dims)?;
    for ((input, dtype), shape) in inputs.iter().zip(dtypes).zip(shapes) {
        if let Some(constant) = options.constants.get(&input.name) {
            let tensor = constants::tensor(&input.name, constant, dtype, &shape)?;
            importer.bind(&input.name, Slot::Known(Operand::constant(&input.name, tensor)));
            continue;
        }
        let label = labels.get(&input.name).filter(|q| q.storage == dtype);
        let quant = label.map(|q| importer.graph.add_qparams(q.clone()));
        let value = importer.graph.add_input(&input.name, TensorType::new(dtype, shape).with_quant(quant));
        importer.bind(&input.name, Slot::Known(Operand::Value(value)));
    }
    let outputs = importer.body(body, &model.opsets, "")?;
    if !importer.unsupported.is_empty() {
        return Err(OnnxError::Unsupported(UnsupportedNodes(importer.unsupported)));
    }
    let mut names = Names::default();
    body.outputs.iter().for_each(|output| _ = names.take(&output.name));
    let mut listed = BTreeSet::new();
    for (declared, slot) in body.outputs.iter().zip(outputs) {
        let mut name = declared.name.clone();
        if !listed.insert(declared.name.as_str()) {
            name = names.unique(&name);
            remarks.push(ImportRemark::RepeatedOutput { output: declared.name.clone(), copy: name.clone() });
        }
        let operand = match slot {
            Slot::Known(operand) => operand,
            Slot::Foreign(kind) => return Err(OnnxError::NotNumbers { name: declared.name.clone(), got: kind }),
            Slot::Lost => unreachable!("what is lost has been reported as unsupported"),
        };
        let value = importer.place(&operand, None);
        importer.graph.add_output(&name, value);
        remarks.extend(contradictions(declared, importer.graph.ty(value)));
    }
    importer.graph.eliminate_dead();
    let bounded = std::mem::take(&mut importer.bounded).into_iter();
    remarks.extend(bounded.map(|(node, rows)| ImportRemark::LoopRows { node, rows }));
    Ok((importer, remarks))
}

/// Where the declared type of an output differs from the inferred one.
fn contradictions(declared: &Declared, ty: &TensorType) -> Vec<ImportRemark> {
    let output = declared.name.clone();
    let mut remarks = Vec::new();
    if let Some(shape) = &declared.shape {
        let fits = |(dim, n): (&super::model::Dim, &usize)| match dim {
            super::model::Dim::Number(d) => d == n,
            _ => true,
        };
        if shape.len() != ty.shape.rank() || !shape.iter().zip(ty.shape.iter()).all(fits) {
            let declared = shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x");
            let inferred = ty.shape.to_string();
            remarks.push(ImportRemark::OutputShape { output: output.clone(), declared, inferred });
        }
    }
    match &declared.dtype {
        Some(Ok(dtype)) if *dtype != ty.dtype => remarks.push(ImportRemark::OutputType {
            output,
            declared: dtype.to_string(),
            inferred: ty.dtype.to_string(),
        }),
        _ => {}
    }
    remarks
}

impl Importer<'_> {
    /// Imports a body into the innermost scope; returns the meaning of its outputs.
    fn body(&mut self, body: &Body, opsets: &BTreeMap<String, i64>, path: &str) -> Result<Vec<Slot>, OnnxError> {
        for (name, content) in &body.initializers {
            let slot = match content {
                Content::Tensor(tensor) => Slot::Known(Operand::constant(&format!("{path}{name}"), tensor.clone())),
                Content::Foreign(kind) => Slot::Foreign(kind.clone()),
            };
            self.bind(name, slot);
        }
        let given = order::given(body)?;
        let outputs: Vec<&str> = body.outputs.iter().map(|o| o.name.as_str()).collect();
        self.nodes(&body.nodes, &given, &outputs, opsets, path)
    }

    fn nodes(
        &mut self,
        nodes: &[Node],
        given: &BTreeSet<&str>,
        outputs: &[&str],
        opsets: &BTreeMap<String, i64>,
        path: &str,
    ) -> Result<Vec<Slot>, OnnxError> {
        let sorted = order::order(nodes, given, outputs, |name| self.lookup(name).is_some())?;
        self.expanded += sorted.len();
        if self.scopes.len() > DEEPEST || self.expanded > MOST_NODES {
            return Err(OnnxError::Expansion { name: path.trim_end_matches('/').to_owned() });
        }
        let mut read: BTreeSet<&str> = nodes.iter().flat_map(Node::reads).collect();
        read.extend(outputs);
        for index in sorted {
            let node = &nodes[index];
            let origin = format!("{path}{}", order::label(nodes, index));
            self.named += origin.len();
            if self.named > MOST_NAMES {
                return Err(OnnxError::Names { limit: MOST_NAMES });
            }
            let origin = self.origins.unique(&origin);
            let slots = self.node(node, &origin, opsets, &read, path)?;
            if let Some(output) = node.outputs.get(slots.len()).filter(|o| read.contains(o.as_str())) {
                let reason = format!("yields {} outputs, so no {output:?}", slots.len());
                return Err(OnnxError::Node { node: origin, op_type: node.op_type.clone(), reason });
            }
            for (name, slot) in node.outputs.iter().zip(slots).filter(|(name, _)| !name.is_empty()) {
                self.bind(name, slot);
            }
        }
        let slot = |name: &&str| self.lookup(name).cloned().unwrap_or(Slot::Lost);
        Ok(outputs.iter().map(slot).collect())
    }

    fn node(
        &mut self,
        node: &Node,
        origin: &str,
        opsets: &BTreeMap<String, i64>,
        read: &BTreeSet<&str>,
        path: &str,
    ) -> Result<Vec<Slot>, OnnxError> {
        let lost = vec![Slot::Lost; node.outputs.len()];
        let model = self.model;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let mut foreign = None;
        let mut complete = true;
        for name in &node.inputs {
            inputs.push(match self.lookup(name) {
                _ if name.is_empty() => None,
                Some(Slot::Known(operand)) => Some(operand.clone()),
                Some(Slot::Foreign(kind)) => {
                    foreign = Some(format!("{name:?} is {kind}"));
                    None
                }
                Some(Slot::Lost) | None => {
                    complete = false;
                    None
                }
            });
        }
        if let Some(function) = model.functions.get(&(node.domain.clone(), node.op_type.clone())) {
            return self.call(function, node, inputs, complete, &format!("{origin}/"));
        }
        let version = opsets.get(&node.domain).or_else(|| model.opsets.get(&node.domain)).copied().unwrap_or(1);
        let unsupported = |reason: String| UnsupportedNode {
            op_type: node.op_type.clone(),
            domain: node.domain.clone(),
            version,
            node: origin.to_owned(),
            reason,
        };
        let Some(adapter) = adapt::find(&node.domain, &node.op_type) else {
            self.unsupported.push(unsupported(String::new()));
            return Ok(lost);
        };
        if let Some(reason) = foreign {
            self.unsupported.push(unsupported(reason));
            return Ok(lost);
        }
        if !complete {
            return Ok(lost);
        }
        let used = node.outputs.iter().map(|o| read.contains(o.as_str())).collect();
        let mut adapt =
            Adapt::new(self, Importer::subgraph, node, version, inputs, used, Origin::of(origin), opsets, path);
        match adapter.run(&mut adapt) {
            Ok(outputs) => {
                adapt.name_outputs(&outputs);
                Ok(outputs.into_iter().map(Slot::Known).collect())
            }
            Err(AdaptError::Unsupported(reason)) => {
                self.unsupported.push(unsupported(reason));
                Ok(lost)
            }
            Err(AdaptError::Broken(reason)) => {
                Err(OnnxError::Node { node: origin.to_owned(), op_type: node.op_type.clone(), reason })
            }
            Err(AdaptError::Model(error)) => Err(*error),
            Err(AdaptError::Lost) => Ok(lost),
        }
    }

    /// Expands a call of one of the model's functions.
    fn call(
        &mut self,
        function: &Function,
        node: &Node,
        inputs: Vec<Option<Operand>>,
        complete: bool,
        path: &str,
    ) -> Result<Vec<Slot>, OnnxError> {
        let mut names = HashMap::new();
        let mut inputs = inputs.into_iter();
        let mut left_out = BTreeSet::new();
        for name in &function.inputs {
            match inputs.next().flatten() {
                Some(operand) if complete => _ = names.insert(name.clone(), Slot::Known(operand)),
                None if complete => _ = left_out.insert(name.as_str()),
                _ => _ = names.insert(name.clone(), Slot::Lost),
            }
        }
        let nodes: Vec<Node> = function.nodes.iter().map(|n| bound(n, node, function, &left_out)).collect();
        let given = function.inputs.iter().map(String::as_str).collect();
        let outputs: Vec<&str> = function.outputs.iter().map(String::as_str).collect();
        self.scopes.push(Scope { names, open: false });
        let slots = self.nodes(&nodes, &given, &outputs, &function.opsets, path);
        self.scopes.pop();
        slots
    }

    /// Expands a subgraph without inputs, which can use the surrounding names. Returns its outputs, or `None` if one of
    /// them cannot be imported.
    fn subgraph(
        &mut self,
        body: &Body,
        opsets: &BTreeMap<String, i64>,
        path: &str,
    ) -> Result<Option<Vec<Operand>>, OnnxError> {
        self.scopes.push(Scope { names: HashMap::new(), open: true });
        let slots = self.body(body, opsets, path);
        self.scopes.pop();
        let known = |slot| match slot {
            Slot::Known(operand) => Some(operand),
            Slot::Foreign(_) | Slot::Lost => None,
        };
        Ok(slots?.into_iter().map(known).collect())
    }
}

/// A node of a function's body, in which references to the function's attributes are replaced by the call's attributes.
fn bound(inner: &Node, call: &Node, function: &Function, left_out: &BTreeSet<&str>) -> Node {
    let mut node = inner.clone();
    node.inputs.iter_mut().filter(|i| left_out.contains(i.as_str())).for_each(String::clear);
    node.attributes = std::mem::take(&mut node.attributes)
        .into_iter()
        .filter_map(|(name, attribute)| match attribute {
            Attribute::Of(outer) => {
                let value = call.attributes.get(&outer).or_else(|| function.defaults.get(&outer));
                value.map(|v| (name, v.clone()))
            }
            Attribute::Graph(body) => {
                let mut body = *body;
                body.nodes = body.nodes.iter().map(|n| bound(n, call, function, left_out)).collect();
                Some((name, Attribute::Graph(Box::new(body))))
            }
            other => Some((name, other)),
        })
        .collect();
    node
}

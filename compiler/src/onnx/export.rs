//! Writes a graph as an ONNX model: operators, steps and quantization become nodes of the default operator set.
//!
//! It is for float graphs, with or without `quantize_linear` and `dequantize_linear`. Each operator becomes the
//! equivalent ONNX operator, and each step of its epilogue a node after it. Quantized constants become integer
//! initializers with initializers for scale and zero point. Shapes are fixed: a dimension that was set at import stays
//! set. Integer products, which `lower_qdq` creates, cannot be exported.

mod operator;
mod step;

use std::collections::BTreeMap;

use eightfold_ir::graph::Def;
use eightfold_ir::{DType, Data, Granularity, Graph, QuantId, Shape, Tensor, TensorType, ValueId};

use super::error::OnnxError;
use super::model::{Attribute, Body, Content, Declared, Dim, Node, OnnxModel};
use super::names::Names;
use super::proto;

/// The opset of exported models, ONNX 1.16: the oldest with everything that is written here, including 4-bit and
/// blocked quantization. Older runtimes can load it, too.
const OPSET: i64 = 21;

/// Converts the graph to an ONNX model of opset 21.
///
/// Inputs, outputs and named tensors keep their names. The model computes the same function as the graph; float results
/// depend on the runtime's rounding.
///
/// # Errors
/// [`OnnxError::Inexpressible`] for a node that ONNX cannot express; [`OnnxError::TooLarge`] above the size limit of
/// protobuf.
pub fn export(graph: &Graph) -> Result<Vec<u8>, OnnxError> {
    let mut exporter = Exporter::new(graph);
    for node in graph.nodes() {
        exporter.node(node)?;
    }
    exporter.outputs();
    proto::encode(&OnnxModel {
        producer: concat!("eightfold ", env!("CARGO_PKG_VERSION")).to_owned(),
        opsets: [(String::new(), OPSET)].into(),
        body: exporter.body,
        functions: BTreeMap::new(),
        sha256: String::new(),
        external: Vec::new(),
    })
}

/// Why ONNX cannot express a node.
pub(crate) struct Inexpressible(String);

fn inexpressible(reason: impl Into<String>) -> Inexpressible {
    Inexpressible(reason.into())
}

/// The state of an export.
struct Exporter<'g> {
    graph: &'g Graph,
    body: Body,
    /// Names of the values that have been written.
    names: BTreeMap<ValueId, String>,
    taken: Names,
    node_names: Names,
    /// Names of the initializers for scale and zero point, by parameters and shape of the scale.
    qparams: BTreeMap<(QuantId, Shape), Vec<String>>,
    /// Names of small constants for steps and operators.
    constants: BTreeMap<(DType, Shape, Vec<u8>), String>,
    /// Base name for the nodes of the current operator.
    origin: String,
}

impl<'g> Exporter<'g> {
    fn new(graph: &'g Graph) -> Self {
        let declared = |name: &str, ty: &TensorType| Declared {
            name: name.to_owned(),
            dtype: Some(Ok(ty.dtype)),
            shape: Some(ty.shape.iter().map(|dim| Dim::Number(*dim)).collect()),
        };
        let mut exporter = Exporter {
            graph,
            body: Body { name: graph.name.clone(), ..Body::default() },
            names: BTreeMap::new(),
            taken: Names::default(),
            node_names: Names::default(),
            qparams: BTreeMap::new(),
            constants: BTreeMap::new(),
            origin: String::new(),
        };
        if exporter.body.name.is_empty() {
            exporter.body.name = "graph".to_owned();
        }
        for id in graph.inputs() {
            let value = graph.value(*id);
            let name = exporter.fresh(value.name.as_deref().unwrap_or("input"));
            exporter.body.inputs.push(declared(&name, &value.ty));
            exporter.names.insert(*id, name);
        }
        // The names of inputs and outputs are the model's interface: no other tensor may take them.
        for output in graph.outputs() {
            exporter.body.outputs.push(declared(&output.name, graph.ty(output.value)));
            let computed = matches!(graph.value(output.value).def, Def::Node { .. });
            if exporter.taken.take(&output.name) && computed {
                exporter.names.entry(output.value).or_insert_with(|| output.name.to_string());
            }
        }
        exporter
    }

    /// Writes outputs that are an input, a constant, or the same value as another output.
    fn outputs(&mut self) {
        for output in self.graph.outputs() {
            let name = self.value(output.value);
            if name != *output.name {
                self.origin = output.name.to_string();
                self.push("Identity", vec![name], output.name.to_string(), []);
            }
        }
    }

    /// A name that is not used yet.
    fn fresh(&mut self, wanted: &str) -> String {
        self.taken.unique(wanted)
    }

    /// The name of a value; a constant is written on first use.
    fn value(&mut self, id: ValueId) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let value = self.graph.value(id);
        let name = match (&value.name, &value.def) {
            (Some(name), _) => self.fresh(name.as_ref()),
            (None, Def::Const(_)) => self.fresh("constant"),
            (None, _) => self.fresh(&format!("{}_output", self.origin)),
        };
        if let Def::Const(tensor) = &value.def {
            self.body.initializers.push((name.clone(), Content::Tensor(tensor.clone())));
        }
        self.names.insert(id, name.clone());
        name
    }

    /// The name of a small constant, which is written on first use.
    fn constant(&mut self, tensor: Tensor) -> String {
        let key = (tensor.dtype(), tensor.shape().clone(), tensor.bytes().to_vec());
        if let Some(name) = self.constants.get(&key) {
            return name.clone();
        }
        let name = self.fresh("constant");
        self.body.initializers.push((name.clone(), Content::Tensor(tensor)));
        self.constants.insert(key, name.clone());
        name
    }

    /// The name of a constant list of i64.
    fn ints(&mut self, list: impl IntoIterator<Item = i64>) -> String {
        let list: Vec<i64> = list.into_iter().collect();
        self.constant(Tensor::int(DType::I64, &[list.len()], &list))
    }

    /// `call` with the scale and zero point of `tensor`, which has the shape `shape`, as its last operands.
    fn quantized_by(
        &mut self,
        mut call: Call,
        quant: QuantId,
        tensor: &str,
        shape: &Shape,
    ) -> Result<Call, Inexpressible> {
        let params = self.graph.qparams(quant);
        let scale_shape = match params.granularity {
            Granularity::PerTensor => Shape::scalar(),
            Granularity::PerChannel { axis } => {
                call = call.with("axis", Attribute::Int(axis as i64));
                Shape::new(&[params.scale.len()])
            }
            Granularity::Blocked { axis, block } => {
                call = call.with("axis", Attribute::Int(axis as i64));
                call = call.with("block_size", Attribute::Int(block as i64));
                let mut blocks = shape.clone();
                blocks[axis] = shape[axis].div_ceil(block);
                blocks
            }
        };
        let key = (quant, scale_shape.clone());
        if !self.qparams.contains_key(&key) {
            let zero_points = Data::Int(params.zero_point.iter().map(|z| i64::from(*z)).collect());
            let mut tensors = vec![
                ("scale", DType::F32, Data::Float(params.scale.to_vec())),
                ("zero_point", params.storage, zero_points),
            ];
            if params.storage == DType::I32 {
                if params.zero_point.iter().any(|z| *z != 0) {
                    return Err(inexpressible("i32 with a zero point other than 0"));
                }
                tensors.truncate(1);
            }
            let mut names = Vec::new();
            for (what, dtype, data) in tensors {
                let name = self.fresh(&format!("{tensor}_{what}"));
                let tensor = Tensor::from_array(dtype, scale_shape.clone(), &data);
                self.body.initializers.push((name.clone(), Content::Tensor(tensor)));
                names.push(name);
            }
            self.qparams.insert(key.clone(), names);
        }
        call.inputs.extend_from_slice(&self.qparams[&key]);
        Ok(call)
    }

    /// Adds a node with the output `output`.
    fn push(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        output: String,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) {
        let first = !self.node_names.contains(&self.origin);
        let wanted = if first { self.origin.clone() } else { format!("{}/{op_type}", self.origin) };
        let name = self.node_names.unique(&wanted);
        self.body.nodes.push(Node {
            name,
            op_type: op_type.to_owned(),
            domain: String::new(),
            inputs,
            outputs: vec![output],
            attributes: attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
    }

    /// Writes the nodes for an operator and its steps.
    fn node(&mut self, node: &eightfold_ir::Node) -> Result<(), OnnxError> {
        self.origin = match node.origin.names().next() {
            Some(name) => name.to_owned(),
            None => self.graph.value(node.output()).name.as_deref().unwrap_or(node.op.name()).to_owned(),
        };
        self.translated(node).map_err(|Inexpressible(reason)| OnnxError::Inexpressible {
            node: self.origin.clone(),
            op: node.op.name(),
            reason,
        })
    }
}

/// A node to be written. The last call of an operator gets the output's name.
struct Call {
    op_type: &'static str,
    inputs: Vec<String>,
    attributes: Vec<(&'static str, Attribute)>,
}

impl Call {
    fn new(op_type: &'static str, inputs: Vec<String>) -> Self {
        Call { op_type, inputs, attributes: Vec::new() }
    }

    /// Adds an operand.
    fn and(mut self, input: String) -> Self {
        self.inputs.push(input);
        self
    }

    fn with(mut self, name: &'static str, value: Attribute) -> Self {
        self.attributes.push((name, value));
        self
    }
}

impl Exporter<'_> {
    /// Writes a node for internal use and returns its output's name.
    fn call(&mut self, call: Call) -> String {
        let output = self.fresh(&format!("{}_{}", self.origin, call.op_type));
        self.push(call.op_type, call.inputs, output.clone(), call.attributes);
        output
    }

    /// Writes operator and steps of a node; the last ONNX node gets the name of the value.
    fn translated(&mut self, node: &eightfold_ir::Node) -> Result<(), Inexpressible> {
        let [output] = node.outputs[..] else {
            return Err(inexpressible(format!("it has {} outputs", node.outputs.len())));
        };
        let before = self.body.nodes.len();
        let produced = self.operator(node)?;
        let last = self.steps(node, produced)?;
        let name = self.value(output);
        match self.body.nodes[before..].last_mut() {
            Some(node) => {
                self.taken.give_back(&last);
                node.outputs[0] = name;
            }
            // The operand is passed through.
            None => self.push("Identity", vec![last], name, []),
        }
        Ok(())
    }
}

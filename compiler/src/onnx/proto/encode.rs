//! Encodes plain structs as the bytes of a ModelProto.

use eightfold_ir::DType;
use prost::Message;

use super::messages::{
    AttributeProto, AttributeType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};
use crate::onnx::error::OnnxError;
use crate::onnx::model::{Attribute, Body, Content, Declared, Dim, Node, OnnxModel};

/// Version of the file format that belongs to opset 21.
const IR_VERSION: i64 = 10;
/// Size limit of protobuf messages.
const BYTES_LIMIT: usize = 1 << 31;

/// The bytes of a model without functions; its tensors are stored in the file.
pub(crate) fn encode(model: &OnnxModel) -> Result<Vec<u8>, OnnxError> {
    let (producer_name, producer_version) = model.producer.split_once(' ').unwrap_or((&model.producer, ""));
    let opset = |(domain, version): (&String, &i64)| OperatorSetIdProto { domain: domain.clone(), version: *version };
    let message = ModelProto {
        ir_version: IR_VERSION,
        opset_import: model.opsets.iter().map(opset).collect(),
        producer_name: producer_name.to_owned(),
        producer_version: producer_version.to_owned(),
        graph: Some(body(&model.body)),
        ..Default::default()
    };
    match message.encoded_len() {
        size if size >= BYTES_LIMIT => Err(OnnxError::TooLarge { size, limit: BYTES_LIMIT }),
        _ => Ok(message.encode_to_vec()),
    }
}

fn body(body: &Body) -> GraphProto {
    GraphProto {
        name: body.name.clone(),
        node: body.nodes.iter().map(node).collect(),
        initializer: body.initializers.iter().map(|(name, content)| tensor(name, content).encode_to_vec()).collect(),
        input: body.inputs.iter().map(declared).collect(),
        output: body.outputs.iter().map(declared).collect(),
        ..Default::default()
    }
}

fn node(node: &Node) -> NodeProto {
    NodeProto {
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        name: node.name.clone(),
        op_type: node.op_type.clone(),
        domain: node.domain.clone(),
        attribute: node.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut a = AttributeProto { name: name.to_owned(), ..Default::default() };
    let kind = match value {
        Attribute::Float(x) => {
            a.f = *x;
            AttributeType::Float
        }
        Attribute::Int(x) => {
            a.i = *x;
            AttributeType::Int
        }
        Attribute::String(x) => {
            a.s = x.clone().into_bytes();
            AttributeType::String
        }
        Attribute::Floats(x) => {
            a.floats = x.clone();
            AttributeType::Floats
        }
        Attribute::Ints(x) => {
            a.ints = x.clone();
            AttributeType::Ints
        }
        Attribute::Tensor(x) => {
            a.t = Some(tensor("", x));
            AttributeType::Tensor
        }
        Attribute::Graph(x) => {
            a.g = Some(body(x));
            AttributeType::Graph
        }
        Attribute::Of(_) | Attribute::Other(_) => unreachable!("the exporter makes no functions"),
    };
    a.r#type = kind as i32;
    a
}

fn tensor(name: &str, content: &Content) -> TensorProto {
    let Content::Tensor(tensor) = content else { unreachable!("the exporter has tensors of supported types alone") };
    TensorProto {
        name: name.to_owned(),
        data_type: tensor.dtype().onnx(),
        dims: tensor.shape().iter().map(|dim| *dim as i64).collect(),
        raw_data: tensor.bytes().to_vec(),
        ..Default::default()
    }
}

fn declared(declared: &Declared) -> ValueInfoProto {
    let dim = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Number(n) => Some(DimensionValue::Number(*n as i64)),
            Dim::Symbol(name) => Some(DimensionValue::Name(name.clone())),
            Dim::Unknown => None,
        },
    };
    let shape = declared.shape.as_ref().map(|dims| TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = |dtype: &DType| TensorType { elem_type: dtype.onnx(), shape };
    let known = declared.dtype.as_ref().and_then(|dtype| dtype.as_ref().ok());
    ValueInfoProto {
        name: declared.name.clone(),
        r#type: known.map(|dtype| TypeProto { value: Some(TypeValue::Tensor(tensor(dtype))) }),
    }
}

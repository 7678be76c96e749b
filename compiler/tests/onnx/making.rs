//! Builds small ONNX models, valid or broken, from messages.

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// ONNX's numbers of element types.
pub(crate) const F32: i32 = 1;
pub(crate) const U8: i32 = 2;
pub(crate) const I8: i32 = 3;
pub(crate) const I64: i32 = 7;

/// A model of opset 17 with input `x: 1x2x4x4xf32`, unless changed, and output `y`.
pub(crate) fn model(nodes: Vec<NodeProto>, initializers: Vec<TensorProto>) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(GraphProto {
            name: "bad".to_owned(),
            node: nodes,
            initializer: initializers,
            input: vec![declared("x", F32, &[1, 2, 4, 4])],
            output: vec![ValueInfoProto { name: "y".to_owned(), ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The model's bytes.
pub(crate) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// A node named like its operator in lower case; names are separated by spaces, and `_` is an omitted operand.
pub(crate) fn node(op_type: &str, inputs: &str, outputs: &str) -> NodeProto {
    let list = |names: &str| names.split_whitespace().map(|name| name.replace('_', "")).collect();
    NodeProto {
        name: op_type.to_lowercase(),
        op_type: op_type.to_owned(),
        input: list(inputs),
        output: list(outputs),
        ..Default::default()
    }
}

/// The value of an attribute.
pub(crate) enum Value<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Text(&'a str),
    Body(GraphProto),
}

/// The node with one more attribute.
pub(crate) fn with(mut node: NodeProto, name: &str, value: Value<'_>) -> NodeProto {
    let mut attribute = AttributeProto { name: name.to_owned(), ..Default::default() };
    let kind = match value {
        Value::Int(x) => {
            attribute.i = x;
            AttributeType::Int
        }
        Value::Ints(x) => {
            attribute.ints = x.to_vec();
            AttributeType::Ints
        }
        Value::Text(x) => {
            attribute.s = x.as_bytes().to_vec();
            AttributeType::String
        }
        Value::Body(x) => {
            attribute.g = Some(x);
            AttributeType::Graph
        }
    };
    attribute.r#type = kind as i32;
    node.attribute.push(attribute);
    node
}

/// A tensor of raw bytes.
pub(crate) fn raw(name: &str, kind: i32, dims: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: kind,
        dims: dims.to_vec(),
        raw_data: bytes.to_vec(),
        ..Default::default()
    }
}

/// A tensor of f32.
pub(crate) fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    raw(name, F32, dims, &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

/// A list of i64.
pub(crate) fn ints(name: &str, numbers: &[i64]) -> TensorProto {
    raw(name, I64, &[numbers.len() as i64], &numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>())
}

/// A tensor of f32 in another file, with further entries.
pub(crate) fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: (*key).into(), value: (*value).into() };
    let data_location = Some(1);
    let external_data = entries.iter().map(entry).collect();
    TensorProto { data_location, external_data, ..raw(name, F32, dims, &[]) }
}

/// An input with these extents; negative ones are kept.
pub(crate) fn declared(name: &str, kind: i32, dims: &[i64]) -> ValueInfoProto {
    let dim = |n: &i64| Dimension { value: Some(dimension::Value::DimValue(*n)), ..Default::default() };
    let shape = Some(TensorShapeProto { dim: dims.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: kind, shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: name.to_owned(), r#type, ..Default::default() }
}

/// The model with another input.
pub(crate) fn fed_with(mut model: ModelProto, inputs: Vec<ValueInfoProto>) -> ModelProto {
    if let Some(graph) = &mut model.graph {
        graph.input = inputs;
    }
    model
}

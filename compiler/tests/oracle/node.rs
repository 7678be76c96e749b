//! One ONNX node as a model, computed by us and by tract.

use eightfold::onnx::{ImportOptions, from_bytes};
use eightfold_ir::{DType, Shape, Tensor, eval};
use proptest::test_runner::TestCaseError;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use tract_onnx::prelude::*;

/// A node with its operands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    op_type: &'static str,
    opset: i64,
    attributes: Vec<AttributeProto>,
    operands: Vec<Option<Operand>>,
    outputs: usize,
}

#[derive(Clone, Debug)]
struct Operand {
    tensor: Tensor,
    /// Whether it is an initializer rather than an input.
    constant: bool,
}

/// The value of an attribute.
pub(crate) enum Value {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'static str),
}

impl Node {
    /// A node of opset 17 with one output.
    pub(crate) fn new(op_type: &'static str) -> Self {
        Node { op_type, opset: 17, attributes: Vec::new(), operands: Vec::new(), outputs: 1 }
    }

    pub(crate) fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    pub(crate) fn outputs(mut self, outputs: usize) -> Self {
        self.outputs = outputs;
        self
    }

    /// Adds an operand that is an input of the model.
    pub(crate) fn reads(mut self, tensor: Tensor) -> Self {
        self.operands.push(Some(Operand { tensor, constant: false }));
        self
    }

    /// Adds an operand that is an initializer.
    pub(crate) fn constant(mut self, tensor: Tensor) -> Self {
        self.operands.push(Some(Operand { tensor, constant: true }));
        self
    }

    /// Adds an operand that is a constant list of i64.
    pub(crate) fn list(self, numbers: &[i64]) -> Self {
        self.constant(Tensor::int(DType::I64, &[numbers.len()], numbers))
    }

    /// Adds an omitted operand.
    pub(crate) fn none(mut self) -> Self {
        self.operands.push(None);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        let mut attribute = AttributeProto { name: name.to_owned(), ..Default::default() };
        let kind = match value {
            Value::Int(x) => {
                attribute.i = x;
                AttributeType::Int
            }
            Value::Float(x) => {
                attribute.f = x;
                AttributeType::Float
            }
            Value::Ints(x) => {
                attribute.ints = x;
                AttributeType::Ints
            }
            Value::Text(x) => {
                attribute.s = x.as_bytes().to_vec();
                AttributeType::String
            }
        };
        attribute.r#type = kind as i32;
        self.attributes.push(attribute);
        self
    }

    /// Compares all outputs: bit for bit if `bound` is 0, otherwise within this share of the largest element.
    pub(crate) fn agrees(&self, bound: f64) -> Result<(), TestCaseError> {
        let fail = |who: &str, error: String| TestCaseError::fail(format!("{who}: {error}\n{self:?}"));
        let bytes = self.model().encode_to_vec();
        let graph = from_bytes(&bytes, &ImportOptions::default()).map_err(|e| fail("import", e.to_string()))?.graph;
        let ours = eval(&graph, &self.fed()).map_err(|e| fail("eval", e.to_string()))?;
        let theirs = self.tract(&bytes).map_err(|e| fail("tract", format!("{e:#}")))?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if (ours.dtype(), ours.shape()) != (theirs.dtype(), theirs.shape()) {
                let types = format!("{}x{} and {}x{}", ours.shape(), ours.dtype(), theirs.shape(), theirs.dtype());
                return Err(fail("types", types));
            }
            let far = distance(ours, theirs);
            if far > bound {
                return Err(fail(
                    "numbers",
                    format!("{far:e} off\nours   {:?}\ntheirs {:?}", show(ours), show(theirs)),
                ));
            }
        }
        Ok(())
    }

    /// The input tensors of the model.
    fn fed(&self) -> Vec<Tensor> {
        self.operands.iter().flatten().filter(|o| !o.constant).map(|o| o.tensor.clone()).collect()
    }

    fn model(&self) -> ModelProto {
        let name = |index: usize| format!("x{index}");
        let present: Vec<(usize, &Operand)> =
            self.operands.iter().enumerate().filter_map(|(i, o)| Some((i, o.as_ref()?))).collect();
        let outputs: Vec<String> = (0..self.outputs).map(|index| format!("y{index}")).collect();
        let input = self.operands.iter().enumerate().map(|(i, o)| o.as_ref().map_or_else(String::new, |_| name(i)));
        let node = NodeProto {
            name: "node".to_owned(),
            op_type: self.op_type.to_owned(),
            input: input.collect(),
            output: outputs.clone(),
            attribute: self.attributes.clone(),
            ..Default::default()
        };
        let undeclared = |name: String| ValueInfoProto { name, ..Default::default() };
        let graph = GraphProto {
            name: "node".to_owned(),
            node: vec![node],
            initializer: present
                .iter()
                .filter(|(_, o)| o.constant)
                .map(|(i, o)| content(name(*i), &o.tensor))
                .collect(),
            input: present.iter().filter(|(_, o)| !o.constant).map(|(i, o)| declared(name(*i), &o.tensor)).collect(),
            output: outputs.into_iter().map(undeclared).collect(),
            ..Default::default()
        };
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: self.opset }],
            graph: Some(graph),
            ..Default::default()
        }
    }

    fn tract(&self, mut bytes: &[u8]) -> TractResult<Vec<Tensor>> {
        let model = tract_onnx::onnx().model_for_read(&mut bytes)?;
        let inputs: TVec<TValue> = self.fed().iter().map(theirs).collect::<TractResult<_>>()?;
        model.into_optimized()?.into_runnable()?.run(inputs)?.iter().map(ours).collect()
    }
}

fn dims(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|dim| *dim as i64).collect()
}

/// ONNX's number of an element type.
fn number(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::I64 => 7,
        DType::Bool => 9,
        other => unreachable!("no test here uses {other}"),
    }
}

fn content(name: String, tensor: &Tensor) -> TensorProto {
    let (data_type, raw_data) = (number(tensor.dtype()), tensor.bytes().to_vec());
    TensorProto { name, data_type, dims: dims(tensor), raw_data, ..Default::default() }
}

fn declared(name: String, tensor: &Tensor) -> ValueInfoProto {
    let dim = |n: i64| Dimension { value: Some(dimension::Value::DimValue(n)), ..Default::default() };
    let shape = Some(TensorShapeProto { dim: dims(tensor).into_iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: number(tensor.dtype()), shape };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name, r#type, ..Default::default() }
}

/// Converts our tensor to tract's type.
fn theirs(tensor: &Tensor) -> TractResult<TValue> {
    use tract_onnx::prelude::Tensor as Theirs;
    let shape = tensor.shape();
    let converted = match tensor.dtype() {
        DType::F32 => Theirs::from_shape(shape, &tensor.to_f32s().unwrap_or_default())?,
        DType::Bool => Theirs::from_shape(shape, &tensor.bytes().iter().map(|b| *b != 0).collect::<Vec<_>>())?,
        _ => Theirs::from_shape(shape, &tensor.to_ints().unwrap_or_default())?,
    };
    Ok(converted.into_tvalue())
}

/// Converts a tract tensor to our type.
fn ours(value: &TValue) -> TractResult<Tensor> {
    use tract_onnx::prelude::DatumType;
    let shape = value.shape();
    Ok(match value.datum_type() {
        DatumType::F32 => Tensor::f32(shape, &value.to_plain_array_view::<f32>()?.iter().copied().collect::<Vec<_>>()),
        DatumType::Bool => {
            let bytes: Vec<u8> = value.to_plain_array_view::<bool>()?.iter().map(|b| u8::from(*b)).collect();
            Tensor::new(DType::Bool, Shape::new(shape), bytes).expect("one byte an element")
        }
        _ => {
            let cast = value.cast_to::<i64>()?;
            Tensor::int(DType::I64, shape, &cast.to_plain_array_view::<i64>()?.iter().copied().collect::<Vec<_>>())
        }
    })
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.dtype() {
        DType::F32 => tensor.to_f32s().unwrap_or_default().iter().map(|x| f64::from(*x)).collect(),
        DType::Bool => tensor.bytes().iter().map(|b| f64::from(*b)).collect(),
        _ => tensor.to_ints().unwrap_or_default().iter().map(|x| *x as f64).collect(),
    }
}

fn show(tensor: &Tensor) -> Vec<f64> {
    numbers(tensor).into_iter().take(64).collect()
}

/// `max|a - b|` over the largest finite element, or over 1; NaN in both counts as equal.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (numbers(a), numbers(b));
    let scale = b.iter().filter(|x| x.is_finite()).fold(1.0_f64, |m, x| m.max(x.abs()));
    let far = |(a, b): (&f64, &f64)| match a == b || a.is_nan() && b.is_nan() {
        true => 0.0,
        false if a.is_nan() || b.is_nan() => f64::INFINITY,
        false => (a - b).abs() / scale,
    };
    a.iter().zip(&b).map(far).fold(0.0, f64::max)
}

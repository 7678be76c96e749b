//! Converts between a ModelProto and the plain structs of [`model`](super::model). Only this file and those below it
//! name protobuf types.
//!
//! Decoding any bytes returns a model or an error: sizes are checked before memory is allocated. Overload names of
//! functions are not supported, so two overloads of a function are a duplicate.

mod encode;
mod entries;
mod external;
mod kind;
mod messages;
mod skim;
mod source;
mod tensor;

use std::collections::{BTreeMap, HashSet};

use eightfold_ir::DType;
use prost::Message;
use sha2::{Digest, Sha256};

pub(crate) use self::encode::encode;
use self::entries::count_entries;
use self::external::External;
use self::messages::{
    AttributeProto, AttributeType, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, TensorProto, TypeValue, ValueInfoProto,
};
pub(crate) use self::source::Source;
use super::error::OnnxError;
use crate::host::memory_limit::MemoryLimit;

use super::model::{Attribute, Body, Content, Declared, Dim, Function, Node, OnnxModel};

/// Oldest supported version of the default operator set.
const OLDEST_OPSET: i64 = 7;
/// Newest supported version of the default operator set: ONNX 1.23.
const NEWEST_OPSET: i64 = 28;

/// Estimated memory of a node, tensor, attribute or declaration in addition to its contents, from the file to the
/// graph.
const ENTRY_BYTES: u64 = 1 << 10;

/// Decodes the model in `source`, if it needs at most `memory`; external data is read from its folder.
pub(crate) fn decode(mut source: Source<'_>, memory: MemoryLimit) -> Result<OnnxModel, OnnxError> {
    let size = source.size();
    if size == 0 {
        return Err(OnnxError::Empty);
    }
    if let Err(error) = check_fields(&mut source) {
        let start = source.read(0..size.min(kind::BYTES))?;
        return Err(match kind::of(&start) {
            Some(kind) => OnnxError::NotOnnx { reason: format!("it is {kind}") },
            None => error,
        });
    }
    let skimmed = skim::skim(&mut source)?;
    let is_skimmed = skimmed.is_some();
    // Bytes that are not a model are decoded unchanged, to find out what is wrong with them.
    let bytes = match skimmed {
        Some(skimmed) => skimmed,
        None => source.read(0..size)?,
    };
    let bytes = &*bytes;
    let entries = count_entries(bytes);
    memory.check(entries.saturating_mul(ENTRY_BYTES), || {
        format!("the import of {entries} nodes, tensors and attributes")
    })?;
    memory.check(size, || "the model's file".to_owned())?;
    let model = ModelProto::decode(bytes).map_err(not_onnx)?;
    if model.ir_version < 3 {
        return Err(OnnxError::IrVersion { version: model.ir_version });
    }
    let opsets = opsets(model.opset_import);
    if let Some(&version) = opsets.get("")
        && !(OLDEST_OPSET..=NEWEST_OPSET).contains(&version)
    {
        return Err(OnnxError::Opset { version, oldest: OLDEST_OPSET, newest: NEWEST_OPSET });
    }
    let external = External::new(source.path());
    let mut decoder = Decoder { external, hash: source.hash()?, source, is_skimmed, memory, read: size };
    let graph = model.graph.ok_or_else(|| OnnxError::NotOnnx { reason: "it has no graph".to_owned() })?;
    let body = decoder.body(graph)?;
    if let Some(node) = body.first_of_default_set().filter(|_| !opsets.contains_key("")) {
        return Err(OnnxError::NoOpset { node: node.name.clone(), op_type: node.op_type.clone() });
    }
    let mut functions = BTreeMap::new();
    for function in model.functions {
        let key = (domain(function.domain), function.name);
        let function = Function {
            inputs: function.input,
            outputs: function.output,
            defaults: decoder.attributes(function.attribute_proto)?,
            nodes: function.node.into_iter().map(|n| decoder.node(n)).collect::<Result<_, _>>()?,
            opsets: self::opsets(function.opset_import),
        };
        if functions.insert(key.clone(), function).is_some() {
            return Err(OnnxError::Duplicate { name: format!("{}::{}", key.0, key.1) });
        }
    }
    let producer = [model.producer_name, model.producer_version].join(" ").trim().to_owned();
    let sha256 = decoder.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let external = decoder.external.files();
    Ok(OnnxModel { producer, opsets, body, functions, sha256, external })
}

/// Checks that the outermost fields are those of a ModelProto and end where the bytes end. This distinguishes an
/// incomplete file from one of another kind.
fn check_fields(source: &mut Source<'_>) -> Result<(), OnnxError> {
    /// Fields of ModelProto that are numbers; those with a length follow.
    const NUMBERS: [u64; 2] = [1, 5];
    const LENGTHS: [u64; 10] = [2, 3, 4, 6, 7, 8, 14, 20, 25, 26];
    let end = source.size();
    let truncated = || OnnxError::Truncated { size: end as usize };
    let number = |source: &mut Source<'_>| skim::varint(source, end, &mut Vec::new())?.ok_or_else(truncated);
    while source.position() < end {
        let key = number(source)?;
        let (field, wire) = (key >> 3, key & 7);
        if NUMBERS.contains(&field) && wire == 0 {
            number(source)?;
        } else if LENGTHS.contains(&field) && wire == 2 {
            let behind = number(source)?.checked_add(source.position()).filter(|behind| *behind <= end);
            source.go_to(behind.ok_or_else(truncated)?)?;
        } else {
            return Err(OnnxError::NotOnnx {
                reason: format!("field {field} of wire type {wire} in the outermost message"),
            });
        }
    }
    Ok(())
}

fn not_onnx(error: prost::DecodeError) -> OnnxError {
    OnnxError::NotOnnx { reason: error.to_string() }
}

/// The default domain has two names.
fn domain(name: String) -> String {
    if name == "ai.onnx" { String::new() } else { name }
}

fn opsets(imports: Vec<OperatorSetIdProto>) -> BTreeMap<String, i64> {
    imports.into_iter().map(|o| (domain(o.domain), o.version)).collect()
}

/// The element type with this number in ONNX, or the name of an unsupported one.
pub(crate) fn element_type(number: i64) -> Result<DType, String> {
    /// Unsupported types.
    const FOREIGN: &[(i64, &str)] = &[
        (0, "undefined"),
        (8, "string"),
        (14, "complex64"),
        (15, "complex128"),
        (17, "float8e4m3fn"),
        (18, "float8e4m3fnuz"),
        (19, "float8e5m2"),
        (20, "float8e5m2fnuz"),
        (23, "float4e2m1"),
        (24, "float8e8m0"),
        (25, "uint2"),
        (26, "int2"),
    ];
    if let Some(dtype) = i32::try_from(number).ok().and_then(DType::from_onnx) {
        return Ok(dtype);
    }
    let foreign = FOREIGN.iter().find(|row| row.0 == number).map(|row| row.1.to_owned());
    Err(foreign.unwrap_or_else(|| format!("element type {number}, which ONNX does not define")))
}

struct Decoder<'a> {
    source: Source<'a>,
    /// Whether the contents of tensors are still in the source.
    is_skimmed: bool,
    external: External,
    hash: Sha256,
    memory: MemoryLimit,
    /// Bytes of the model so far, including external data.
    read: u64,
}

impl Decoder<'_> {
    fn body(&mut self, graph: GraphProto) -> Result<Body, OnnxError> {
        let mut body = Body {
            name: graph.name,
            nodes: graph.node.into_iter().map(|n| self.node(n)).collect::<Result<_, _>>()?,
            initializers: Vec::new(),
            inputs: graph.input.into_iter().map(declared).collect(),
            outputs: graph.output.into_iter().map(declared).collect(),
        };
        body.initializers = self.initializers(graph.initializer, graph.sparse_initializer, &body)?;
        Ok(body)
    }

    /// The initializers whose names stand elsewhere in the body. The others are decoded, which finds mistakes, and
    /// dropped.
    fn initializers(
        &mut self,
        tensors: Vec<Vec<u8>>,
        sparse: Vec<SparseTensorProto>,
        body: &Body,
    ) -> Result<Vec<(String, Content)>, OnnxError> {
        let mut mentioned: HashSet<&str> = body.nodes.iter().flat_map(Node::reads).collect();
        mentioned.extend(body.outputs.iter().map(|output| output.name.as_str()).chain(body.defined()));
        let (mut names, mut kept) = (HashSet::new(), Vec::new());
        let mut add = |name: String, content: Content| {
            if mentioned.contains(name.as_str()) {
                kept.push((name.clone(), content));
            }
            match names.replace(name) {
                Some(name) => Err(OnnxError::Duplicate { name }),
                None => Ok(()),
            }
        };
        for bytes in tensors {
            let tensor = TensorProto::decode(&*bytes).map_err(not_onnx)?;
            add(tensor.name.clone(), self.tensor(tensor)?)?;
        }
        for sparse in sparse {
            let name = sparse.values.map(|v| v.name).unwrap_or_default();
            add(name, Content::Foreign("sparse".to_owned()))?;
        }
        Ok(kept)
    }

    fn node(&mut self, node: NodeProto) -> Result<Node, OnnxError> {
        Ok(Node {
            name: node.name,
            op_type: node.op_type,
            domain: domain(node.domain),
            inputs: node.input,
            outputs: node.output,
            attributes: self.attributes(node.attribute)?,
        })
    }

    fn attributes(&mut self, list: Vec<AttributeProto>) -> Result<BTreeMap<String, Attribute>, OnnxError> {
        list.into_iter().map(|a| Ok((a.name.clone(), self.attribute(a)?))).collect()
    }

    fn attribute(&mut self, a: AttributeProto) -> Result<Attribute, OnnxError> {
        if !a.ref_attr_name.is_empty() {
            return Ok(Attribute::Of(a.ref_attr_name));
        }
        Ok(match AttributeType::try_from(a.r#type).unwrap_or(AttributeType::Undefined) {
            AttributeType::Float => Attribute::Float(a.f),
            AttributeType::Int => Attribute::Int(a.i),
            AttributeType::String => Attribute::String(String::from_utf8_lossy(&a.s).into_owned()),
            AttributeType::Floats => Attribute::Floats(a.floats),
            AttributeType::Ints => Attribute::Ints(a.ints),
            AttributeType::Tensor => match a.t {
                Some(tensor) => Attribute::Tensor(self.tensor(tensor)?),
                None => Attribute::Other("TENSOR without a tensor"),
            },
            AttributeType::Graph => match a.g {
                Some(graph) => Attribute::Graph(Box::new(self.body(graph)?)),
                None => Attribute::Other("GRAPH without a graph"),
            },
            other => Attribute::Other(other.name()),
        })
    }

    fn tensor(&mut self, mut tensor: TensorProto) -> Result<Content, OnnxError> {
        let dtype = match element_type(tensor.data_type.into()) {
            Ok(dtype) => dtype,
            Err(name) => return Ok(Content::Foreign(name)),
        };
        if tensor.data_location != TensorProto::EXTERNAL {
            if self.is_skimmed
                && let Some(place) = skim::place(&tensor.raw_data)
            {
                tensor.raw_data = self.source.read(place)?;
            }
            return tensor::typed(tensor, dtype).map(Content::Tensor);
        }
        let entry = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let location = entry("location").unwrap_or("");
        let range = self.external.find(&tensor.name, location, entry("offset"), entry("length"))?;
        self.read += range.end - range.start;
        self.memory.check(self.read, || format!("the model up to the external data of tensor {:?}", tensor.name))?;
        let bytes = self.external.read(&tensor.name, location, range)?;
        self.hash.update(&bytes);
        tensor::raw(&tensor.name, &tensor.dims, dtype, bytes).map(Content::Tensor)
    }
}

fn declared(info: ValueInfoProto) -> Declared {
    let Some(ty) = info.r#type else { return Declared { name: info.name, dtype: None, shape: None } };
    let Some(TypeValue::Tensor(tensor)) = ty.value else {
        return Declared { name: info.name, dtype: Some(Err("not a tensor".to_owned())), shape: None };
    };
    let dim = |dim: Dimension| match dim.value {
        Some(DimensionValue::Number(n)) if n >= 0 => Dim::Number(n as usize),
        Some(DimensionValue::Name(name)) if !name.is_empty() => Dim::Symbol(name),
        // Exporters write -1 for unknown extents.
        _ => Dim::Unknown,
    };
    let dtype = element_type(tensor.elem_type.into());
    Declared { name: info.name, dtype: Some(dtype), shape: tensor.shape.map(|s| s.dim.into_iter().map(dim).collect()) }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A graph with a node that reads `w`, and initializers of these names.
    fn decoded(names: &[&str]) -> Result<OnnxModel, OnnxError> {
        let tensor = |name: &&str| TensorProto { name: (*name).to_owned(), data_type: 1, ..Default::default() };
        let tensor = |name: &&str| TensorProto { dims: vec![0], ..tensor(name) }.encode_to_vec();
        let node = NodeProto { input: vec!["w".to_owned()], ..Default::default() };
        let graph = GraphProto {
            node: vec![node],
            initializer: names.iter().map(tensor).collect(),
            output: vec![ValueInfoProto { name: "out".to_owned(), r#type: None }],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
        let bytes =
            ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }.encode_to_vec();
        decode(Source::new(Cursor::new(&bytes), None)?, MemoryLimit(1 << 20))
    }

    #[test]
    fn initializers_that_nothing_mentions_are_not_kept() {
        let kept = decoded(&["a", "w", "b", "out"]).expect("a model").body.initializers;
        assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["w", "out"]);
    }

    #[test]
    fn the_second_initializer_of_a_name_is_an_error_even_if_nothing_mentions_it() {
        for name in ["w", "a", ""] {
            let error = decoded(&[name, "b", name]).err().expect("a mistake").to_string();
            assert_eq!(error, format!("{name:?} is defined more than once"));
        }
    }
}

//! A decoded model as plain data: [`proto`](super::proto) creates it, [`import`](super::import) walks it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use eightfold_ir::{DType, Tensor};

/// A model.
pub(crate) struct OnnxModel {
    pub(crate) producer: String,
    /// Versions of operator sets by domain; the default domain is empty.
    pub(crate) opsets: BTreeMap<String, i64>,
    pub(crate) body: Body,
    /// Functions by domain and name.
    pub(crate) functions: BTreeMap<(String, String), Function>,
    pub(crate) sha256: String,
    /// The files that hold external data.
    pub(crate) external: Vec<PathBuf>,
}

/// A graph: the model's, or that of an attribute.
#[derive(Clone, Default)]
pub(crate) struct Body {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    pub(crate) initializers: Vec<(String, Content)>,
    pub(crate) inputs: Vec<Declared>,
    pub(crate) outputs: Vec<Declared>,
}

/// A function of the model: its nodes replace a call.
pub(crate) struct Function {
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) defaults: BTreeMap<String, Attribute>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) opsets: BTreeMap<String, i64>,
}

/// An operator call.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) op_type: String,
    /// Empty for the default domain.
    pub(crate) domain: String,
    /// Names; empty for an omitted optional operand.
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<String>,
    pub(crate) attributes: BTreeMap<String, Attribute>,
}

/// An attribute's value.
#[derive(Clone)]
pub(crate) enum Attribute {
    Float(f32),
    Int(i64),
    String(String),
    Tensor(Content),
    Graph(Box<Body>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// In a function: the attribute of this name of the call.
    Of(String),
    /// A kind of attribute that no supported operator has, by its ONNX name.
    Other(&'static str),
}

impl Attribute {
    /// ONNX's name of the kind.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Attribute::Float(_) => "FLOAT",
            Attribute::Int(_) => "INT",
            Attribute::String(_) => "STRING",
            Attribute::Tensor(_) => "TENSOR",
            Attribute::Graph(_) => "GRAPH",
            Attribute::Floats(_) => "FLOATS",
            Attribute::Ints(_) => "INTS",
            Attribute::Of(_) => "a reference",
            Attribute::Other(kind) => kind,
        }
    }
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Attribute::Float(x) => write!(f, "{x}"),
            Attribute::Int(x) => write!(f, "{x}"),
            Attribute::String(x) => write!(f, "{x:?}"),
            Attribute::Floats(x) => write!(f, "{x:?}"),
            Attribute::Ints(x) => write!(f, "{x:?}"),
            other => write!(f, "of kind {}", other.kind()),
        }
    }
}

/// A constant's contents.
#[derive(Clone)]
pub(crate) enum Content {
    Tensor(Tensor),
    /// Of an unsupported element type or form, by its ONNX name.
    Foreign(String),
}

/// The declaration of an input or output.
#[derive(Clone)]
pub(crate) struct Declared {
    pub(crate) name: String,
    /// The element type, or a description of what it is instead; `None` if not declared.
    pub(crate) dtype: Option<Result<DType, String>>,
    /// Extents; `None` if the rank is not declared.
    pub(crate) shape: Option<Vec<Dim>>,
}

/// A declared extent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Dim {
    Number(usize),
    Symbol(String),
    Unknown,
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dim::Number(n) => write!(f, "{n}"),
            Dim::Symbol(s) => f.write_str(s),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

impl OnnxModel {
    /// Bytes of all constants, including those of functions and subgraphs.
    pub(crate) fn constant_bytes(&self) -> usize {
        let functions = self.functions.values().flat_map(|function| &function.nodes);
        self.body.constant_bytes() + functions.map(Node::constant_bytes).sum::<usize>()
    }
}

impl Node {
    fn constant_bytes(&self) -> usize {
        let bytes = |attribute: &Attribute| match attribute {
            Attribute::Tensor(content) => content.byte_size(),
            Attribute::Graph(body) => body.constant_bytes(),
            _ => 0,
        };
        self.attributes.values().map(bytes).sum()
    }

    /// The names that the node uses, including those that its subgraphs use from outside.
    pub(crate) fn reads(&self) -> BTreeSet<&str> {
        let mut reads: BTreeSet<&str> = self.inputs.iter().map(String::as_str).filter(|n| !n.is_empty()).collect();
        for attribute in self.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                reads.extend(body.captures());
            }
        }
        reads
    }
}

impl Content {
    fn byte_size(&self) -> usize {
        match self {
            Content::Tensor(tensor) => tensor.bytes().len(),
            Content::Foreign(_) => 0,
        }
    }
}

impl Body {
    /// The first node of the default operator set, including subgraphs.
    pub(crate) fn first_of_default_set(&self) -> Option<&Node> {
        self.nodes.iter().find_map(|node| {
            let inner = node.attributes.values().find_map(|attribute| match attribute {
                Attribute::Graph(body) => body.first_of_default_set(),
                _ => None,
            });
            if node.domain.is_empty() { Some(node) } else { inner }
        })
    }

    fn constant_bytes(&self) -> usize {
        let initializers = self.initializers.iter().map(|(_, content)| content.byte_size());
        initializers.chain(self.nodes.iter().map(Node::constant_bytes)).sum()
    }

    /// The names that the body uses but does not define.
    pub(crate) fn captures(&self) -> BTreeSet<&str> {
        let mut reads: BTreeSet<&str> = self.nodes.iter().flat_map(Node::reads).collect();
        reads.extend(self.outputs.iter().map(|o| o.name.as_str()));
        for name in self.defined() {
            reads.remove(name);
        }
        reads
    }

    /// The names that the body defines.
    pub(crate) fn defined(&self) -> impl Iterator<Item = &str> {
        let inputs = self.inputs.iter().map(|i| i.name.as_str());
        let outputs = self.nodes.iter().flat_map(|n| &n.outputs).map(String::as_str).filter(|n| !n.is_empty());
        inputs.chain(self.initializers.iter().map(|(n, _)| n.as_str())).chain(outputs)
    }
}

//! One adapter for each ONNX operator whose form differs from the IR's.
//!
//! An adapter reads a node's operands and attributes through [`Adapt`] and adds operators to the graph. Elementwise
//! operators without attributes need no adapter: the table of scalar functions names them. Each row of the table is an
//! operator; each file is an operator or a family of similar ones; rows are sorted by domain and name.

mod activation;
mod arithmetic;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
mod cumsum;
mod gather;
mod indexed;
mod matmul;
mod normalization;
mod pad;
mod pool;
mod qlinear;
mod quantize;
mod reduce;
mod region;
mod reshape;
mod resize;
mod slice;
mod softmax;
mod transpose;
mod unread;
mod window;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use eightfold_ir::{DType, Function, InferError, Origin, Shape, ValueId};

use super::error::OnnxError;
use super::importer::{Importer, Operand};
use super::model::{Attribute, Body, Content, Node};

/// Why an adapter fails.
#[derive(Debug)]
pub(crate) enum AdaptError {
    /// The node is valid, but not supported.
    Unsupported(String),
    /// The node violates the operator's definition.
    Broken(String),
    /// A subgraph is broken.
    Model(Box<OnnxError>),
    /// A subgraph has unsupported operators, which are already recorded.
    Lost,
}

/// The node violates the operator's definition.
pub(crate) fn broken(reason: impl Into<String>) -> AdaptError {
    AdaptError::Broken(reason.into())
}

/// The node needs something that is not supported.
pub(crate) fn unsupported(reason: impl Into<String>) -> AdaptError {
    AdaptError::Unsupported(reason.into())
}

impl From<InferError> for AdaptError {
    fn from(error: InferError) -> Self {
        let reason = error.to_string();
        match error {
            InferError::DType { .. } | InferError::Quantization { .. } | InferError::Body { .. } => {
                AdaptError::Unsupported(reason)
            }
            InferError::Step { source: eightfold_ir::epilogue::StepError::Type { .. }, .. } => {
                AdaptError::Unsupported(reason)
            }
            _ => AdaptError::Broken(reason),
        }
    }
}

/// The outputs of a node, in order; trailing ones that are not used may be missing.
pub(crate) type Outputs = Vec<Operand>;

/// A row of the table.
pub(crate) struct Adapter {
    domain: &'static str,
    op_type: &'static str,
    import: fn(&mut Adapt<'_, '_>) -> Result<Outputs, AdaptError>,
}

/// How a node is imported.
pub(crate) enum Import {
    Elementwise(Function),
    Adapter(&'static Adapter),
}

impl Import {
    /// Imports the node. Attributes that are not read must be ones without effect.
    pub(crate) fn run(&self, a: &mut Adapt<'_, '_>) -> Result<Outputs, AdaptError> {
        let outputs = match self {
            Import::Elementwise(function) => {
                let operands = a.operands()?;
                if operands.len() != function.arity() {
                    return Err(broken(format!("takes {} operands, got {}", function.arity(), operands.len())));
                }
                vec![a.elementwise(*function, &operands)?]
            }
            Import::Adapter(adapter) => (adapter.import)(a)?,
        };
        unread::refuse(a.node, &a.read.borrow())?;
        Ok(outputs)
    }
}

/// How nodes of this operator are imported; `None` if they are not supported.
pub(crate) fn find(domain: &str, op_type: &str) -> Option<Import> {
    let found = ADAPTERS.binary_search_by(|row| (row.domain, row.op_type).cmp(&(domain, op_type)));
    match found {
        Ok(index) => Some(Import::Adapter(&ADAPTERS[index])),
        Err(_) if domain.is_empty() => Function::from_onnx(op_type).map(Import::Elementwise),
        Err(_) => None,
    }
}

/// Domain and name of the ONNX operators that can be imported, sorted.
#[must_use]
pub fn operators() -> Vec<(&'static str, &'static str)> {
    let by_table = Function::ALL.iter().map(|f| ("", f.onnx())).filter(|(_, name)| !name.is_empty());
    let mut all: Vec<_> = ADAPTERS.iter().map(|row| (row.domain, row.op_type)).chain(by_table).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Expands a subgraph without inputs, given operator sets and a prefix for names. The subgraph can use the surrounding
/// names. Returns its outputs, or `None` if one of them cannot be imported.
pub(crate) type Expand<'m> =
    fn(&mut Importer<'m>, &Body, &BTreeMap<String, i64>, &str) -> Result<Option<Vec<Operand>>, OnnxError>;

/// A node that is being imported.
pub(crate) struct Adapt<'i, 'm> {
    pub(crate) importer: &'i mut Importer<'m>,
    /// Imports the nodes of a subgraph of this node.
    pub(crate) expand: Expand<'m>,
    pub(crate) node: &'i Node,
    /// Version of the node's operator set.
    pub(crate) version: i64,
    pub(crate) opsets: &'i BTreeMap<String, i64>,
    /// Prefix of names inside an expanded function or subgraph.
    pub(crate) path: &'i str,
    pub(crate) inputs: Vec<Option<Operand>>,
    used: Vec<bool>,
    /// Names of the attributes that the adapter has read.
    read: RefCell<BTreeSet<&'static str>>,
    pub(crate) origin: Origin,
    /// The values that the adapter has added.
    pub(crate) added: Vec<ValueId>,
}

impl<'i, 'm> Adapt<'i, 'm> {
    #[expect(clippy::too_many_arguments, reason = "the one constructor, called once")]
    pub(crate) fn new(
        importer: &'i mut Importer<'m>,
        expand: Expand<'m>,
        node: &'i Node,
        version: i64,
        inputs: Vec<Option<Operand>>,
        used: Vec<bool>,
        origin: Origin,
        opsets: &'i BTreeMap<String, i64>,
        path: &'i str,
    ) -> Self {
        let read = RefCell::default();
        Adapt { importer, expand, node, version, opsets, path, inputs, used, read, origin, added: Vec::new() }
    }

    /// The operand at `index`, if given.
    pub(crate) fn optional(&self, index: usize) -> Option<Operand> {
        self.inputs.get(index).cloned().flatten()
    }

    /// The operand at `index`; an error if it is missing.
    pub(crate) fn operand(&self, index: usize) -> Result<Operand, AdaptError> {
        self.optional(index).ok_or_else(|| broken(format!("operand {index} is missing")))
    }

    /// All operands; an error if one is missing.
    pub(crate) fn operands(&self) -> Result<Vec<Operand>, AdaptError> {
        (0..self.inputs.len()).map(|i| self.operand(i)).collect()
    }

    /// Whether output `index` is used.
    pub(crate) fn is_used(&self, index: usize) -> bool {
        self.used.get(index).copied().unwrap_or(false)
    }

    /// Fails if output `index`, called `name` in ONNX, is used.
    pub(crate) fn refuse_output(&self, index: usize, name: &str) -> Result<(), AdaptError> {
        if self.is_used(index) { Err(unsupported(format!("output {name} is used"))) } else { Ok(()) }
    }

    /// The element type of an operand.
    pub(crate) fn dtype(&self, operand: &Operand) -> DType {
        match operand {
            Operand::Const { tensor, .. } => tensor.dtype(),
            Operand::Value(value) => self.importer.graph.ty(*value).dtype,
        }
    }

    /// The shape of an operand.
    pub(crate) fn shape(&self, operand: &Operand) -> Shape {
        match operand {
            Operand::Const { tensor, .. } => tensor.shape().clone(),
            Operand::Value(value) => self.importer.graph.ty(*value).shape.clone(),
        }
    }

    /// The constant integers in the operand at `index`, if given.
    pub(crate) fn constant_ints(&mut self, index: usize, name: &str) -> Result<Option<Vec<i64>>, AdaptError> {
        let Some(tensor) = self.optional_constant(index, name)? else { return Ok(None) };
        let ints = tensor.to_ints();
        ints.map(Some).ok_or_else(|| broken(format!("operand {name} must hold integers, got {}", tensor.dtype())))
    }

    /// The constant floats in the operand at `index`, if given.
    pub(crate) fn constant_floats(&mut self, index: usize, name: &str) -> Result<Option<Vec<f32>>, AdaptError> {
        let Some(tensor) = self.optional_constant(index, name)? else { return Ok(None) };
        let floats = tensor.to_f32s();
        floats.map(Some).ok_or_else(|| broken(format!("operand {name} must hold floats, got {}", tensor.dtype())))
    }

    /// Counts a computed constant of `bytes` bytes; an error if all together are too large.
    pub(crate) fn afford(&mut self, bytes: usize) -> Result<(), AdaptError> {
        if self.importer.afford(bytes) { Ok(()) } else { Err(unsupported("constants far larger than the model")) }
    }

    /// Marks the attribute `name` as known: it has no effect, given the node's other attributes.
    pub(crate) fn ignore(&self, name: &'static str) {
        self.read.borrow_mut().insert(name);
    }

    fn attribute<T>(
        &self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&Attribute) -> Option<T>,
    ) -> Result<Option<T>, AdaptError> {
        self.read.borrow_mut().insert(name);
        let Some(attribute) = self.node.attributes.get(name) else { return Ok(None) };
        match read(attribute) {
            Some(value) => Ok(Some(value)),
            None => Err(broken(format!("attribute {name} must be {expected}, got {}", attribute.kind()))),
        }
    }

    /// The integer attribute `name`, if given.
    pub(crate) fn int(&self, name: &'static str) -> Result<Option<i64>, AdaptError> {
        self.attribute(name, "INT", |a| match a {
            Attribute::Int(x) => Some(*x),
            _ => None,
        })
    }

    /// The boolean attribute `name`, or `default`.
    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, AdaptError> {
        Ok(self.int(name)?.map_or(default, |x| x != 0))
    }

    /// The float attribute `name`, if given.
    pub(crate) fn float(&self, name: &'static str) -> Result<Option<f32>, AdaptError> {
        self.attribute(name, "FLOAT", |a| match a {
            Attribute::Float(x) => Some(*x),
            _ => None,
        })
    }

    /// The attribute `name`, a list of integers, if given.
    pub(crate) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, AdaptError> {
        self.attribute(name, "INTS", |a| match a {
            Attribute::Ints(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The attribute `name`, a list of floats, if given.
    pub(crate) fn floats(&self, name: &'static str) -> Result<Option<Vec<f32>>, AdaptError> {
        self.attribute(name, "FLOATS", |a| match a {
            Attribute::Floats(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The string attribute `name`, if given.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<String>, AdaptError> {
        self.attribute(name, "STRING", |a| match a {
            Attribute::String(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The attribute `name`, a subgraph.
    pub(crate) fn body(&self, name: &'static str) -> Result<Body, AdaptError> {
        let body = self.attribute(name, "GRAPH", |a| match a {
            Attribute::Graph(body) => Some(Body::clone(body)),
            _ => None,
        })?;
        body.ok_or_else(|| broken(format!("attribute {name} is missing")))
    }

    /// The attribute `name` as a constant, if given.
    pub(crate) fn tensor(&self, name: &'static str) -> Result<Option<Operand>, AdaptError> {
        let content = self.attribute(name, "TENSOR", |a| match a {
            Attribute::Tensor(x) => Some(x.clone()),
            _ => None,
        })?;
        match content {
            Some(Content::Tensor(tensor)) => Ok(Some(Operand::constant("", tensor))),
            Some(Content::Foreign(kind)) => Err(unsupported(format!("attribute {name} is {kind}"))),
            None => Ok(None),
        }
    }
}

/// An axis of a tensor of `rank` axes; negative values count from the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, AdaptError> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start {
        Some(a) if (0..rank as i64).contains(&a) => Ok(a as usize),
        _ => Err(broken(format!("axis {axis} of a tensor of rank {rank}"))),
    }
}

/// Axes, sorted and without duplicates; negative values count from the end.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, AdaptError> {
    let mut axes = list.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(broken(format!("axis {} is named twice", w[0]))),
        None => Ok(axes),
    }
}

/// Sizes from ONNX's signed integers. They are limited so that sums and products of two of them do not overflow.
pub(crate) fn sizes(list: &[i64], name: &str) -> Result<Vec<usize>, AdaptError> {
    let size = |x: &i64| usize::try_from(*x).ok().filter(|x| *x <= i32::MAX as usize);
    list.iter().map(|x| size(x).ok_or_else(|| broken(format!("{name} has an entry of {x}")))).collect()
}

macro_rules! adapters {
    ($($domain:literal $op_type:literal $import:path;)*) => {
        /// The table; see [`find`].
        const ADAPTERS: &[Adapter] =
            &[$(Adapter { domain: $domain, op_type: $op_type, import: $import }),*];
    };
}

adapters! {
    "" "AveragePool" pool::average_pool;
    "" "BatchNormalization" normalization::batch_normalization;
    "" "Cast" arithmetic::cast;
    "" "CastLike" arithmetic::cast_like;
    "" "Celu" activation::celu;
    "" "Clip" activation::clip;
    "" "Concat" concat::concat;
    "" "Constant" constant::constant;
    "" "ConstantOfShape" constant::constant_of_shape;
    "" "Conv" conv::conv;
    "" "ConvTranspose" conv_transpose::conv_transpose;
    "" "CumSum" cumsum::cumsum;
    "" "DepthToSpace" reshape::depth_to_space;
    "" "DequantizeLinear" quantize::dequantize_linear;
    "" "Dropout" reshape::dropout;
    "" "Elu" activation::elu;
    "" "Expand" concat::expand;
    "" "Flatten" reshape::flatten;
    "" "Gather" gather::gather;
    "" "GatherElements" indexed::gather_elements;
    "" "GatherND" indexed::gather_nd;
    "" "Gelu" activation::gelu;
    "" "Gemm" matmul::gemm;
    "" "GlobalAveragePool" pool::global_average_pool;
    "" "GlobalMaxPool" pool::global_max_pool;
    "" "HardSigmoid" activation::hard_sigmoid;
    "" "Identity" reshape::identity;
    "" "If" region::if_;
    "" "InstanceNormalization" normalization::instance_normalization;
    "" "LayerNormalization" normalization::layer_normalization;
    "" "LeakyRelu" activation::leaky_relu;
    "" "LogSoftmax" softmax::log_softmax;
    "" "Loop" region::loop_;
    "" "MatMul" matmul::matmul;
    "" "Max" arithmetic::max;
    "" "MaxPool" pool::max_pool;
    "" "Mean" arithmetic::mean;
    "" "Min" arithmetic::min;
    "" "Mish" activation::mish;
    "" "Mod" arithmetic::modulo;
    "" "Pad" pad::pad;
    "" "Pow" arithmetic::pow;
    "" "QLinearConv" qlinear::conv;
    "" "QLinearMatMul" qlinear::matmul;
    "" "QuantizeLinear" quantize::quantize_linear;
    "" "Range" constant::range;
    "" "ReduceL1" reduce::l1;
    "" "ReduceL2" reduce::l2;
    "" "ReduceLogSum" reduce::log_sum;
    "" "ReduceLogSumExp" reduce::log_sum_exp;
    "" "ReduceMax" reduce::max;
    "" "ReduceMean" reduce::mean;
    "" "ReduceMin" reduce::min;
    "" "ReduceProd" reduce::prod;
    "" "ReduceSum" reduce::sum;
    "" "ReduceSumSquare" reduce::sum_square;
    "" "Reshape" reshape::reshape;
    "" "Resize" resize::resize;
    "" "Scan" region::scan;
    "" "ScatterElements" indexed::scatter_elements;
    "" "ScatterND" indexed::scatter_nd;
    "" "Selu" activation::selu;
    "" "Shape" constant::shape;
    "" "Size" constant::size;
    "" "Slice" slice::slice;
    "" "Softmax" softmax::softmax;
    "" "SpaceToDepth" reshape::space_to_depth;
    "" "Split" slice::split;
    "" "Squeeze" reshape::squeeze;
    "" "Sum" arithmetic::sum;
    "" "Swish" activation::swish;
    "" "ThresholdedRelu" activation::thresholded_relu;
    "" "Tile" concat::tile;
    "" "Transpose" transpose::transpose;
    "" "Unsqueeze" reshape::unsqueeze;
    "" "Upsample" resize::upsample;
    "com.microsoft" "DequantizeLinear" quantize::dequantize_linear;
    "com.microsoft" "QLinearAdd" qlinear::add;
    "com.microsoft" "QLinearAveragePool" qlinear::average_pool;
    "com.microsoft" "QLinearConcat" qlinear::concat;
    "com.microsoft" "QLinearGlobalAveragePool" qlinear::global_average_pool;
    "com.microsoft" "QLinearLeakyRelu" qlinear::leaky_relu;
    "com.microsoft" "QLinearMul" qlinear::mul;
    "com.microsoft" "QLinearSigmoid" qlinear::sigmoid;
    "com.microsoft" "QLinearSoftmax" qlinear::softmax;
    "com.microsoft" "QuantizeLinear" quantize::quantize_linear;
}

#[cfg(test)]
mod tests {
    use super::ADAPTERS;

    #[test]
    fn rows_are_sorted_and_unique() {
        assert!(ADAPTERS.windows(2).all(|w| (w[0].domain, w[0].op_type) < (w[1].domain, w[1].op_type)));
    }
}

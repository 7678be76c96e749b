//! One adapter for each ONNX operator whose form differs from ours.
//!
//! An adapter reads a node's operands and attributes through [`Adapt`] and adds operators to the graph. Elementwise
//! operators without attributes need none: the table of scalar functions names them. A row is an operator, a file one
//! operator or a tight family; rows are sorted by domain and name.

mod activation;
mod arithmetic;
mod concat;
mod constant;
mod conv;
mod conv_transpose;
mod cumsum;
mod gather;
mod if_;
mod indexed;
mod matmul;
mod normalization;
mod pad;
mod pool;
mod qlinear;
mod quantize;
mod reduce;
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

/// Why an adapter gives up.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The node is fine, but we cannot express it.
    Unsupported(String),
    /// The node contradicts the operator's definition or its operands.
    Broken(String),
    /// A subgraph is broken.
    Model(Box<OnnxError>),
    /// A subgraph has unsupported operators, which have been noted.
    Lost,
}

/// A fault of the node: it contradicts the operator's definition.
pub(crate) fn broken(reason: impl Into<String>) -> Fault {
    Fault::Broken(reason.into())
}

/// A fault of ours: the node asks for something that is not supported.
pub(crate) fn unsupported(reason: impl Into<String>) -> Fault {
    Fault::Unsupported(reason.into())
}

impl From<InferError> for Fault {
    fn from(error: InferError) -> Self {
        let reason = error.to_string();
        match error {
            InferError::DType { .. } | InferError::Quantization { .. } => Fault::Unsupported(reason),
            InferError::Step { source: eightfold_ir::epilogue::StepError::Type { .. }, .. } => {
                Fault::Unsupported(reason)
            }
            _ => Fault::Broken(reason),
        }
    }
}

/// What the outputs of a node are, in order; trailing ones that nobody reads may be missing.
pub(crate) type Outputs = Vec<Operand>;

/// A row of the table.
pub(crate) struct Adapter {
    domain: &'static str,
    op_type: &'static str,
    import: fn(&mut Adapt<'_, '_>) -> Result<Outputs, Fault>,
}

/// How a node is imported.
pub(crate) enum Import {
    Elementwise(Function),
    Adapter(&'static Adapter),
}

impl Import {
    /// Imports the node, all of whose attributes must have been read, or mean nothing.
    pub(crate) fn run(&self, a: &mut Adapt<'_, '_>) -> Result<Outputs, Fault> {
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

/// How nodes of this operator are imported, if they are.
pub(crate) fn find(domain: &str, op_type: &str) -> Option<Import> {
    let found = ADAPTERS.binary_search_by(|row| (row.domain, row.op_type).cmp(&(domain, op_type)));
    match found {
        Ok(index) => Some(Import::Adapter(&ADAPTERS[index])),
        Err(_) if domain.is_empty() => Function::from_onnx(op_type).map(Import::Elementwise),
        Err(_) => None,
    }
}

/// The ONNX operators that are imported, as domain and name, sorted.
#[must_use]
pub fn operators() -> Vec<(&'static str, &'static str)> {
    let by_table = Function::ALL.iter().map(|f| ("", f.onnx())).filter(|(_, name)| !name.is_empty());
    let mut all: Vec<_> = ADAPTERS.iter().map(|row| (row.domain, row.op_type)).chain(by_table).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Expands a subgraph without inputs, which sees the names around it, given operator sets and the prefix of its names; its
/// outputs, or `None` if one of them could not be imported.
pub(crate) type Expand<'m> =
    fn(&mut Importer<'m>, &Body, &BTreeMap<String, i64>, &str) -> Result<Option<Vec<Operand>>, OnnxError>;

/// A node under import.
pub(crate) struct Adapt<'i, 'm> {
    pub(crate) importer: &'i mut Importer<'m>,
    /// What walks over nodes, for those within this one.
    pub(crate) expand: Expand<'m>,
    pub(crate) node: &'i Node,
    /// Version of the operator set that the node belongs to.
    pub(crate) version: i64,
    pub(crate) opsets: &'i BTreeMap<String, i64>,
    /// Prefix of names within an expanded function or subgraph.
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

    /// The operand at `index`, if it is there.
    pub(crate) fn optional(&self, index: usize) -> Option<Operand> {
        self.inputs.get(index).cloned().flatten()
    }

    /// The operand at `index`.
    pub(crate) fn operand(&self, index: usize) -> Result<Operand, Fault> {
        self.optional(index).ok_or_else(|| broken(format!("operand {index} is missing")))
    }

    /// All operands, none of which may be left out.
    pub(crate) fn operands(&self) -> Result<Vec<Operand>, Fault> {
        (0..self.inputs.len()).map(|i| self.operand(i)).collect()
    }

    /// Whether anything reads output number `index`.
    pub(crate) fn is_used(&self, index: usize) -> bool {
        self.used.get(index).copied().unwrap_or(false)
    }

    /// Refuses the node if something reads output number `index`, called `name` in ONNX.
    pub(crate) fn refuse_output(&self, index: usize, name: &str) -> Result<(), Fault> {
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

    /// The integers that the operand at `index` holds, if it is there; it must be constant.
    pub(crate) fn constant_ints(&mut self, index: usize, name: &str) -> Result<Option<Vec<i64>>, Fault> {
        let Some(tensor) = self.optional_constant(index, name)? else { return Ok(None) };
        let ints = tensor.to_ints();
        ints.map(Some).ok_or_else(|| broken(format!("operand {name} must hold integers, got {}", tensor.dtype())))
    }

    /// The floats that the operand at `index` holds, if it is there; it must be constant.
    pub(crate) fn constant_floats(&mut self, index: usize, name: &str) -> Result<Option<Vec<f32>>, Fault> {
        let Some(tensor) = self.optional_constant(index, name)? else { return Ok(None) };
        let floats = tensor.to_f32s();
        floats.map(Some).ok_or_else(|| broken(format!("operand {name} must hold floats, got {}", tensor.dtype())))
    }

    /// Counts a constant of so many bytes.
    pub(crate) fn afford(&mut self, bytes: usize) -> Result<(), Fault> {
        if self.importer.afford(bytes) { Ok(()) } else { Err(unsupported("constants far larger than the model")) }
    }

    /// Notes that the attribute `name` is known, whatever it says: it has no effect beside the others of the node.
    pub(crate) fn ignore(&self, name: &'static str) {
        self.read.borrow_mut().insert(name);
    }

    fn attribute<T>(
        &self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&Attribute) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        self.read.borrow_mut().insert(name);
        let Some(attribute) = self.node.attributes.get(name) else { return Ok(None) };
        match read(attribute) {
            Some(value) => Ok(Some(value)),
            None => Err(broken(format!("attribute {name} must be {expected}, got {}", attribute.kind()))),
        }
    }

    /// The attribute `name`, if it is there.
    pub(crate) fn int(&self, name: &'static str) -> Result<Option<i64>, Fault> {
        self.attribute(name, "INT", |a| match a {
            Attribute::Int(x) => Some(*x),
            _ => None,
        })
    }

    /// The attribute `name` as a truth value, or `default`.
    pub(crate) fn flag(&self, name: &'static str, default: bool) -> Result<bool, Fault> {
        Ok(self.int(name)?.map_or(default, |x| x != 0))
    }

    /// The attribute `name`, if it is there.
    pub(crate) fn float(&self, name: &'static str) -> Result<Option<f32>, Fault> {
        self.attribute(name, "FLOAT", |a| match a {
            Attribute::Float(x) => Some(*x),
            _ => None,
        })
    }

    /// The attribute `name`, if it is there.
    pub(crate) fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, Fault> {
        self.attribute(name, "INTS", |a| match a {
            Attribute::Ints(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The attribute `name`, if it is there.
    pub(crate) fn floats(&self, name: &'static str) -> Result<Option<Vec<f32>>, Fault> {
        self.attribute(name, "FLOATS", |a| match a {
            Attribute::Floats(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The attribute `name`, if it is there.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<String>, Fault> {
        self.attribute(name, "STRING", |a| match a {
            Attribute::String(x) => Some(x.clone()),
            _ => None,
        })
    }

    /// The attribute `name`, a subgraph.
    pub(crate) fn body(&self, name: &'static str) -> Result<Body, Fault> {
        let body = self.attribute(name, "GRAPH", |a| match a {
            Attribute::Graph(body) => Some(Body::clone(body)),
            _ => None,
        })?;
        body.ok_or_else(|| broken(format!("attribute {name} is missing")))
    }

    /// The attribute `name` as a constant, if it is there.
    pub(crate) fn tensor(&self, name: &'static str) -> Result<Option<Operand>, Fault> {
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

/// An axis that may count from the end, within a tensor of `rank` axes.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    match from_start {
        Some(a) if (0..rank as i64).contains(&a) => Ok(a as usize),
        _ => Err(broken(format!("axis {axis} of a tensor of rank {rank}"))),
    }
}

/// Axes that may count from the end, ascending and each once.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut axes = list.iter().map(|a| axis(*a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    match axes.windows(2).find(|w| w[0] == w[1]) {
        Some(w) => Err(broken(format!("axis {} is named twice", w[0]))),
        None => Ok(axes),
    }
}

/// Sizes from ONNX's signed numbers; small enough that sums and products of two of them do not overflow.
pub(crate) fn sizes(list: &[i64], name: &str) -> Result<Vec<usize>, Fault> {
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
    "" "If" if_::if_;
    "" "InstanceNormalization" normalization::instance_normalization;
    "" "LayerNormalization" normalization::layer_normalization;
    "" "LeakyRelu" activation::leaky_relu;
    "" "LogSoftmax" softmax::log_softmax;
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

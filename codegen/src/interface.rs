//! The interface of an artifact to its caller, as plain data.
//!
//! The descriptors in the object file, the C header and the reports are made from it, and a loaded artifact is read
//! back to it. It holds exactly the facts that the C ABI (`eightfold.h`) can express.

use std::fmt;

use eightfold_ir::{DType, Granularity, Graph, ValueId};
use eightfold_runtime::features::FeatureSet;
use thiserror::Error;

use crate::program::Program;

/// A model as its artifact presents it.
#[derive(Clone, PartialEq, Debug)]
pub struct Interface {
    /// The model's name, for people.
    pub name: String,
    /// The C identifier that starts its exported symbol: `<symbol_prefix>_query`.
    pub symbol_prefix: String,
    /// The origin of the artifact: compiler, model, options, target.
    pub provenance: String,
    /// The variants, at least one, in order of preference: a session uses the first that the CPU can run.
    pub variants: Vec<Variant>,
}

/// The model for one choice of shapes, CPU features and threads.
#[derive(Clone, PartialEq, Debug)]
pub struct Variant {
    /// The target's name: `x86-64-v3`.
    pub target: String,
    /// The features that the CPU must have.
    pub features: FeatureSet,
    /// Number of threads that the variant was compiled for, at least 1.
    pub threads: u32,
    /// Number of threads besides the first that enter each run: `threads - 1`, or 0 if no call is shared.
    pub workers: u32,
    /// Bytes of the arena.
    pub arena_size: u64,
    /// Alignment of the arena in bytes, a power of two.
    pub arena_align: u32,
    /// In the model's order.
    pub inputs: Vec<Tensor>,
    /// In the model's order.
    pub outputs: Vec<Tensor>,
}

/// An input or an output: dense, row-major, little-endian.
#[derive(Clone, PartialEq, Debug)]
pub struct Tensor {
    /// The name in the model.
    pub name: String,
    /// The type of an element; four-bit elements take a byte each.
    pub dtype: DType,
    /// The shape; empty for a scalar.
    pub dims: Vec<usize>,
    /// How the integers represent real numbers; `None` if the tensor is not quantized.
    pub quantization: Option<Quantization>,
}

/// `real = (stored - zero_point) * scale`.
#[derive(Clone, PartialEq, Debug)]
pub struct Quantization {
    /// The dimension along which the parameters vary; `None`: one pair for the whole tensor.
    pub axis: Option<u32>,
    /// One, or one per index of `axis`.
    pub scale: Vec<f32>,
    /// As many as scales.
    pub zero_point: Vec<i32>,
}

impl Tensor {
    /// Bytes of the whole tensor; `None` if there are too many to count.
    #[must_use]
    pub fn byte_size(&self) -> Option<usize> {
        self.dims.iter().try_fold(self.dtype.byte_size(), |product, &dim| product.checked_mul(dim))
    }
}

/// `1x3x8x8xf32`: the dims, then the element type.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dims.iter().try_for_each(|dim| write!(f, "{dim}x"))?;
        write!(f, "{}", self.dtype)
    }
}

impl Variant {
    /// The variant of `program`, which was lowered from `graph`.
    #[must_use]
    pub fn of(graph: &Graph, program: &Program) -> Variant {
        let tensor = |name: &str, id: ValueId| {
            let ty = graph.ty(id);
            let quantization = graph.quant(id).map(|params| Quantization {
                axis: match params.granularity {
                    Granularity::PerTensor => None,
                    Granularity::PerChannel { axis } | Granularity::Blocked { axis, .. } => Some(axis as u32),
                },
                scale: params.scale.to_vec(),
                zero_point: params.zero_point.to_vec(),
            });
            Tensor { name: name.to_owned(), dtype: ty.dtype, dims: ty.shape.to_vec(), quantization }
        };
        let input = |id: &ValueId| tensor(graph.value(*id).name.as_deref().unwrap_or_default(), *id);
        Variant {
            target: program.target.name.to_owned(),
            features: program.target.feature_set(),
            threads: program.threads as u32,
            workers: program.workers() as u32,
            arena_size: program.arena_size as u64,
            arena_align: Program::ARENA_ALIGN as u32,
            inputs: graph.inputs().iter().map(input).collect(),
            outputs: graph.outputs().iter().map(|output| tensor(&output.name, output.value)).collect(),
        }
    }
}

/// Why an interface cannot be put into an artifact.
#[derive(Clone, PartialEq, Debug, Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// The user's symbol is not a C identifier; [`c_identifier`] makes one.
    #[error("symbol {symbol:?} is no C identifier: expected a letter, then letters, digits and underscores")]
    Symbol {
        /// The given symbol.
        symbol: String,
    },
    /// A name in the model contains a NUL byte, which ends a string in C.
    #[error("{what} contains a NUL byte: {text:?}")]
    Nul {
        /// The kind of the text.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// There is nothing to run.
    #[error("the model has no variant")]
    NoVariant,
    /// An alignment that is no power of two.
    #[error("variant {variant}: expected a power of two as the arena's alignment, got {align}")]
    Alignment {
        /// The variant's target.
        variant: String,
        /// What was given.
        align: u32,
    },
    /// A variant without threads.
    #[error("variant {variant}: expected at least one thread, got 0")]
    NoThread {
        /// The variant's target.
        variant: String,
    },
    /// More threads with work than threads.
    #[error("variant {variant}: expected fewer than {threads} workers, got {workers}")]
    Workers {
        /// The variant's target.
        variant: String,
        /// Its threads.
        threads: u32,
        /// What was given.
        workers: u32,
    },
    /// A shape whose size cannot be counted.
    #[error("tensor {tensor:?}: dims {dims:?} are too large")]
    Dims {
        /// The tensor's name.
        tensor: String,
        /// Its dims.
        dims: Vec<usize>,
    },
    /// The axis of a quantization is not an axis of the tensor.
    #[error("tensor {tensor:?}: quantized along axis {axis}, rank is {rank}")]
    QuantizationAxis {
        /// The tensor's name.
        tensor: String,
        /// The axis.
        axis: u32,
        /// The tensor's rank.
        rank: usize,
    },
    /// Scales or zero points that do not match the shape.
    #[error("tensor {tensor:?}: expected {expected} scales and zero points, got {scales} and {zero_points}")]
    QuantizationCount {
        /// The tensor's name.
        tensor: String,
        /// One, or the dim of the axis.
        expected: usize,
        /// Number of scales.
        scales: usize,
        /// Number of zero points.
        zero_points: usize,
    },
}

impl Interface {
    /// The only symbol that the artifact exports.
    #[must_use]
    pub fn query_symbol(&self) -> String {
        format!("{}_query", self.symbol_prefix)
    }

    /// Checks that the C ABI can express this interface.
    ///
    /// # Errors
    /// Fails at the first field that it cannot express.
    pub fn check(&self) -> Result<(), InterfaceError> {
        let symbol = &self.symbol_prefix;
        if !symbol.starts_with(|c: char| c.is_ascii_alphabetic())
            || !symbol.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            return Err(InterfaceError::Symbol { symbol: symbol.clone() });
        }
        check_text("the model's name", &self.name)?;
        check_text("the provenance", &self.provenance)?;
        if self.variants.is_empty() {
            return Err(InterfaceError::NoVariant);
        }
        self.variants.iter().try_for_each(Variant::check)
    }
}

impl Variant {
    fn check(&self) -> Result<(), InterfaceError> {
        check_text("the target's name", &self.target)?;
        let variant = || self.target.clone();
        if !self.arena_align.is_power_of_two() {
            return Err(InterfaceError::Alignment { variant: variant(), align: self.arena_align });
        }
        if self.threads == 0 {
            return Err(InterfaceError::NoThread { variant: variant() });
        }
        if self.workers >= self.threads {
            let (threads, workers) = (self.threads, self.workers);
            return Err(InterfaceError::Workers { variant: variant(), threads, workers });
        }
        self.inputs.iter().chain(&self.outputs).try_for_each(Tensor::check)
    }
}

impl Tensor {
    fn check(&self) -> Result<(), InterfaceError> {
        check_text("a tensor's name", &self.name)?;
        let tensor = || self.name.clone();
        if self.byte_size().is_none() {
            return Err(InterfaceError::Dims { tensor: tensor(), dims: self.dims.clone() });
        }
        let Some(quantization) = &self.quantization else {
            return Ok(());
        };
        let expected = match quantization.axis {
            None => 1,
            Some(axis) => match self.dims.get(axis as usize) {
                Some(&dim) => dim,
                None => {
                    let rank = self.dims.len();
                    return Err(InterfaceError::QuantizationAxis { tensor: tensor(), axis, rank });
                }
            },
        };
        let (scales, zero_points) = (quantization.scale.len(), quantization.zero_point.len());
        if scales != expected || zero_points != expected {
            let tensor = tensor();
            return Err(InterfaceError::QuantizationCount { tensor, expected, scales, zero_points });
        }
        Ok(())
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), InterfaceError> {
    if text.contains('\0') {
        return Err(InterfaceError::Nul { what, text: text.to_owned() });
    }
    Ok(())
}

/// A C identifier made from `name`: characters other than letters and digits become `_`, and an `m` goes before a
/// leading digit.
///
/// ```
/// use eightfold_codegen::interface::c_identifier;
/// assert_eq!(c_identifier("mobilenetv2_1.0"), "mobilenetv2_1_0");
/// assert_eq!(c_identifier("3d-net"), "m3d_net");
/// ```
#[must_use]
pub fn c_identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let identifier: String = name.chars().map(plain).collect();
    match identifier.trim_start_matches('_') {
        "" => "model".to_owned(),
        rest if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("m{rest}"),
        rest => rest.to_owned(),
    }
}

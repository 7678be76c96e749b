//! Random operators: one row each, which draws attributes and further operands for a first operand.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::concat::Concat;
use eightfold_ir::op::conv::{Conv, canonical};
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::cumsum::CumSum;
use eightfold_ir::op::dequantize_linear::DequantizeLinear;
use eightfold_ir::op::expand::Expand;
use eightfold_ir::op::gather::Gather;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::matmul::MatMul;
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::quantize_linear::QuantizeLinear;
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::relayout::{Order, Relayout};
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::resize::{Coordinates, NearestMode, Resize, ResizeMode};
use eightfold_ir::op::slice::Slice;
use eightfold_ir::op::softmax::Softmax;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{DType, Granularity, Op, QuantId, QuantParams, Shape, Tensor, ValueId};

use crate::draw::{Draw, Style};
use crate::regions;

/// An operator and its operands; `None` if it does not support the first operand.
pub(crate) type Drawn = Option<(Op, Vec<Option<ValueId>>)>;

/// Draws an operator for a first operand.
type Row = (&'static str, fn(&mut Draw<'_>, ValueId) -> Drawn);

/// All operators by their text names; elementwise ones are drawn more often.
pub(crate) const OPERATORS: &[Row] = &[
    ("map", map),
    ("conv", conv),
    ("conv_transpose", conv_transpose),
    ("matmul", matmul),
    ("pool", pool),
    ("map", map),
    ("reduce", reduce),
    ("softmax", softmax),
    ("cumsum", cumsum),
    ("quantize_linear", quantize_linear),
    ("dequantize_linear", dequantize_linear),
    ("concat", concat),
    ("map", map),
    ("slice", slice),
    ("pad", pad),
    ("resize", resize),
    ("transpose", transpose),
    ("reshape", reshape),
    ("map", map),
    ("expand", expand),
    ("gather", gather),
    ("relayout", relayout),
    ("if", regions::if_),
    ("loop", regions::loop_),
    ("scan", regions::scan),
];

fn one(op: impl Into<Op>, x: ValueId) -> Drawn {
    Some((op.into(), vec![Some(x)]))
}

fn map(_: &mut Draw<'_>, x: ValueId) -> Drawn {
    one(Map {}, x)
}

impl Draw<'_> {
    fn shape(&self, x: ValueId) -> Vec<usize> {
        self.graph.ty(x).shape.to_vec()
    }

    fn dtype(&self, x: ValueId) -> DType {
        self.graph.ty(x).dtype
    }

    /// Whether products support the type, and the type of weights for it.
    fn weight_type(&self, x: ValueId) -> Option<DType> {
        match self.dtype(x) {
            DType::F32 => Some(self.tape.pick(&[DType::F32, DType::F32, DType::I8, DType::I4])),
            DType::Bf16 => Some(DType::Bf16),
            DType::U8 | DType::I8 => Some(self.tape.pick(&[DType::I8, DType::U8])),
            _ => None,
        }
    }

    /// Quantization parameters of weights for `x` with this many output channels along `axis`.
    fn weight_quant(&mut self, x: ValueId, dtype: DType, axis: usize, channels: usize) -> Option<QuantId> {
        if dtype.is_float() {
            return None;
        }
        let params = match self.tape.below(4) {
            // Floats take symmetric weights alone.
            0 | 2 if self.dtype(x).is_float() => QuantParams::per_tensor(dtype, 0.01, 0),
            0 => return None,
            1 => QuantParams::per_tensor(dtype, 0.01, 0),
            2 => QuantParams::per_tensor(dtype, 0.02, 5),
            _ => QuantParams {
                scale: (0..channels).map(|c| 0.01 + 0.001 * c as f32).collect(),
                zero_point: (0..channels).map(|_| 0).collect(),
                granularity: Granularity::PerChannel { axis },
                ..QuantParams::per_tensor(dtype, 1.0, 0)
            },
        };
        Some(self.graph.add_qparams(params))
    }

    /// A bias of `channels` elements for a product with `x`, or none.
    fn bias(&mut self, x: ValueId, channels: usize) -> Option<ValueId> {
        let dtype = if self.dtype(x).is_float() { DType::F32 } else { DType::I32 };
        match self.tape.below(4) {
            1 => Some(self.constant(dtype, &[channels])),
            2 => Some(self.input(dtype, &[channels], None)),
            _ => None,
        }
    }

    fn list(&self, count: usize, choices: &[usize]) -> Vec<usize> {
        (0..count).map(|_| self.tape.pick(choices)).collect()
    }

    fn sizes(&self, count: usize, choices: &[usize], default: usize) -> Sizes {
        canonical(&self.list(count, choices), default)
    }

    /// The groups of a convolution of `x`, and a constant for its weights.
    fn window_weights(&mut self, x: ValueId) -> Option<(usize, usize, ValueId)> {
        let shape = self.shape(x);
        let spatial = shape.len().checked_sub(2).filter(|spatial| (1..=2).contains(spatial))?;
        let dtype = self.weight_type(x)?;
        let groups: Vec<usize> =
            [1, 1, shape[1], 2].into_iter().filter(|g| *g > 0 && shape[1].is_multiple_of(*g)).collect();
        let group = self.tape.pick(&groups);
        let channels = group * self.tape.pick(&[1, 2, 3, 8, 9, 17]);
        let kernel = self.list(spatial, &[1, 3, 2, 5]);
        let weights = [&[channels, shape[1] / group], &kernel[..]].concat();
        let quant = self.weight_quant(x, dtype, 0, channels);
        Some((group, channels, self.quantized_constant(dtype, &weights, quant)))
    }
}

fn conv(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let (group, channels, w) = draw.window_weights(x)?;
    let spatial = draw.shape(x).len() - 2;
    let op = Conv {
        pads: draw.sizes(2 * spatial, &[0, 1, 2], 0),
        strides: draw.sizes(spatial, &[1, 2, 3], 1),
        dilations: draw.sizes(spatial, &[1, 1, 2], 1),
        group,
    };
    let bias = draw.bias(x, channels);
    Some((op.into(), vec![Some(x), Some(w), bias]))
}

fn conv_transpose(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let (group, channels, w) = draw.window_weights(x)?;
    let spatial = draw.shape(x).len() - 2;
    let op = ConvTranspose {
        pads: draw.sizes(2 * spatial, &[0, 1], 0),
        strides: draw.sizes(spatial, &[1, 2, 3], 1),
        dilations: draw.sizes(spatial, &[1, 1, 2], 1),
        output_padding: draw.sizes(spatial, &[0, 0, 1], 0),
        group,
    };
    let bias = draw.bias(x, channels);
    Some((op.into(), vec![Some(x), Some(w), bias]))
}

fn matmul(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let shape = draw.shape(x);
    let rank = shape.len().checked_sub(2)? + 2;
    let (dtype, n) = (draw.weight_type(x)?, draw.extent());
    let mut weights = vec![shape[rank - 1], n];
    if draw.tape.one_in(3) {
        weights = [&shape[..rank - 2], &weights].concat();
    }
    let is_weight_only = draw.dtype(x).is_float() && !dtype.is_float();
    let w = if draw.tape.one_in(3) && !is_weight_only {
        let quant = draw.quant(dtype);
        draw.input(dtype, &weights, quant)
    } else {
        let axis = weights.len() - 1;
        let quant = draw.weight_quant(x, dtype, axis, n);
        // A batched product has variable operands, which have one scale.
        let quant = quant.filter(|id| weights.len() == 2 || draw.graph.qparams(*id).is_per_tensor());
        draw.quantized_constant(dtype, &weights, quant)
    };
    let bias = draw.bias(x, n);
    Some((MatMul {}.into(), vec![Some(x), Some(w), bias]))
}

fn pool(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let spatial = draw.shape(x).len().checked_sub(2).filter(|spatial| (1..=2).contains(spatial))?;
    // ONNX has no sum pool.
    let kinds = [PoolKind::Max, PoolKind::Average, PoolKind::Sum];
    let kinds = if draw.style == Style::Imported { &kinds[..2] } else { &kinds };
    let op = Pool {
        kind: draw.tape.pick(kinds),
        kernel: draw.list(spatial, &[2, 3, 1, 5]).as_slice().into(),
        pads: draw.sizes(2 * spatial, &[0, 0, 1, 2], 0),
        strides: draw.sizes(spatial, &[1, 2, 3], 1),
        dilations: draw.sizes(spatial, &[1, 1, 2], 1),
        ceil: draw.tape.one_in(3),
        count_include_pad: draw.tape.one_in(3),
    };
    // ONNX Runtime requires padding to be less than the window's extent, regardless of dilation.
    let least = op.kernel.iter().min().copied().unwrap_or(0);
    let takes = draw.style != Style::Imported || op.pads.iter().all(|pad| *pad < least);
    if takes { one(op, x) } else { None }
}

fn reduce(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let kinds = [
        ReduceKind::Sum,
        ReduceKind::Mean,
        ReduceKind::Max,
        ReduceKind::Min,
        ReduceKind::Prod,
        ReduceKind::SumSquare,
        ReduceKind::SumAbs,
    ];
    let rank = draw.shape(x).len();
    let axes: Sizes = (0..rank).filter(|_| draw.tape.below(2) == 0).collect();
    let (kind, keepdims) = (draw.tape.pick(&kinds), !draw.tape.one_in(2));
    let elements: usize = axes.iter().map(|axis| draw.shape(x)[*axis]).product();
    // Whether a product of many floats overflows depends on the order of the factors.
    if axes.is_empty() || kind == ReduceKind::Prod && elements > 16 {
        return None;
    }
    one(Reduce { kind, axes, keepdims }, x)
}

fn softmax(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let rank = draw.shape(x).len();
    let takes = matches!(draw.dtype(x), DType::F32 | DType::U8 | DType::I8);
    if rank == 0 || !takes { None } else { one(Softmax { axis: draw.tape.below(rank) }, x) }
}

fn cumsum(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let rank = draw.shape(x).len();
    let ty = draw.graph.ty(x);
    let takes = matches!(ty.dtype, DType::F32 | DType::I32 | DType::I64) && ty.quant.is_none();
    if rank == 0 || !takes {
        return None;
    }
    let (exclusive, reverse) = (draw.tape.one_in(2), draw.tape.one_in(2));
    one(CumSum { axis: draw.tape.below(rank), exclusive, reverse }, x)
}

fn quantize_linear(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let to = if draw.style == Style::Imported {
        draw.tape.pick(&[DType::U8, DType::I8])
    } else {
        draw.tape.pick(&[DType::U8, DType::I8, DType::I16, DType::I32])
    };
    one(QuantizeLinear { to }, x)
}

fn dequantize_linear(_: &mut Draw<'_>, x: ValueId) -> Drawn {
    one(DequantizeLinear {}, x)
}

fn concat(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let ty = draw.graph.ty(x).clone();
    let axis = if ty.shape.rank() == 0 { return None } else { draw.tape.below(ty.shape.rank()) };
    let mut parts = vec![Some(x)];
    for _ in 0..1 + draw.tape.below(2) {
        let alike = |other: &eightfold_ir::TensorType| {
            let same_extents = |a: usize| a == axis || other.shape[a] == ty.shape[a];
            (other.dtype, other.quant, other.shape.rank()) == (ty.dtype, ty.quant, ty.shape.rank())
                && (0..ty.shape.rank()).all(same_extents)
        };
        let part = match draw.tape.below(3) {
            0 => draw.among(alike).unwrap_or(x),
            kind => {
                let mut shape = ty.shape.to_vec();
                shape[axis] = draw.extent();
                match kind {
                    1 => draw.input(ty.dtype, &shape, ty.quant),
                    _ => draw.quantized_constant(ty.dtype, &shape, ty.quant),
                }
            }
        };
        let at = draw.tape.below(parts.len() + 1);
        parts.insert(at, Some(part));
    }
    Some((Concat { axis }.into(), parts))
}

fn slice(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let shape = draw.shape(x);
    let (mut starts, mut sizes, mut steps) = (Vec::new(), Vec::new(), Vec::new());
    for extent in shape {
        let (first, last) = (draw.tape.below(extent.max(1)), draw.tape.below(extent.max(1)));
        let distance = first.abs_diff(last);
        let step = draw.tape.pick(&[1, 1, 2]);
        starts.push(first);
        sizes.push(if extent == 0 { 0 } else { distance / step + 1 });
        steps.push(if last < first { -(step as i64) } else { step as i64 });
    }
    let steps = if steps.iter().all(|step| *step == 1) { Vec::new() } else { steps };
    let op = Slice { starts: starts.into(), sizes: sizes.into(), steps: steps.into() };
    one(op, x)
}

fn pad(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let rank = draw.shape(x).len();
    let op = Pad {
        mode: draw.tape.pick(&[PadMode::Constant, PadMode::Edge, PadMode::Reflect]),
        before: draw.list(rank, &[0, 0, 1, 2]).as_slice().into(),
        after: draw.list(rank, &[0, 0, 1, 3]).as_slice().into(),
        value: draw.tape.pick(&[0.0, 0.5, -1.0]),
    };
    one(op, x)
}

fn resize(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let shape = draw.shape(x);
    // ONNX Runtime interpolates along at least two axes.
    let takes = draw.style != Style::Imported || shape.len() > 1;
    if shape.is_empty() {
        return None;
    }
    let linear = draw.dtype(x).is_float() && takes && !draw.tape.one_in(3);
    let size = |(axis, extent): (usize, &usize)| match axis {
        0 | 1 => *extent,
        _ => draw.tape.pick(&[2 * extent, *extent, 3 * extent, extent.div_ceil(2), 5, 1]),
    };
    let op = Resize {
        mode: if linear { ResizeMode::Linear } else { ResizeMode::Nearest },
        coordinates: draw.tape.pick(&[
            Coordinates::HalfPixel,
            Coordinates::PytorchHalfPixel,
            Coordinates::Asymmetric,
            Coordinates::AlignCorners,
        ]),
        nearest: draw.tape.pick(&[
            NearestMode::RoundPreferFloor,
            NearestMode::RoundPreferCeil,
            NearestMode::Floor,
            NearestMode::Ceil,
        ]),
        sizes: shape.iter().enumerate().map(size).collect(),
        scales: Default::default(),
    };
    one(op, x)
}

fn transpose(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let mut rest: Vec<usize> = (0..draw.shape(x).len()).collect();
    let mut perm = Sizes::new();
    while !rest.is_empty() {
        perm.push(rest.remove(draw.tape.below(rest.len())));
    }
    one(Transpose { perm }, x)
}

fn reshape(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let mut shape = draw.shape(x);
    let elements: usize = shape.iter().product();
    match draw.tape.below(5) {
        0 => shape = vec![elements],
        1 => shape = vec![1, elements],
        2 if shape.len() > 1 => {
            let at = draw.tape.below(shape.len() - 1);
            shape[at] *= shape.remove(at + 1);
        }
        3 => {
            let at = draw.tape.below(shape.len() + 1);
            shape.insert(at, 1);
        }
        _ => {
            let factors: Vec<(usize, usize)> = shape
                .iter()
                .enumerate()
                .flat_map(|(axis, extent)| [2, 3].into_iter().filter(move |f| extent % f == 0).map(move |f| (axis, f)))
                .collect();
            if factors.is_empty() {
                return None;
            }
            let (axis, factor) = draw.tape.pick(&factors);
            shape[axis] /= factor;
            shape.insert(axis + draw.tape.below(2), factor);
        }
    }
    one(Reshape { shape: shape.into() }, x)
}

fn expand(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let mut shape = draw.shape(x);
    for extent in shape.iter_mut().filter(|extent| **extent == 1) {
        *extent = draw.tape.pick(&[3, 1, 2]);
    }
    if draw.tape.one_in(3) {
        shape.insert(0, 2);
    }
    one(Expand { shape: shape.into() }, x)
}

fn gather(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    let shape = draw.shape(x);
    let axis = if shape.is_empty() { return None } else { draw.tape.below(shape.len()) };
    let rank = draw.tape.below(3);
    let indices: Vec<usize> = (0..rank).map(|_| draw.tape.pick(&[2, 1, 3])).collect();
    let dtype = draw.tape.pick(&[DType::I64, DType::I32]);
    // Negative ones count from the end.
    let index = |_| draw.tape.below(2 * shape[axis].max(1)) as i64 - shape[axis] as i64;
    let positions: Vec<i64> = (0..Shape::new(&indices).elements()).map(index).collect();
    let tensor = Tensor::int(dtype, &indices, &positions);
    let id = match draw.tape.one_in(3) {
        true => draw.input_of(tensor, None),
        false => draw.graph.add_const("", tensor, None),
    };
    Some((Gather { axis }.into(), vec![Some(x), Some(id)]))
}

fn relayout(draw: &mut Draw<'_>, x: ValueId) -> Drawn {
    if draw.style != Style::Anything {
        return None;
    }
    one(Relayout { to: draw.tape.pick(&[Order::Nhwc, Order::Nchw]) }, x)
}

//! Exports operators without their steps.

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::conv::Conv;
use eightfold_ir::op::conv_transpose::ConvTranspose;
use eightfold_ir::op::pad::{Pad, PadMode};
use eightfold_ir::op::pool::{Pool, PoolKind};
use eightfold_ir::op::reduce::{Reduce, ReduceKind};
use eightfold_ir::op::resize::{Coordinates, NearestMode, Resize, ResizeMode};
use eightfold_ir::op::slice::Slice;
use eightfold_ir::quant::quantize;
use eightfold_ir::{DType, Data, Node, Op, Shape, Tensor, TensorType, ValueId};

use super::{Call, Exporter, Inexpressible, inexpressible};
use crate::onnx::model::Attribute;

impl Exporter<'_> {
    /// Writes the operator of a node and returns its output's name.
    pub(super) fn operator(&mut self, node: &Node) -> Result<String, Inexpressible> {
        let mut operands: Vec<String> =
            node.operands.iter().map(|o| o.map_or_else(String::new, |id| self.value(id))).collect();
        self.dequantize_weights(node, &mut operands)?;
        // Trailing operands that are omitted have no slot.
        while operands.last().is_some_and(String::is_empty) {
            operands.pop();
        }
        // Shape inference requires a first operand.
        let first = node.operands.iter().flatten().next().copied();
        let first = first.ok_or_else(|| inexpressible("it has no operand"))?;
        let x = self.graph.ty(first).clone();
        let call = |op_type| Call::new(op_type, operands.clone());
        let call = match &node.op {
            Op::Map(_) | Op::Relayout(_) => return Ok(operands[0].clone()),
            Op::Concat(op) => call("Concat").with("axis", Attribute::Int(op.axis as i64)),
            Op::Conv(op) => conv(call("Conv"), op, &x, self.graph.ty(node.operands[1].unwrap_or(first)))?,
            Op::ConvTranspose(op) => self.conv_transpose(operands, op, &x, node)?,
            Op::CumSum(op) => {
                let flags = [("exclusive", op.exclusive), ("reverse", op.reverse)];
                let call = call("CumSum").and(self.ints([op.axis as i64]));
                flags.into_iter().fold(call, |call, (name, set)| call.with(name, Attribute::Int(i64::from(set))))
            }
            Op::DequantizeLinear(_) => self.dequantize(call("DequantizeLinear"), first, &x)?,
            Op::QuantizeLinear(op) => self.quantize(call("QuantizeLinear"), op.to, node.output())?,
            Op::Expand(op) => call("Expand").and(self.sizes(&op.shape)),
            Op::Gather(op) => call("Gather").with("axis", Attribute::Int(op.axis as i64)),
            Op::MatMul(_) => self.matmul(operands, &x, node)?,
            Op::Pad(op) => self.pad(call("Pad"), op, first, &x)?,
            Op::Pool(op) => pool(call(""), op, &x)?,
            Op::Reduce(op) => self.reduce(call(""), op, &x)?,
            Op::Reshape(op) => {
                let zero = Attribute::Int(i64::from(op.shape.contains(&0)));
                call("Reshape").and(self.sizes(&op.shape)).with("allowzero", zero)
            }
            Op::Resize(op) => self.resize(call("Resize"), op),
            Op::Slice(op) => self.slice(call("Slice"), op),
            Op::Softmax(op) => {
                floats(&x)?;
                call("Softmax").with("axis", Attribute::Int(op.axis as i64))
            }
            Op::If(_) | Op::Loop(_) | Op::Scan(_) => {
                return Err(inexpressible("operators with bodies are not written as ONNX nodes"));
            }
            Op::Transpose(op) => call("Transpose").with("perm", sizes(&op.perm)),
        };
        Ok(self.call(call))
    }

    fn sizes(&mut self, list: &[usize]) -> String {
        self.ints(list.iter().map(|n| *n as i64))
    }

    fn dequantize(&mut self, call: Call, operand: ValueId, x: &TensorType) -> Result<Call, Inexpressible> {
        let quant = x.quant.ok_or_else(|| inexpressible("its operand has no quantization"))?;
        storable(x.dtype)?;
        let name = call.inputs[0].clone();
        self.quantized_by(call, quant, &name, &self.graph.ty(operand).shape.clone())
    }

    /// Dequantizes the stored weights of a product of floats, which ONNX multiplies by floats alone.
    fn dequantize_weights(&mut self, node: &Node, operands: &mut [String]) -> Result<(), Inexpressible> {
        let Some(w) = self.graph.stored_weights(node) else { return Ok(()) };
        let ty = self.graph.ty(w).clone();
        let stored = Call::new("DequantizeLinear", vec![self.value(w)]);
        let floats = self.dequantize(stored, w, &ty)?;
        let floats = self.call(floats);
        for (operand, _) in operands.iter_mut().zip(&node.operands).filter(|(_, id)| **id == Some(w)) {
            operand.clone_from(&floats);
        }
        Ok(())
    }

    fn quantize(&mut self, call: Call, to: DType, output: ValueId) -> Result<Call, Inexpressible> {
        let y = self.graph.ty(output);
        let quant = y.quant.ok_or_else(|| inexpressible("its result has no quantization"))?;
        storable(to)?;
        if to == DType::I32 {
            return Err(inexpressible("ONNX quantizes to at most 16 bits, not to i32"));
        }
        let name = self.value(output);
        self.quantized_by(call, quant, &name, &y.shape.clone())
    }

    /// Gemm if there is a bias and the shapes allow it, because runtimes fuse Gemm with quantization; otherwise MatMul
    /// and Add.
    fn matmul(&mut self, mut operands: Vec<String>, x: &TensorType, node: &Node) -> Result<Call, Inexpressible> {
        floats(x)?;
        let flat = node.operands[..2].iter().flatten().all(|id| self.graph.ty(*id).shape.rank() == 2);
        match operands.len() {
            3 if flat => Ok(Call::new("Gemm", operands)),
            3 => {
                let bias = operands.remove(2);
                let product = self.call(Call::new("MatMul", operands));
                Ok(Call::new("Add", vec![product, bias]))
            }
            _ => Ok(Call::new("MatMul", operands)),
        }
    }

    /// ONNX expects the weights as C x O/group x K...
    fn conv_transpose(
        &mut self,
        mut operands: Vec<String>,
        op: &ConvTranspose,
        x: &TensorType,
        node: &Node,
    ) -> Result<Call, Inexpressible> {
        let w = node.operand(1).ok_or_else(|| inexpressible("it has no weights"))?;
        let ws = self.graph.ty(w).shape.clone();
        let weights = operands[1].clone();
        operands[1] = if op.group == 1 {
            let perm: Vec<usize> = [1, 0].into_iter().chain(2..ws.rank()).collect();
            self.call(Call::new("Transpose", vec![weights]).with("perm", sizes(&perm)))
        } else {
            let (outputs, inputs) = (ws[0] / op.group, ws[1]);
            let split = self.sizes(&[&[op.group, outputs, inputs], &ws[2..]].concat());
            let joined = self.sizes(&[&[op.group * inputs, outputs], &ws[2..]].concat());
            let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..ws.rank() + 1).collect();
            let weights = self.call(Call::new("Reshape", vec![weights, split]));
            let weights = self.call(Call::new("Transpose", vec![weights]).with("perm", sizes(&perm)));
            self.call(Call::new("Reshape", vec![weights, joined]))
        };
        let call = conv(Call::new("ConvTranspose", operands), &op.transposed(), x, self.graph.ty(w))?;
        Ok(with_list(call, "output_padding", &op.output_padding))
    }

    fn pad(&mut self, call: Call, op: &Pad, operand: ValueId, x: &TensorType) -> Result<Call, Inexpressible> {
        let pads = self.ints(op.before.iter().chain(&op.after).map(|n| *n as i64));
        let mode = match op.mode {
            PadMode::Constant => "constant",
            PadMode::Edge => "edge",
            PadMode::Reflect => "reflect",
        };
        let mut call = call.and(pads).with("mode", Attribute::String(mode.to_owned()));
        if op.mode == PadMode::Constant {
            let stored = match (self.graph.quant(operand).and_then(|q| q.as_per_tensor()), x.dtype.storage_range()) {
                (Some((scale, zero_point)), Some((min, max))) => {
                    Data::Int(vec![i64::from(quantize(op.value, scale, zero_point, min, max))])
                }
                _ if x.dtype.is_float() => Data::Float(vec![op.value]),
                _ => Data::Int(vec![op.value as i64]),
            };
            call = call.and(self.constant(Tensor::from_array(x.dtype, Shape::scalar(), &stored)));
        }
        Ok(call)
    }

    fn reduce(&mut self, mut call: Call, op: &Reduce, x: &TensorType) -> Result<Call, Inexpressible> {
        if op.kind == ReduceKind::Sum && x.quant.is_some() {
            return Err(inexpressible("it sums stored integers less their zero point"));
        }
        let spatial = op.keepdims && x.shape.rank() > 2 && op.axes.iter().copied().eq(2..x.shape.rank());
        call.op_type = match op.kind {
            // Runtimes support these on integers, too.
            ReduceKind::Mean if spatial => return Ok(Call { op_type: "GlobalAveragePool", ..call }),
            ReduceKind::Max if spatial => return Ok(Call { op_type: "GlobalMaxPool", ..call }),
            ReduceKind::Sum => "ReduceSum",
            ReduceKind::Mean => "ReduceMean",
            ReduceKind::Max => "ReduceMax",
            ReduceKind::Min => "ReduceMin",
            ReduceKind::Prod => "ReduceProd",
            ReduceKind::SumSquare => "ReduceSumSquare",
            ReduceKind::SumAbs => "ReduceL1",
        };
        if op.axes.is_empty() {
            return Err(inexpressible("it reduces no axis"));
        }
        Ok(call.and(self.sizes(&op.axes)).with("keepdims", Attribute::Int(i64::from(op.keepdims))))
    }

    fn resize(&mut self, call: Call, op: &Resize) -> Call {
        let mode = match op.mode {
            ResizeMode::Nearest => "nearest",
            ResizeMode::Linear => "linear",
        };
        let coordinates = match op.coordinates {
            Coordinates::HalfPixel => "half_pixel",
            Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
            Coordinates::Asymmetric => "asymmetric",
            Coordinates::AlignCorners => "align_corners",
        };
        let nearest = match op.nearest {
            NearestMode::RoundPreferFloor => "round_prefer_floor",
            NearestMode::RoundPreferCeil => "round_prefer_ceil",
            NearestMode::Floor => "floor",
            NearestMode::Ceil => "ceil",
        };
        let text = |word: &str| Attribute::String(word.to_owned());
        let call = call.and(String::new());
        let call = if op.scales.is_empty() {
            call.and(String::new()).and(self.sizes(&op.sizes))
        } else {
            let scales = Tensor::f32(&[op.scales.len()], &op.scales);
            call.and(self.constant(scales))
        };
        call.with("mode", text(mode))
            .with("coordinate_transformation_mode", text(coordinates))
            .with("nearest_mode", text(nearest))
    }

    fn slice(&mut self, call: Call, op: &Slice) -> Call {
        let axes = 0..op.starts.len();
        // A slice that runs backwards to the first element ends before it, which ONNX expresses as the least integer.
        let end = |axis: usize| {
            let end = op.starts[axis] as i64 + op.sizes[axis] as i64 * op.step(axis);
            if end < 0 { i64::MIN } else { end }
        };
        let starts = self.sizes(&op.starts);
        let ends = self.ints(axes.clone().map(end));
        let call = call.and(starts).and(ends).and(self.ints(axes.clone().map(|axis| axis as i64)));
        if op.steps.is_empty() { call } else { call.and(self.ints(axes.map(|axis| op.step(axis)))) }
    }
}

fn sizes(list: &[usize]) -> Attribute {
    Attribute::Ints(list.iter().map(|n| *n as i64).collect())
}

/// Adds the attribute unless the list is empty, which means ONNX's default.
fn with_list(call: Call, name: &'static str, list: &Sizes) -> Call {
    if list.is_empty() { call } else { call.with(name, sizes(list)) }
}

fn conv(call: Call, op: &Conv, x: &TensorType, w: &TensorType) -> Result<Call, Inexpressible> {
    floats(x)?;
    let call = with_list(call, "pads", &op.pads);
    let call = with_list(call, "strides", &op.strides);
    let call = with_list(call, "dilations", &op.dilations);
    Ok(call.with("kernel_shape", sizes(&w.shape[2..])).with("group", Attribute::Int(op.group as i64)))
}

fn pool(mut call: Call, op: &Pool, x: &TensorType) -> Result<Call, Inexpressible> {
    call.op_type = match op.kind {
        PoolKind::Max => "MaxPool",
        PoolKind::Average => {
            floats(x)?;
            "AveragePool"
        }
        PoolKind::Sum => return Err(inexpressible("ONNX has no pool that sums")),
    };
    let call = with_list(call, "pads", &op.pads);
    let call = with_list(call, "strides", &op.strides);
    let call = with_list(call, "dilations", &op.dilations);
    let mut call = call.with("kernel_shape", sizes(&op.kernel)).with("ceil_mode", Attribute::Int(i64::from(op.ceil)));
    if op.kind == PoolKind::Average {
        call = call.with("count_include_pad", Attribute::Int(i64::from(op.count_include_pad)));
    }
    Ok(call)
}

/// Fails for integers, on which ONNX defines the operator differently.
fn floats(x: &TensorType) -> Result<(), Inexpressible> {
    if x.dtype.is_float() { Ok(()) } else { Err(inexpressible(format!("it computes on {}", x.dtype))) }
}

/// Fails for types that ONNX does not use for quantized values.
pub(super) fn storable(dtype: DType) -> Result<(), Inexpressible> {
    if dtype.storage_range().is_some() {
        Ok(())
    } else {
        Err(inexpressible(format!("{dtype} holds quantized numbers")))
    }
}

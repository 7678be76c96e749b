//! Adds operators to the graph, or computes them at once if all their operands are constant.
//!
//! An import computes integer and boolean results, and float results that are no larger than their operands. So shapes
//! become numbers, and weights get the form that operators expect. Convolutions, matrix products and quantized weights
//! are left to the passes.

use std::collections::BTreeMap;

use eightfold_ir::attr::Sizes;
use eightfold_ir::op::EvalOperand;
use eightfold_ir::op::map::Map;
use eightfold_ir::op::reshape::Reshape;
use eightfold_ir::op::slice::Slice;
use eightfold_ir::op::transpose::Transpose;
use eightfold_ir::{
    Arg, Array, DType, Epilogue, Function, Op, QuantId, QuantParams, QuantRule, Shape, Step, Tensor, ValueId, epilogue,
};
use smallvec::SmallVec;

use super::adapt::{Adapt, AdaptError, broken};
use super::dims::MOST_ELEMENTS;
use super::importer::Operand;

/// The maximum number of elements of an integer result that is computed at import; [`MOST_FLOATS`] is the one for
/// floats.
const MOST_INTEGERS: usize = 1 << 20;
const MOST_FLOATS: usize = 1 << 10;

impl Adapt<'_, '_> {
    /// The graph value of an operand.
    pub(crate) fn place(&mut self, operand: &Operand) -> ValueId {
        self.importer.place(operand, None)
    }

    /// Adds an operator.
    pub(crate) fn emit(&mut self, op: impl Into<Op>, operands: &[&Operand]) -> Result<Operand, AdaptError> {
        let operands: Vec<_> = operands.iter().map(|o| Some(self.place(o))).collect();
        self.emit_node(op.into(), &operands, Vec::new(), None)
    }

    /// Adds an operator with an epilogue on graph values; output 0 gets the quantization `quant`, if any.
    pub(crate) fn emit_node(
        &mut self,
        op: Op,
        operands: &[Option<ValueId>],
        mut steps: Vec<Step>,
        quant: Option<QuantId>,
    ) -> Result<Operand, AdaptError> {
        let mut operands: SmallVec<[Option<ValueId>; 4]> = SmallVec::from_slice(operands);
        self.sum_to_bf16(&op, &mut operands, &mut steps)?;
        let operands = operands.as_slice();
        let epilogue = Epilogue::new(steps);
        let graph = &mut self.importer.graph;
        let types = graph.infer(&op, operands, &epilogue)?;
        let elements = types[0].shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        let Some(elements) = elements.filter(|n| *n <= MOST_ELEMENTS) else {
            return Err(broken(format!("the result is too large: {}", types[0].shape)));
        };
        let reads: Vec<ValueId> = operands.iter().flatten().copied().chain(epilogue.values()).collect();
        let most = match types[0].dtype.is_float() {
            true => MOST_FLOATS,
            false => MOST_INTEGERS,
        };
        let read: usize = reads.iter().map(|v| graph.ty(*v).shape.elements()).sum();
        let folds = !is_sum(&op) && !matches!(op, Op::QuantizeLinear(_) | Op::DequantizeLinear(_));
        if folds
            && elements <= most.max(read)
            && reads.iter().all(|v| graph.constant(*v).is_some())
            && self.importer.afford(types[0].byte_size())
        {
            let graph = &self.importer.graph;
            let array = |v: &ValueId| graph.constant(*v).map(|tensor| (*v, Array::from(tensor)));
            let arrays: BTreeMap<ValueId, Array> = reads.iter().filter_map(array).collect();
            return compute(&op, operands, &epilogue, &arrays);
        }
        let graph = &mut self.importer.graph;
        let value = graph.add_node("", op, operands, epilogue, quant, self.origin.clone())?;
        self.added.push(value);
        Ok(Operand::Value(value))
    }

    /// The IR's products of bf16 yield f32, ONNX's yield bf16: appends the conversion.
    fn sum_to_bf16(
        &mut self,
        op: &Op,
        operands: &mut [Option<ValueId>],
        steps: &mut Vec<Step>,
    ) -> Result<(), AdaptError> {
        let QuantRule::Affine { bias, .. } = op.quant_rule() else { return Ok(()) };
        let x = operands.first().copied().flatten();
        if x.is_none_or(|x| self.importer.graph.ty(x).dtype != DType::Bf16) {
            return Ok(());
        }
        if let Some(Some(bias)) = operands.get_mut(bias) {
            let wide = self.map(&Operand::Value(*bias), vec![Step::Cast(DType::F32)])?;
            *bias = self.place(&wide);
        }
        steps.insert(0, Step::Cast(DType::Bf16));
        Ok(())
    }

    /// Names the values that the adapter has added: outputs get the model's names, others are named after output 0.
    pub(crate) fn name_outputs(&mut self, outputs: &[Operand]) {
        let graph = &mut self.importer.graph;
        let names = &self.node.outputs;
        for (name, output) in names.iter().zip(outputs) {
            if let Operand::Value(value) = output
                && graph.value(*value).name.is_none()
                && !name.is_empty()
            {
                graph.set_name(*value, &format!("{}{name}", self.path));
            }
        }
        let unnamed: Vec<_> = self.added.iter().copied().filter(|v| graph.value(*v).name.is_none()).collect();
        for (k, value) in unnamed.into_iter().enumerate() {
            let output = names.first().map_or("", String::as_str);
            graph.set_name(value, &format!("{}{output}.{}", self.path, k + 1));
        }
    }

    /// `x` with these steps applied to each element; `x` itself if there are none.
    pub(crate) fn map(&mut self, x: &Operand, steps: Vec<Step>) -> Result<Operand, AdaptError> {
        if steps.is_empty() {
            return Ok(x.clone());
        }
        let x = self.place(x);
        self.emit_node(Op::Map(Map {}), &[Some(x)], steps, None)
    }

    /// `function` on tensors, broadcast to a common shape.
    pub(crate) fn elementwise(&mut self, function: Function, operands: &[Operand]) -> Result<Operand, AdaptError> {
        let mut shape = Shape::scalar();
        for operand in operands {
            let other = self.shape(operand);
            shape = shape
                .broadcast(&other)
                .ok_or_else(|| broken(format!("shapes {shape} and {other} do not broadcast")))?;
        }
        // The steps best run on a computed operand that has the result's shape.
        let computed = |o: &Operand| matches!(o, Operand::Value(_));
        let current = (0..operands.len())
            .find(|i| computed(&operands[*i]) && self.shape(&operands[*i]) == shape)
            .or_else(|| operands.iter().position(computed))
            .unwrap_or(0);
        // A constant of greater rank changes the result's rank, so it cannot be a literal.
        let (dtype, rank) = (self.dtype(&operands[current]), self.shape(&operands[current]).rank());
        let mut args = SmallVec::new();
        for (index, operand) in operands.iter().enumerate() {
            args.push(match index == current {
                true => Arg::Current,
                false => self.arg(operand, dtype, rank, function),
            });
        }
        self.map(&operands[current].clone(), vec![Step::Apply(function, args)])
    }

    /// `operand` as an argument of `function` beside elements of type `dtype`: a literal if it has one element.
    fn arg(&mut self, operand: &Operand, dtype: DType, rank: usize, function: Function) -> Arg {
        if let Operand::Const { tensor, .. } = operand
            && tensor.dtype() == dtype
            && tensor.shape().elements() == 1
            && tensor.shape().rank() <= rank
        {
            match (tensor.to_f32s(), tensor.to_ints()) {
                (Some(x), _) if function != Function::Select || dtype == DType::F32 => return Arg::Float(x[0]),
                (_, Some(x)) if function != Function::Select && dtype.is_integer() => return Arg::Int(x[0]),
                _ => {}
            }
        }
        Arg::Value(self.place(operand))
    }

    /// `operand` as an argument beside elements of its own type, in a tensor of at least its rank.
    pub(crate) fn argument(&mut self, operand: &Operand) -> Arg {
        let (dtype, rank) = (self.dtype(operand), self.shape(operand).rank());
        self.arg(operand, dtype, rank, Function::Add)
    }

    /// `x` with another shape of the same number of elements.
    pub(crate) fn reshape(&mut self, x: &Operand, shape: &[usize]) -> Result<Operand, AdaptError> {
        let from = self.shape(x);
        if *from == *shape {
            return Ok(x.clone());
        }
        let elements = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if elements != Some(from.elements()) {
            return Err(broken(format!("{from} cannot take the shape {}", Shape::new(shape))));
        }
        match x {
            Operand::Const { tensor, .. } => Ok(Operand::constant("", tensor.reshaped(Shape::new(shape)))),
            Operand::Value(_) => self.emit(Reshape { shape: Sizes::from_slice(shape) }, &[x]),
        }
    }

    /// `x` with its axes permuted by `perm`.
    pub(crate) fn transpose(&mut self, x: &Operand, perm: &[usize]) -> Result<Operand, AdaptError> {
        if perm.iter().copied().eq(0..perm.len()) && perm.len() == self.shape(x).rank() {
            return Ok(x.clone());
        }
        self.emit(Transpose { perm: Sizes::from_slice(perm) }, &[x])
    }

    /// `sizes` elements of `x` along each axis, from `starts` on.
    pub(crate) fn slice(&mut self, x: &Operand, starts: &[usize], sizes: &[usize]) -> Result<Operand, AdaptError> {
        if *self.shape(x) == *sizes {
            return Ok(x.clone());
        }
        let (starts, sizes) = (Sizes::from_slice(starts), Sizes::from_slice(sizes));
        self.emit(Slice { starts, sizes, steps: SmallVec::new() }, &[x])
    }

    /// `x` converted to element type `to`.
    pub(crate) fn cast(&mut self, x: &Operand, to: DType) -> Result<Operand, AdaptError> {
        if self.dtype(x) == to {
            return Ok(x.clone());
        }
        self.map(x, vec![Step::Cast(to)])
    }

    /// The id of quantization parameters in the graph.
    pub(crate) fn qparams(&mut self, params: &QuantParams) -> QuantId {
        self.importer.graph.add_qparams(params.clone())
    }
}

/// Whether the operator accumulates many products or elements per result.
fn is_sum(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::MatMul(_) | Op::Pool(_))
}

/// Evaluates an operator on constants.
fn compute(
    op: &Op,
    operands: &[Option<ValueId>],
    epilogue: &Epilogue,
    arrays: &BTreeMap<ValueId, Array>,
) -> Result<Operand, AdaptError> {
    let operand = |id: &ValueId| EvalOperand { array: &arrays[id], quant: None };
    let list: Vec<Option<EvalOperand<'_>>> = operands.iter().map(|o| o.as_ref().map(operand)).collect();
    let result = op.eval(&list).swap_remove(0);
    let result = epilogue::run(epilogue, result, &|id| &arrays[&id]).map_err(|e| broken(e.to_string()))?;
    Ok(Operand::constant("", Tensor::from(&result)))
}

//! Random graphs: a few nodes with any operators and steps, on any types that the operators support.

use eightfold_ir::{
    DType, Epilogue, Graph, Layout, Op, Origin, QuantId, QuantParams, Step, Tensor, TensorType, ValueId, verify,
};

use crate::operators::OPERATORS;
use crate::precision::{Precision, after};
use crate::steps::{Current, parameters};
use crate::tape::Tape;

/// Larger results are not drawn.
const LARGE: usize = 10_000;

/// The kind of graph to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Any operators, types, steps and memory orders that the verifier allows.
    Anything,
    /// The same without memory orders, which passes choose.
    RowMajor,
    /// What the importer creates: floats, and nodes with an operator or one step.
    Imported,
}

/// A graph under construction.
pub(crate) struct Draw<'t> {
    pub(crate) tape: &'t Tape,
    pub(crate) graph: Graph,
    pub(crate) style: Style,
    /// The inputs and results so far.
    values: Vec<ValueId>,
    /// The contents of the inputs.
    inputs: Vec<Tensor>,
}

/// The graph that a tape encodes, and its inputs; `None` if it is not valid.
pub(crate) fn graph(tape: &Tape, style: Style) -> Option<(Graph, Vec<Tensor>)> {
    let mut draw = Draw { tape, graph: Graph::new("random"), style, values: Vec::new(), inputs: Vec::new() };
    draw.first_input();
    for _ in 0..1 + tape.below(4) {
        draw.node();
    }
    let last = *draw.values.last()?;
    draw.graph.producer(last)?;
    let shown: Vec<ValueId> = draw.values.iter().copied().filter(|id| *id != last && tape.one_in(4)).collect();
    for (index, value) in [last].into_iter().chain(shown).enumerate() {
        draw.graph.add_output(&format!("y{index}"), value);
    }
    draw.graph.eliminate_dead();
    verify(&draw.graph).is_ok().then_some((draw.graph, draw.inputs))
}

impl Draw<'_> {
    fn first_input(&mut self) {
        // Elementwise kernels compute in f32, which is not sufficient for f64.
        const TYPES: [DType; 15] = [
            DType::F32,
            DType::F32,
            DType::F32,
            DType::F32,
            DType::U8,
            DType::U8,
            DType::I8,
            DType::I8,
            DType::Bf16,
            DType::F16,
            DType::I32,
            DType::I64,
            DType::Bool,
            DType::I16,
            DType::U32,
        ];
        let dtype = if self.style == Style::Imported { DType::F32 } else { self.tape.pick(&TYPES) };
        let rank = self.tape.pick(&[4, 4, 4, 3, 2, 2, 1, 0, 5]);
        let shape: Vec<usize> = (0..rank).map(|axis| if axis == 0 { self.batch() } else { self.extent() }).collect();
        let quant = self.quant(dtype);
        self.input(dtype, &shape, quant);
    }

    fn batch(&self) -> usize {
        self.tape.pick(&[1, 1, 2, 3])
    }

    /// An extent of an axis: 1, odd, close to the number of lanes, sometimes 0.
    pub(crate) fn extent(&self) -> usize {
        self.tape.pick(&[2, 1, 3, 4, 5, 8, 7, 9, 16, 17, 2, 1, 3, 5, 7, 6, 4, 0])
    }

    /// Quantization parameters for 8-bit integers.
    pub(crate) fn quant(&mut self, dtype: DType) -> Option<QuantId> {
        if !matches!(dtype, DType::U8 | DType::I8) || self.tape.one_in(6) {
            return None;
        }
        let zero_point = if dtype == DType::U8 { self.tape.pick(&[128, 0, 7]) } else { self.tape.pick(&[0, -5]) };
        let params = QuantParams::per_tensor(dtype, self.tape.pick(&[0.125, 0.07]), zero_point);
        Some(self.graph.add_qparams(params))
    }

    /// A new input.
    pub(crate) fn input(&mut self, dtype: DType, shape: &[usize], quant: Option<QuantId>) -> ValueId {
        let tensor = self.tape.tensor(dtype, shape);
        self.input_of(tensor, quant)
    }

    /// Adds an input with these numbers.
    pub(crate) fn input_of(&mut self, tensor: Tensor, quant: Option<QuantId>) -> ValueId {
        let ty = TensorType::new(tensor.dtype(), tensor.shape().clone()).with_quant(quant);
        let name = format!("x{}", self.graph.inputs().len());
        let id = self.graph.add_input(&name, ty);
        self.inputs.push(tensor);
        self.values.push(id);
        id
    }

    /// A new constant.
    pub(crate) fn constant(&mut self, dtype: DType, shape: &[usize]) -> ValueId {
        self.quantized_constant(dtype, shape, None)
    }

    pub(crate) fn quantized_constant(&mut self, dtype: DType, shape: &[usize], quant: Option<QuantId>) -> ValueId {
        let tensor = self.tape.tensor(dtype, shape);
        self.graph.add_const("", tensor, quant)
    }

    /// A value of this type that broadcasts to the current shape.
    pub(crate) fn other(&self, dtype: DType, current: &Current) -> Option<ValueId> {
        self.among(|ty| ty.dtype == dtype && ty.shape.broadcast(&current.shape).as_ref() == Some(&current.shape))
            .filter(|id| Precision::of(&self.graph, *id) <= current.precision)
    }

    /// A value of 8-bit integers that broadcasts to the current shape.
    pub(crate) fn stored(&self, current: &Current) -> Option<ValueId> {
        self.other(DType::U8, current).or_else(|| self.other(DType::I8, current))
    }

    /// A value whose type satisfies the condition.
    pub(crate) fn among(&self, fits: impl Fn(&TensorType) -> bool) -> Option<ValueId> {
        let found: Vec<ValueId> = self.values.iter().copied().filter(|id| fits(self.graph.ty(*id))).collect();
        if found.is_empty() { None } else { Some(self.tape.pick(&found)) }
    }

    /// Adds a node, unless it would be invalid.
    fn node(&mut self) {
        // Chains are more likely than trees.
        let recent = self.values.len() - 1 - self.tape.below(self.values.len().min(2));
        let x = self.values[recent];
        let (_, operator) = self.tape.pick(OPERATORS);
        let Some((op, operands)) = operator(self, x) else { return };
        let Ok(types) = self.graph.infer(&op, &operands, &Epilogue::none()) else { return };
        if types[0].shape.elements() > LARGE {
            return;
        }
        let steps = self.steps(&op, &operands);
        let quant = match &op {
            Op::QuantizeLinear(quantize) => self.result_quant(quantize.to),
            _ => parameters(&steps).map(|params| self.graph.add_qparams(params)),
        };
        let name = format!("n{}", self.values.len());
        let origin = Origin::of(&name);
        let Ok(y) = self.graph.add_node(&name, op, &operands, Epilogue::new(steps), quant, origin) else { return };
        let rank = self.graph.ty(y).shape.rank();
        if self.style == Style::Anything && rank >= 3 && self.tape.one_in(4) {
            self.graph.set_layout(y, Layout::Nhwc);
        }
        self.values.push(y);
    }

    fn result_quant(&mut self, to: DType) -> Option<QuantId> {
        let zero_point = if to == DType::U8 { self.tape.pick(&[128, 0]) } else { 0 };
        let params = QuantParams::per_tensor(to, self.tape.pick(&[0.125, 0.07]), zero_point);
        Some(self.graph.add_qparams(params))
    }

    fn steps(&mut self, op: &Op, operands: &[Option<ValueId>]) -> Vec<Step> {
        let is_map = matches!(op, Op::Map(_));
        let count = match self.style {
            Style::Imported => usize::from(is_map),
            // `map` without steps is a copy.
            Style::Anything | Style::RowMajor => self.tape.pick(&[1, 0, 2, 3]),
        };
        let mut steps = Vec::new();
        for _ in 0..count {
            let types = self.graph.infer(op, operands, &Epilogue::new(steps.clone())).expect("each step fits");
            let current = Current {
                dtype: types[0].dtype,
                shape: types[0].shape.clone(),
                precision: after(&self.graph, op, operands, &steps),
                widens: is_map,
            };
            let Some(step) = self.step(&current) else { continue };
            steps.push(step);
            let fits = self.graph.infer(op, operands, &Epilogue::new(steps.clone()));
            let keeps = |types: &[TensorType]| {
                types[0].shape.elements() <= LARGE
                    && (is_map || types[0].shape == current.shape)
                    // Imported graphs stay in float.
                    && (self.style != Style::Imported || types[0].dtype == DType::F32)
            };
            if !fits.is_ok_and(|types| keeps(&types)) {
                steps.pop();
            }
        }
        steps
    }
}
